//! Builds a tree from the nodes and events of another store or from a directory of another tree.

use bytes::Bytes;

use super::{
    CorruptTree, Event, Node, Tree, WriteCounts,
    checkpoint::COUNT_IMPORT_MAX,
    history::EventHistory,
    inode::{Children, Inode, NodeBody, NodeRef, below, components, find, visit},
    limits::TREE_DEPTH_MAX,
    ttl::TtlQueue,
};

/// A node from another store, without its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedNode {
    /// Cleaned and absolute path; never the root.
    pub path: Bytes,
    /// The value of a file; `None` for a directory.
    pub value: Option<Bytes>,
    /// Index at which the node was created.
    pub created: u64,
    /// Index of the node's last change.
    pub modified: u64,
    /// Absolute expiration in Unix nanoseconds.
    pub expires_ns: Option<i64>,
}

impl Tree {
    /// Creates a tree at `index` without nodes, events or counts. Fails if `index` is above `COUNT_IMPORT_MAX`.
    pub fn at_index(index: u64) -> Result<Self, CorruptTree> {
        if index > COUNT_IMPORT_MAX {
            return Err(CorruptTree::Invalid(format!("index {index} is too large")));
        }
        Ok(Self { index, has_meta: true, ..Self::default() })
    }

    /// Adds a node, whose parent directory must exist. Fails if the path is invalid, occurs twice or has more than
    /// `TREE_DEPTH_MAX` components.
    pub fn import_node(&mut self, node: ImportedNode) -> Result<(), CorruptTree> {
        let ImportedNode { path, value, created, modified, expires_ns } = node;
        let body = value.map_or(NodeBody::Dir(Children::new()), NodeBody::File);
        let inode = Inode { created, modified, expires_ns, body };
        let added = if components(&path).count() > TREE_DEPTH_MAX {
            Err("has too many components")
        } else {
            self.insert_loaded(&path, inode)
        };
        added.map_err(|what| CorruptTree::Invalid(format!("node {} {what}", path.escape_ascii())))
    }

    /// Adds an event to the history. Events can be added in any order; [`Self::finish_import`] checks their indexes.
    pub fn import_event(&mut self, event: Event) {
        self.history.push(event, None);
    }

    /// Sets the counters and computes the size. Fails if a counter is too large or an event is outside the retained history.
    pub fn finish_import(&mut self, counts: WriteCounts) -> Result<(), CorruptTree> {
        if counts.max() > COUNT_IMPORT_MAX {
            return Err(CorruptTree::Invalid(
                "a write counter is too large".to_owned(),
            ));
        }
        self.counts = counts;
        self.finish_load()
    }

    /// Returns all files below the directory at `path`, including hidden ones, as relative paths (`a/b`) and values. Returns an
    /// empty list if `path` is missing or a file.
    pub fn files_below(&self, path: &[u8]) -> Vec<(Bytes, Bytes)> {
        let mut files = Vec::new();
        if let Ok(dir) = find(&self.root, path) {
            visit(&mut Vec::new(), dir, &mut |path, inode| {
                if let (Some(path), NodeBody::File(value)) = (below(b"/", path), &inode.body) {
                    files.push((Bytes::copy_from_slice(path), value.clone()));
                }
            });
        }
        files
    }

    /// Returns the directory at `path` as a tree with the same index and counters. If `path` is missing or a file, the tree has
    /// no nodes. The history contains the events below the directory. In these events, each expiring node has a TTL of 1
    /// second. The real TTL depends on a member's clock, and members must not differ.
    pub fn subtree(&self, path: &[u8]) -> Self {
        let root = find(&self.root, path).ok().filter(|root| root.is_dir());
        let root: NodeRef = root.cloned().unwrap_or_default();
        let mut deadlines = TtlQueue::default();
        visit(&mut Vec::new(), &root, &mut |path, inode| {
            if inode.expires_ns.is_some() {
                deadlines.insert(&Bytes::copy_from_slice(path), inode);
            }
        });
        let mut history = EventHistory::default();
        for kept in self.history.events.values() {
            if let Some(event) = event_below(path, &kept.event) {
                history.push(event, None);
            }
        }
        let mut tree = Self { root, deadlines, history, ..self.clone() };
        tree.measure();
        tree
    }
}

/// Returns the event with paths relative to a directory, or `None` if its node is not below the directory. Sets the TTL of a
/// node to 1 if the node expires, otherwise to 0.
fn event_below(dir: &[u8], event: &Event) -> Option<Event> {
    let node_below = |node: &Node| {
        let path = [b"/", below(dir, &node.path)?].concat();
        let ttl = i64::from(node.expires_ns.is_some());
        Some(Node { path: path.into(), ttl, ..node.clone() })
    };
    let node = node_below(&event.node)?;
    let prev = event.prev.as_ref().and_then(node_below);
    Some(Event { node, prev, ..event.clone() })
}
