//! Persistence on real storage: after a power cut, it keeps the durable state, with or without the interrupted step. After a
//! flipped bit, it keeps the whole state or refuses to start.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct StorageFaithful;

impl Invariant for StorageFaithful {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        let Fact::StorageDiffers { member, what } = fact else {
            return Ok(());
        };
        Err(format!("m{member}: {what}"))
    }
}
