//! Inserts a new node at a path, for `set` and `create`.

use bytes::Bytes;

use super::limits::TREE_DEPTH_MAX;
use super::{
    Create, Node, Tree, TreeError, TreeErrorKind,
    inode::{Children, Inode, NodeBody, NodeRef, components, find, make_dirs, split},
    show::{ListingDepth, show},
    size::of_node,
};

impl Tree {
    /// Inserts a node at a cleaned path with a new index and creates missing directories. If `replace` is set, the node may
    /// replace a file. Returns the new node in response form. Fails for the root, an existing node that must not be replaced, a
    /// file as parent, and a path that is too deep.
    pub(super) fn insert_node(
        &mut self,
        new: Create,
        replace: bool,
        now_ns: i64,
    ) -> Result<Node, TreeError> {
        let Create { path, value, dir, expires_ns, .. } = new;
        self.refuse_root(&path)?;
        let old = match find(&self.root, &path) {
            Ok(_) if !replace => return Err(self.error(TreeErrorKind::NodeExists, path)),
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
            self.drop_nodes(of_node(&path, &old));
        }
        let index = self.take_index();
        let body = match dir {
            true => NodeBody::Dir(Children::new()),
            false => NodeBody::File(value),
        };
        let inode = Inode { created: index, modified: index, expires_ns, body };
        self.deadlines.insert(&path, &inode);
        let node = show(&inode, path.clone(), ListingDepth::Nothing, now_ns);
        let link = NodeRef::new(inode);
        let (dir, name) = split(&path);
        self.nodes_bytes += of_node(&path, &link) + self.missing_dirs_bytes(dir);
        let children = make_dirs(&mut self.root, dir, index)
            .expect("the caller has checked that no parent is a file");
        match children.get_mut(name) {
            Some(place) => *place = link,
            None => {
                children.insert(Bytes::copy_from_slice(name), link);
            }
        }
        Ok(node)
    }

    /// Fails if the path has more than `TREE_DEPTH_MAX` components.
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
