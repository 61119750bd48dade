//! Commitment (§5.3, §5.4.2): an entry is executed only when a majority of the members has it on
//! disk, so that no crash can take it away.

use std::collections::BTreeSet;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum {
    checked: BTreeSet<u64>,
}

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed_on_quorum"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Executed { member, batch, .. } = fact else {
            return Ok(());
        };
        for applied in *batch {
            if !self.checked.insert(applied.index) {
                continue;
            }
            let mut covered = 0;
            let mut held: Vec<Ident> = Vec::new();
            for disk in scene.disks {
                match disk.durable_entry(applied.index) {
                    Some(record) => held.push(Ident::of(record)),
                    None if disk.checkpoint_index() >= applied.index => covered += 1,
                    None => {}
                }
            }
            let most = held
                .iter()
                .map(|one| held.iter().filter(|other| *other == one).count())
                .max()
                .unwrap_or_default();
            if covered + most <= scene.disks.len() / 2 {
                return Err(format!(
                    "m{member} executed entry {}, which {} of {} disks hold",
                    applied.index,
                    covered + most,
                    scene.disks.len()
                ));
            }
        }
        Ok(())
    }
}
