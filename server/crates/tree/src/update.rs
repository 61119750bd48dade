//! `update` changes an existing node. As in etcd, an update of a directory changes only its expiration. The directory keeps its
//! modified index, although the response shows the new index.

use super::{
    Action, Event, Node, Tree, TreeError, TreeErrorKind, Update, copy_bytes,
    inode::{NodeBody, NodeRef, clean, find, find_mut},
    show::{ListingDepth, show},
};

impl Tree {
    /// Sets the value and expiration of an existing node. A refresh keeps the value. Without `expires_ns`, the node no longer
    /// expires. Fails for the root, for a missing node, and for a directory if the value is not empty.
    pub(super) fn update(&mut self, update: &Update, now_ns: i64) -> Result<Event, TreeError> {
        let path = clean(&update.path);
        self.refuse_root(&path)?;
        let old = find(&self.root, &path)
            .map_err(|miss| self.lookup_failed(miss))?
            .clone();
        if old.is_dir() && !update.value.is_empty() {
            return Err(self.error(TreeErrorKind::NotFile, path));
        }
        let write = Update { path, ..update.clone() };
        let (node, prev) = self.overwrite(old, write, now_ns);
        Ok(self.record_event(Action::Update, node, Some(prev), update.refresh))
    }

    /// Overwrites the existing node `old`, which is at the cleaned path of `write`, with a new index. A refresh keeps the
    /// value. Returns the new and the old node. A directory keeps its modified index; only the returned node shows the new
    /// index.
    pub(super) fn overwrite(&mut self, old: NodeRef, write: Update, now_ns: i64) -> (Node, Node) {
        let path = write.path;
        let prev = show(&old, path.clone(), ListingDepth::Nothing, now_ns);
        self.deadlines.remove(&path, &old);
        // Release the reference, so that the node can be changed in place.
        drop(old);
        let index = self.take_index();
        let inode = find_mut(&mut self.root, &path).expect("the node was found before");
        inode.expires_ns = write.expires_ns;
        let mut dropped_bytes = 0;
        if let NodeBody::File(value) = &mut inode.body {
            inode.modified = index;
            if !write.refresh {
                dropped_bytes = value.len() as u64;
                self.nodes_bytes += write.value.len() as u64;
                *value = copy_bytes(&write.value);
            }
        }
        self.deadlines.insert(&path, inode);
        let mut node = show(inode, path, ListingDepth::Nothing, now_ns);
        node.modified = index;
        self.drop_nodes(dropped_bytes);
        (node, prev)
    }
}
