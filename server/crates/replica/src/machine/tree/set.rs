//! `set`: replaces a file or creates a node. A refresh keeps the value but also replaces the node:
//! its created index changes.

use super::{
    Action, Error, Event, Set, Tree,
    inode::{Body, clean, find},
    own,
    place::Placing,
    show::{Depth, show},
};

impl Tree {
    pub(super) fn set(&mut self, set: &Set, now_ns: i64) -> Result<Event, Error> {
        let path = clean(&set.path);
        let mut value = None;
        let mut prev = None;
        match find(&self.root, &path) {
            Ok(old) => {
                if let (true, Body::File(kept)) = (set.refresh, &old.body) {
                    value = Some(kept.clone());
                }
                prev = Some(show(old, path.clone(), Depth::Nothing, now_ns));
            }
            Err(miss) if set.refresh => return Err(self.missed(miss)),
            // `place` tells what is in the way.
            Err(_) => {}
        }
        let placing = Placing {
            path,
            value: value.unwrap_or_else(|| own(&set.value)),
            dir: set.dir,
            expires_ns: set.expires_ns,
            replace: true,
        };
        let node = self.place(placing, now_ns)?;
        Ok(self.event(Action::Set, node, prev, set.refresh))
    }
}
