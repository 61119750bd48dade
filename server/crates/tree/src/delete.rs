//! `delete`, `compareAndDelete`, and the removal of a subtree, which `expire` also uses.

use bytes::Bytes;

use super::limits::TREE_REMOVED_BYTES;
use super::{
    Action, CompareAndDelete, Delete, Event, Node, Tree, TreeError, TreeErrorKind,
    inode::{NodeBody, NodeRef, clean, find, find_mut, split},
    show::{ListingDepth, show},
    size::of_subtree,
};

impl Tree {
    /// Removes a node, except the root. A directory requires `dir` or `recursive`, and a directory with children requires
    /// `recursive`. Fails if the node does not exist.
    pub(super) fn delete(&mut self, delete: &Delete, now_ns: i64) -> Result<Event, TreeError> {
        let path = clean(&delete.path);
        self.refuse_root(&path)?;
        let link = find(&self.root, &path).map_err(|miss| self.lookup_failed(miss))?;
        if let Some(children) = link.children() {
            if !delete.dir && !delete.recursive {
                return Err(self.error(TreeErrorKind::NotFile, path));
            }
            if !children.is_empty() && !delete.recursive {
                return Err(self.error(TreeErrorKind::DirNotEmpty, path));
            }
        }
        Ok(self.remove_subtree(Action::Delete, &path, now_ns))
    }

    /// Removes a file if the conditions hold; otherwise fails. Also fails for a directory and for a missing node.
    pub(super) fn compare_and_delete(
        &mut self,
        delete: &CompareAndDelete,
        now_ns: i64,
    ) -> Result<Event, TreeError> {
        let path = clean(&delete.path);
        self.compare(&path, delete.prev_value.as_ref(), delete.prev_index)?;
        Ok(self.remove_subtree(Action::CompareAndDelete, &path, now_ns))
    }

    /// Removes the existing node at `path` and all its descendants, with a single event, which is added to the history. The
    /// history keeps a small removed directory for watchers.
    pub(super) fn remove_subtree(&mut self, action: Action, path: &Bytes, now_ns: i64) -> Event {
        let index = self.take_index();
        let link = self.unlink(path);
        self.deadlines.remove_all(path, &link);
        let prev = show(&link, path.clone(), ListingDepth::Nothing, now_ns);
        let node = Node {
            path: path.clone(),
            dir: link.is_dir(),
            modified: index,
            created: link.created,
            ..Node::default()
        };
        let event = Event { action, node, prev: Some(prev), index, refresh: false };
        let bytes = of_subtree(path, &link);
        self.drop_nodes(bytes);
        let held = link.is_dir() && bytes <= TREE_REMOVED_BYTES;
        self.history.push(event.clone(), held.then_some(link));
        event
    }

    /// Removes an existing node from its parent directory and returns it. Panics if the node does not exist.
    fn unlink(&mut self, path: &[u8]) -> NodeRef {
        let (dir, name) = split(path);
        let parent = find_mut(&mut self.root, dir).expect("the node was found before");
        let NodeBody::Dir(children) = &mut parent.body else {
            unreachable!("a file has no children")
        };
        children.remove(name).expect("the node was found before")
    }
}
