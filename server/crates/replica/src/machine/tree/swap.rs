//! `compareAndSwap`, and the comparison that it shares with `compareAndDelete`.

use bytes::Bytes;

use super::{
    Action, Error, ErrorKind, Event, Swap, Tree,
    inode::{Body, Link, clean, find},
    update::Write,
};

impl Tree {
    pub(super) fn swap(&mut self, swap: &Swap, now_ns: i64) -> Result<Event, Error> {
        let path = clean(&swap.path);
        self.refuse_root(&path)?;
        let old = self.compare(&path, swap.prev_value.as_ref(), swap.prev_index)?;
        let Swap {
            value,
            expires_ns,
            refresh,
            ..
        } = swap;
        let write = Write {
            path,
            value,
            expires_ns: *expires_ns,
            refresh: *refresh,
        };
        let (node, prev) = self.overwrite(old, write, now_ns);
        Ok(self.event(Action::CompareAndSwap, node, Some(prev), swap.refresh))
    }

    /// The file at `path` if the conditions hold. An empty value and index 0 are no conditions.
    pub(super) fn compare(
        &self,
        path: &Bytes,
        value: Option<&Bytes>,
        index: Option<u64>,
    ) -> Result<Link, Error> {
        let link = find(&self.root, path).map_err(|miss| self.missed(miss))?;
        let Body::File(actual) = &link.body else {
            // The root has no name to show.
            let cause = if path == "/" {
                Bytes::new()
            } else {
                path.clone()
            };
            return Err(self.error(ErrorKind::NotFile, cause));
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
        Err(self.error(ErrorKind::CompareFailed, cause.into()))
    }
}
