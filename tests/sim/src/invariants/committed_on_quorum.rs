//! Commitment (§5.3, §5.4.2): an entry is executed only when a majority of the voters has it on disk.

use std::collections::BTreeSet;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum {
    checked: BTreeSet<u64>,
}

impl Invariant for CommittedOnQuorum {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.checked.split_off(&(kept + 1));
        }
        let Fact::Executed { member, batch, .. } = fact else {
            return Ok(());
        };
        // The lost disks may have had the entry, and the survivor may drop its own removal.
        if scene.forces {
            return Ok(());
        }
        for applied in *batch {
            if !self.checked.insert(applied.index) {
                continue;
            }
            let index = applied.index;
            let mut voters = scene.truth.voters_on(index);
            if !voters.any(|voters| held_by_majority(voters, index, scene)) {
                return Err(format!(
                    "m{member} executed entry {index}, which most voters do not have on disk: {:?}",
                    scene.truth.voters_on(index).collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}

/// Returns whether a majority of `voters` has the entry in its log, in its checkpoint, or on a former disk.
fn held_by_majority(voters: &[u64], index: u64, scene: &Scene<'_>) -> bool {
    let mut covered = 0;
    let mut held: Vec<Ident> = Vec::new();
    for disk in voters.iter().filter_map(|id| scene.disk(*id)) {
        match disk.durable_entry(index) {
            Some(record) => held.push(Ident::of(record)),
            None if disk.checkpoint_index() >= index => covered += 1,
            // The member had the entry on its former disk when it acknowledged it.
            None if disk.forgotten_index() >= index => covered += 1,
            None => {}
        }
    }
    let most = held
        .iter()
        .map(|one| held.iter().filter(|other| *other == one).count())
        .max()
        .unwrap_or_default();
    covered + most > voters.len() / 2
}
