//! `create`: creates a node that must not exist.

use bytes::Bytes;

use super::{Action, Create, Error, Event, Tree, inode::clean, own, place::Placing};

impl Tree {
    pub(super) fn create(&mut self, create: &Create, now_ns: i64) -> Result<Event, Error> {
        self.create_at(clean(&create.path), create, now_ns)
    }

    pub(super) fn create_at(
        &mut self,
        path: Bytes,
        create: &Create,
        now_ns: i64,
    ) -> Result<Event, Error> {
        let placing = Placing {
            path,
            value: own(&create.value),
            dir: create.dir,
            expires_ns: create.expires_ns,
            replace: false,
        };
        let node = self.place(placing, now_ns)?;
        Ok(self.event(Action::Create, node, None, false))
    }
}
