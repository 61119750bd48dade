//! `create` with `in_order`: creates a child named by its index, so that names sort in order of
//! creation.

use super::{Create, Event, Tree, TreeError, inode::clean};

impl Tree {
    /// Creates a child of the path, named by the next index in 20 digits.
    pub(super) fn create_in_order(
        &mut self,
        create: &Create,
        now_ns: i64,
    ) -> Result<Event, TreeError> {
        let mut path = create.path.to_vec();
        path.extend_from_slice(format!("/{:020}", self.index + 1).as_bytes());
        self.create_at(clean(&path), create, now_ns)
    }
}
