//! The size of the tree and its history, for the quota. Checkpoints do not contain the size.

use super::{
    Event, Node, Tree,
    inode::{Inode, NodeBody, NodeRef, components, visit},
};

/// Size in bytes of a node in the tree and in the checkpoint, in addition to its path and value.
pub const NODE_BYTES: u64 = 256;

/// Size in bytes of an event, in addition to its paths and values.
const EVENT_BYTES: u64 = 512;

impl Tree {
    /// Returns the size in bytes of all nodes and the history.
    pub fn size_bytes(&self) -> u64 {
        self.nodes_bytes + self.history.bytes
    }

    /// Returns the size in bytes of the nodes and values dropped since the process loaded a state. Readers of older states may
    /// still hold this memory.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Moves `bytes` bytes of removed or replaced nodes or values from the size of all nodes to the dropped bytes.
    pub(super) fn drop_nodes(&mut self, bytes: u64) {
        self.nodes_bytes -= bytes;
        self.dropped_bytes += bytes;
    }

    /// Recomputes the size of all nodes and the history.
    pub(super) fn measure(&mut self) {
        // The root always exists and is not counted.
        self.nodes_bytes = of_subtree(&[], &self.root) - NODE_BYTES;
        let events = self.history.events.values();
        self.history.bytes = events.map(|kept| of_event(&kept.event)).sum();
    }

    /// Returns the total size in bytes of the directory `path` and its parent directories, excluding directories that exist.
    pub(super) fn missing_dirs_bytes(&self, path: &[u8]) -> u64 {
        let mut at = Some(&self.root);
        let mut bytes = 0;
        for (end, name) in components(path) {
            at = at.and_then(|link| link.children()?.get(name));
            if at.is_none() {
                bytes += NODE_BYTES + end as u64;
            }
        }
        bytes
    }
}

/// Returns the size of a node in bytes: `NODE_BYTES`, its path and its value.
pub(super) fn of_node(path: &[u8], inode: &Inode) -> u64 {
    let value = match &inode.body {
        NodeBody::File(value) => value.len(),
        NodeBody::Dir(_) => 0,
    };
    NODE_BYTES + (path.len() + value) as u64
}

/// Returns the size in bytes of a node and its descendants.
pub(super) fn of_subtree(path: &[u8], link: &NodeRef) -> u64 {
    let mut bytes = 0;
    visit(&mut path.to_vec(), link, &mut |path, inode| {
        bytes += of_node(path, inode);
    });
    bytes
}

/// Returns the size of an event in bytes. The event shares its previous value with an older event, so only the larger of its
/// two nodes is counted.
pub(super) fn of_event(event: &Event) -> u64 {
    let of = |node: &Node| (node.path.len() + node.value.as_ref().map_or(0, |v| v.len())) as u64;
    EVENT_BYTES + of(&event.node).max(event.prev.as_ref().map_or(0, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delete, Set};

    #[test]
    fn the_size_counts_nodes_and_history_and_is_equal_after_a_load() {
        let mut tree = Tree::default();
        assert_eq!(tree.size_bytes(), 0);
        let (path, value) = ("/d/a".into(), vec![b'v'; 100].into());
        let set = Set { path, value, ..Set::default() };
        tree.set(&set, 0).unwrap();
        let nodes = 2 * NODE_BYTES + ("/d".len() + "/d/a".len() + 100) as u64;
        let event = tree.size_bytes() - nodes;
        assert!(event >= EVENT_BYTES + 100, "{event}");
        let mut loaded = tree.clone();
        loaded.measure();
        assert_eq!(loaded.size_bytes(), tree.size_bytes());
        let delete = Delete { path: "/d".into(), dir: true, recursive: true };
        tree.delete(&delete, 0).unwrap();
        assert!(tree.size_bytes() >= event + EVENT_BYTES);
        assert!(tree.size_bytes() < event + nodes + EVENT_BYTES);
    }
}
