//! The hash of a tree. Trees that readers and watchers cannot distinguish have the same hash. The hash excludes the write
//! counters.

use std::hash::{Hash, Hasher};

use super::{
    Tree,
    inode::{NodeBody, visit},
};

impl Hash for Tree {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
        visit(&mut Vec::new(), &self.root, &mut |path, inode| {
            path.hash(state);
            (inode.created, inode.modified, inode.expires_ns).hash(state);
            match &inode.body {
                NodeBody::File(value) => value.hash(state),
                NodeBody::Dir(children) => children.len().hash(state),
            }
        });
        for kept in self.history.events.values() {
            kept.event.hash(state);
        }
    }
}
