//! `set` replaces a file or creates a node. A refresh keeps the value but replaces the node, so its created index changes.

use super::{
    Action, Create, Event, Set, Tree, TreeError, copy_bytes,
    inode::{NodeBody, clean, find},
    show::{ListingDepth, show},
};

impl Tree {
    /// Replaces a file, or creates a node and its missing parent directories. With `dir`, the new node is a directory. A
    /// refresh keeps the value and requires an existing file. Fails for the root, an existing directory, a file as parent, and
    /// a path that is too deep.
    pub(super) fn set(&mut self, set: &Set, now_ns: i64) -> Result<Event, TreeError> {
        let path = clean(&set.path);
        let mut value = None;
        let mut prev = None;
        match find(&self.root, &path) {
            Ok(old) => {
                if let (true, NodeBody::File(kept)) = (set.refresh, &old.body) {
                    value = Some(kept.clone());
                }
                prev = Some(show(old, path.clone(), ListingDepth::Nothing, now_ns));
            }
            Err(miss) if set.refresh => return Err(self.lookup_failed(miss)),
            // `insert_node` reports a file that should be a directory.
            Err(_) => {}
        }
        let value = value.unwrap_or_else(|| copy_bytes(&set.value));
        let Set { dir, expires_ns, .. } = *set;
        let new = Create { path, value, dir, expires_ns, in_order: false };
        let node = self.insert_node(new, true, now_ns)?;
        Ok(self.record_event(Action::Set, node, prev, set.refresh))
    }
}
