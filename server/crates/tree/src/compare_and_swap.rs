//! `compareAndSwap` and the comparison that it shares with `compareAndDelete`.

use bytes::Bytes;

use super::{
    Action, Cause, CompareAndSwap, Comparison, Event, Tree, TreeError, TreeErrorKind, Update,
    inode::{NodeBody, NodeRef, clean, find},
};

impl Tree {
    /// Sets the value and expiration of a file if the conditions of `swap` hold; otherwise fails. A refresh keeps the value.
    /// Also fails for a directory, including the root, and for a missing node.
    pub(super) fn compare_and_swap(
        &mut self,
        swap: &CompareAndSwap,
        now_ns: i64,
    ) -> Result<Event, TreeError> {
        let path = clean(&swap.path);
        self.refuse_root(&path)?;
        let old = self.compare(&path, swap.prev_value.as_ref(), swap.prev_index)?;
        let CompareAndSwap { value, expires_ns, refresh, .. } = swap.clone();
        let write = Update { path, value, expires_ns, refresh };
        let (node, prev) = self.overwrite(old, write, now_ns);
        Ok(self.record_event(Action::CompareAndSwap, node, Some(prev), swap.refresh))
    }

    /// Returns the file at `path` if it has the required value and modified index. `None`, an empty value and index 0 match any
    /// file. Fails for a directory and for a missing node. If a condition does not hold, the error's cause contains all failed
    /// conditions.
    pub(super) fn compare(
        &self,
        path: &Bytes,
        value: Option<&Bytes>,
        index: Option<u64>,
    ) -> Result<NodeRef, TreeError> {
        let link = find(&self.root, path).map_err(|miss| self.lookup_failed(miss))?;
        let NodeBody::File(actual) = &link.body else {
            // In responses, the path of the root is empty.
            let cause = if path == "/" {
                Bytes::new()
            } else {
                path.clone()
            };
            return Err(self.error(TreeErrorKind::NotFile, cause));
        };
        let value = value.filter(|wanted| !wanted.is_empty() && *wanted != actual);
        let index = index.filter(|wanted| *wanted != 0 && *wanted != link.modified);
        if value.is_none() && index.is_none() {
            return Ok(link.clone());
        }
        let value = value.map(|wanted| (wanted.clone(), actual.clone()));
        let index = index.map(|wanted| (wanted, link.modified));
        let cause = Cause::Compared(Comparison { value, index });
        Err(self.error(TreeErrorKind::CompareFailed, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Set;

    #[test]
    fn a_failed_comparison_does_not_copy_the_value() {
        let (path, value) = (Bytes::from_static(b"/k"), Bytes::from(vec![b'v'; 1000]));
        let mut tree = Tree::default();
        let set = Set { path: path.clone(), value: value.clone(), ..Set::default() };
        tree.set(&set, 0).unwrap();
        let swap = |prev_index| CompareAndSwap {
            path: path.clone(),
            prev_value: Some(Bytes::from_static(b"w")),
            prev_index,
            ..CompareAndSwap::default()
        };
        let refused = tree.compare_and_swap(&swap(Some(9)), 0).unwrap_err();
        let Cause::Compared(Comparison { value: Some((_, actual)), index }) = &refused.cause else {
            panic!("{refused}");
        };
        let held = tree.get(&path, false, 0).unwrap().node.value.unwrap();
        assert!(std::ptr::eq(actual.as_ref(), held.as_ref()));
        assert_eq!(*index, Some((9, tree.index())));
        let text = [b"[w != ", value.as_ref(), b"] [9 != 1]"].concat();
        assert_eq!(refused.cause.text(), text);
    }
}
