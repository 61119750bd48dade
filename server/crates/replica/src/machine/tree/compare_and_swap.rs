//! `compareAndSwap`, and the comparison that it shares with `compareAndDelete`.

use bytes::Bytes;

use super::{
    Action, CompareAndSwap, Event, Tree, TreeError, TreeErrorKind,
    inode::{NodeBody, NodeRef, clean, find},
    update::NodeWrite,
};

impl Tree {
    /// Sets value and expiration of a file for which the conditions hold; a refresh keeps the value.
    pub(super) fn compare_and_swap(
        &mut self,
        swap: &CompareAndSwap,
        now_ns: i64,
    ) -> Result<Event, TreeError> {
        let path = clean(&swap.path);
        self.refuse_root(&path)?;
        let old = self.compare(&path, swap.prev_value.as_ref(), swap.prev_index)?;
        let CompareAndSwap { value, expires_ns, refresh, .. } = swap;
        let write = NodeWrite { path, value, expires_ns: *expires_ns, refresh: *refresh };
        let (node, prev) = self.overwrite(old, write, now_ns);
        Ok(self.record_event(Action::CompareAndSwap, node, Some(prev), swap.refresh))
    }

    /// Returns the file at `path` if it has the wanted value and modified index. An empty value and index 0
    /// are no conditions. Fails for a directory, or with the conditions that do not hold as the cause.
    pub(super) fn compare(
        &self,
        path: &Bytes,
        value: Option<&Bytes>,
        index: Option<u64>,
    ) -> Result<NodeRef, TreeError> {
        let link = find(&self.root, path).map_err(|miss| self.lookup_failed(miss))?;
        let NodeBody::File(actual) = &link.body else {
            // The root has no name to show.
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
        let mut cause = Vec::new();
        if let Some(wanted) = value {
            cause = [b"[", wanted.as_ref(), b" != ", actual, b"]"].concat();
        }
        if let Some(wanted) = index {
            let gap = if cause.is_empty() { "" } else { " " };
            let text = format!("{gap}[{wanted} != {}]", link.modified);
            cause.extend_from_slice(text.as_bytes());
        }
        Err(self.error(TreeErrorKind::CompareFailed, cause.into()))
    }
}
