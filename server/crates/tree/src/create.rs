//! `create` creates a node that must not exist or, with `in_order`, a child whose name sorts after all earlier such names.

use super::{Action, Create, Event, Tree, TreeError, copy_bytes, inode::clean};

impl Tree {
    /// Creates a node and its missing parent directories. Fails for the root, an existing node, a file as parent, and a path
    /// that is too deep. With `in_order`, creates a child of the path, whose name is the next index, padded to 20 digits.
    pub(super) fn create(&mut self, create: &Create, now_ns: i64) -> Result<Event, TreeError> {
        let mut path = create.path.to_vec();
        if create.in_order {
            path.extend_from_slice(format!("/{:020}", self.index + 1).as_bytes());
        }
        let (path, value) = (clean(&path), copy_bytes(&create.value));
        let node = self.insert_node(Create { path, value, ..*create }, false, now_ns)?;
        Ok(self.record_event(Action::Create, node, None, false))
    }
}
