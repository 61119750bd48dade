//! Watches (I7): a reader of a member's history sees every change once and in order. This holds across compactions of the same
//! round, snapshots that replace the state, and restarts. All members show the same changes and values, in memory or on disk.

use std::collections::BTreeMap;

use witan_machine::{
    kv::{KeyValue, Kv},
    revision::Revision,
};

use super::{Fact, Invariant, Scene};
use crate::rng::Fnv;

/// A change: its number within the revision, the key, whether the key is deleted, and the hash of the value.
type Change = (u64, Vec<u8>, bool, u64);

#[derive(Debug, Default)]
pub(super) struct WatchComplete {
    /// The changes of each revision, as first observed.
    changes: BTreeMap<Revision, Vec<Change>>,
    /// The next revision for the watcher at each member.
    cursors: BTreeMap<u64, Revision>,
}

impl Invariant for WatchComplete {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Executed { member, view, .. } = fact {
            let kv = &view.machine.kv;
            for state in kv.compacted_states() {
                self.read(*member, state)?;
            }
            self.read(*member, kv)?;
        }
        if let Fact::Restored { member, view, .. } = fact {
            let kv = &view.machine.kv;
            // The watcher is notified of the compaction and restarts after it.
            let cursor = self
                .cursors
                .entry(*member)
                .or_insert(Revision::EMPTY.next());
            *cursor = (*cursor).max(kv.compacted().next());
            self.read(*member, kv)?;
        }
        if let Fact::Forced { revision, .. } = fact {
            self.changes.split_off(&revision.next());
        }
        Ok(())
    }
}

impl WatchComplete {
    /// Reads the changes after the member's cursor and compares them with the changes that other members have shown.
    fn read(&mut self, member: u64, kv: &Kv) -> Result<(), String> {
        // The first revision of a store is 1 and has no changes.
        let from = *self.cursors.entry(member).or_insert(Revision::EMPTY.next());
        if from > kv.revision() {
            return Ok(());
        }
        if from <= kv.compacted() {
            return Err(format!(
                "a watcher at m{member} has not read {from}, which was compacted at {}",
                kv.compacted()
            ));
        }
        let mut found: BTreeMap<Revision, Vec<Change>> = BTreeMap::new();
        let mut previous = Vec::new();
        let mut last = from.previous();
        for (_, change) in kv.changes_from(from, None) {
            let revision = change.revision();
            if revision < from {
                continue;
            }
            if revision != last && revision != last.next() {
                return Err(format!("m{member} shows revision {revision} after {last}"));
            }
            last = revision;
            previous.extend(kv.previous(&change));
            let value = hash(&change.pair());
            let change = (change.sub(), change.key().to_vec(), change.deletes(), value);
            found.entry(revision).or_default().push(change);
        }
        if last != kv.revision() {
            return Err(format!(
                "m{member} shows changes up to {last} but is at {}",
                kv.revision()
            ));
        }
        for (revision, changes) in found {
            let ordered = changes.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let first = self
                .changes
                .entry(revision)
                .or_insert_with(|| changes.clone());
            if !ordered || *first != changes {
                return Err(format!(
                    "m{member} shows {changes:?} at revision {revision}, others {first:?}"
                ));
            }
        }
        for pair in previous {
            let changes = self.changes.get(&pair.mod_revision);
            let is_this = |(_, key, _, value): &Change| *key == pair.key && *value == hash(&pair);
            // No watcher has read the changes before a snapshot.
            if changes.is_some_and(|changes| !changes.iter().any(is_this)) {
                return Err(format!(
                    "m{member} shows a different previous value of {:?} at revision {}",
                    pair.key, pair.mod_revision
                ));
            }
        }
        self.cursors.insert(member, kv.revision().next());
        Ok(())
    }
}

fn hash(pair: &KeyValue) -> u64 {
    Fnv::default().bytes(&pair.value).finish()
}
