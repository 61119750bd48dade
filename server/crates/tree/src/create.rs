//! `create`: creates a node that must not exist.

use bytes::Bytes;

use super::{Action, Create, Event, Tree, TreeError, copy_bytes, inode::clean, insert::NewNode};

impl Tree {
    pub(super) fn create(&mut self, create: &Create, now_ns: i64) -> Result<Event, TreeError> {
        self.create_at(clean(&create.path), create, now_ns)
    }

    /// Creates a node with the contents of `create` at another, cleaned path; fails if there is a node.
    pub(super) fn create_at(
        &mut self,
        path: Bytes,
        create: &Create,
        now_ns: i64,
    ) -> Result<Event, TreeError> {
        let placing = NewNode {
            path,
            value: copy_bytes(&create.value),
            dir: create.dir,
            expires_ns: create.expires_ns,
            replace: false,
        };
        let node = self.insert_node(placing, now_ns)?;
        Ok(self.record_event(Action::Create, node, None, false))
    }
}
