//! Inserting a new node at a path, shared by `set`, `create` and `create_in_order`.

use bytes::Bytes;

use super::limits::TREE_DEPTH_MAX;
use super::{
    Node, Tree, TreeError, TreeErrorKind,
    inode::{Children, Inode, NodeBody, NodeRef, components, find, make_dirs, split},
    show::{ListingDepth, show},
    size::of_node,
};

/// A node to insert; its path is cleaned and its bytes are copied.
pub(super) struct NewNode {
    pub(super) path: Bytes,
    pub(super) value: Bytes,
    pub(super) dir: bool,
    pub(super) expires_ns: Option<i64>,
    /// Whether a file that is there may be replaced.
    pub(super) replace: bool,
}

impl Tree {
    /// Inserts the node with a new index, creates missing directories, and returns the node as
    /// answers show it.
    pub(super) fn insert_node(&mut self, placing: NewNode, now_ns: i64) -> Result<Node, TreeError> {
        let path = placing.path;
        self.refuse_root(&path)?;
        let old = match find(&self.root, &path) {
            Ok(_) if !placing.replace => return Err(self.error(TreeErrorKind::NodeExists, path)),
            Ok(old) if old.is_dir() => return Err(self.error(TreeErrorKind::NotFile, path)),
            Ok(old) => Some(old.clone()),
            Err(miss) if miss.kind == TreeErrorKind::KeyNotFound => {
                self.refuse_depth(&path)?;
                None
            }
            Err(miss) => return Err(self.lookup_failed(miss)),
        };
        if let Some(old) = old {
            self.deadlines.remove(&path, &old);
            self.nodes_bytes -= of_node(&path, &old);
        }
        let index = self.take_index();
        let body = if placing.dir {
            NodeBody::Dir(Children::new())
        } else {
            NodeBody::File(placing.value)
        };
        let inode = Inode {
            created: index,
            modified: index,
            expires_ns: placing.expires_ns,
            body,
        };
        self.deadlines.insert(&path, &inode);
        let node = show(&inode, path.clone(), ListingDepth::Nothing, now_ns);
        let link = NodeRef::new(inode);
        let (dir, name) = split(&path);
        self.nodes_bytes += of_node(&path, &link) + self.missing_dirs_bytes(dir);
        let children = make_dirs(&mut self.root, dir, index).expect("no file is in the way");
        match children.get_mut(name) {
            Some(place) => *place = link,
            None => {
                children.insert(Bytes::copy_from_slice(name), link);
            }
        }
        Ok(node)
    }

    /// Fails for a path of more than `TREE_DEPTH_MAX` components: walking and dropping the tree uses stack.
    fn refuse_depth(&self, path: &Bytes) -> Result<(), TreeError> {
        let Some((end, _)) = components(path).nth(TREE_DEPTH_MAX - 1) else {
            return Ok(());
        };
        if end == path.len() {
            return Ok(());
        }
        let cause = format!("a key has at most {TREE_DEPTH_MAX} components");
        Err(self.error(TreeErrorKind::NotDir, cause))
    }
}
