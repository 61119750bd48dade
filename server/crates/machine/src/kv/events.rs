//! The history as watchers read it: forward from a location or a revision, or backward along one key.
//!
//! A received snapshot may store the same history in different blocks, so a location is valid only in one layout. In another
//! layout, readers continue from a revision.
//!
//! A compaction can remove changes of the same turn, which synced watchers have not read. The state before the compaction is
//! therefore kept until the watchers are notified ([`Kv::compacted_states`]).

use super::{
    KeyValue, Kv,
    block::Block,
    history::BlockVersion,
    read_budget::{PLACEHOLDER, PLACEHOLDER_BYTES},
    version::{Location, Version},
};
use crate::{limits::STATES_BEFORE_COMPACTION_MAX, revision::Revision, values::ReadPattern};

/// One change of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyChange<'a> {
    pub(super) block: &'a Block,
    pub(super) version: Version<'a>,
    /// How the reader uses the value if it is only on disk.
    pub(super) pattern: ReadPattern,
}

impl<'a> KeyChange<'a> {
    /// Returns the revision of the change.
    pub fn revision(&self) -> Revision {
        self.version.main
    }

    /// Returns the index of the change within its revision.
    pub fn sub(&self) -> u64 {
        self.version.sub
    }

    /// Returns the key.
    pub fn key(&self) -> &'a [u8] {
        self.version.key
    }

    /// Returns whether the change deleted the key.
    pub fn deletes(&self) -> bool {
        self.version.tombstone
    }

    /// Returns whether the change created the key.
    pub fn creates(&self) -> bool {
        !self.version.tombstone && self.version.create == self.version.main
    }

    /// Returns whether [`Self::pair`] finds the value in memory.
    pub fn is_resident(&self) -> bool {
        self.version.tombstone || self.block.is_resident()
    }

    /// Returns the pair after the change. For a deletion, the pair contains only the key and the mod revision. If the value is
    /// only on disk, waits until it has been read.
    pub fn pair(&self) -> KeyValue {
        if !self.version.tombstone {
            return self.block.key_value(&self.version, self.pattern);
        }
        let pair = self.block.without_value(&self.version);
        KeyValue {
            key: pair.key,
            mod_revision: pair.mod_revision,
            ..KeyValue::default()
        }
    }

    /// Returns the pair after the change, like [`Self::pair`], but with zeros in place of the value, so that a value on disk is
    /// not read. The zeros have the length of the value. A value longer than `PLACEHOLDER_BYTES` is read.
    pub fn pair_of_equal_size(&self) -> KeyValue {
        let value_len = self.version.value_len;
        if self.version.tombstone || value_len > PLACEHOLDER_BYTES {
            return self.pair();
        }
        let value = PLACEHOLDER.slice(..value_len);
        KeyValue { value, ..self.block.without_value(&self.version) }
    }
}

/// A location in the history of one layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLocation {
    block: u64,
    layout: u32,
    slot: u16,
}

impl Kv {
    /// Gives this state, which replaces the state `replaced`, a new layout. Locations of `replaced` become invalid.
    pub fn begin_layout(&mut self, replaced: &Self) {
        self.layout = replaced.layout + 1;
    }

    /// Returns whether a location belongs to this state's layout.
    pub fn has_layout_of(&self, location: HistoryLocation) -> bool {
        self.layout == location.layout
    }

    /// Converts a location in this state's blocks to a location in its layout.
    fn with_layout(&self, Location { block, slot }: Location) -> HistoryLocation {
        HistoryLocation { block, layout: self.layout, slot }
    }

    /// Returns the location in this state's blocks, or `None` if the location belongs to another layout.
    fn resolve(&self, location: HistoryLocation) -> Option<Location> {
        let HistoryLocation { block, slot, .. } = location;
        self.has_layout_of(location)
            .then_some(Location { block, slot })
    }

    /// Returns the location after the newest change.
    pub fn end(&self) -> HistoryLocation {
        self.with_layout(self.history.end())
    }

    /// Returns a location from which a reader finds all changes at or after a revision. Older changes may come first.
    pub fn seek(&self, revision: Revision) -> HistoryLocation {
        self.with_layout(self.history.seek(revision))
    }

    /// Returns the change at a location. Returns `None` if the change was compacted or the location belongs to another layout.
    pub fn change_at(&self, location: HistoryLocation) -> Option<KeyChange<'_>> {
        let (block, version) = self.history.get(self.resolve(location)?)?;
        Some(KeyChange { block, version, pattern: ReadPattern::Random })
    }

    /// Iterates over the uncompacted changes at or after a revision. Starts at `location`, regardless of the revision, if the
    /// location belongs to this layout; otherwise, older changes may come first.
    pub fn changes_from(
        &self,
        revision: Revision,
        location: Option<HistoryLocation>,
    ) -> impl Iterator<Item = (HistoryLocation, KeyChange<'_>)> {
        let location = location.and_then(|location| self.resolve(location));
        let found = self
            .history
            .from(location.unwrap_or_else(|| self.history.seek(revision)));
        found.map(|(location, (block, version))| {
            let pattern = ReadPattern::Scan;
            (
                self.with_layout(location),
                KeyChange { block, version, pattern },
            )
        })
    }

    /// Returns the locations of a key's uncompacted changes at or after a revision, in order; `None` for more than `max`.
    pub fn changes_of_key(
        &self,
        key: &[u8],
        revision: Revision,
        max: usize,
    ) -> Option<Vec<HistoryLocation>> {
        let mut locations = Vec::new();
        let mut next = self.index.get(key).map(|entry| entry.location);
        while let Some(location) = next {
            let Some((_, version)) = self.history.get(location) else {
                break;
            };
            if version.main < revision {
                break;
            }
            if locations.len() == max {
                return None;
            }
            locations.push(self.with_layout(location));
            next = version.links.prev;
        }
        locations.reverse();
        Some(locations)
    }

    /// Returns the pair before a change. Returns `None` if there was no pair or the pair was compacted. If the value is only on
    /// disk, waits until it has been read.
    pub fn previous(&self, written: &KeyChange<'_>) -> Option<KeyValue> {
        let (block, version) = self.version_before(written)?;
        Some(block.key_value(&version, ReadPattern::Random))
    }

    /// Returns whether [`Self::previous`] reads nothing from disk: the value is in memory, or there is no pair.
    pub fn previous_is_resident(&self, written: &KeyChange<'_>) -> bool {
        self.version_before(written)
            .is_none_or(|(block, _)| block.is_resident())
    }

    /// Returns the version before a change. Returns `None` if there was no version or the version was a deletion or compacted.
    fn version_before(&self, written: &KeyChange<'_>) -> Option<BlockVersion<'_>> {
        let revision = written.version.main.previous();
        if revision < self.compacted {
            return None;
        }
        let found = self.history.at(written.version.links.prev?, revision);
        found.filter(|(_, version)| !version.tombstone)
    }

    /// Returns the states before the last `STATES_BEFORE_COMPACTION_MAX` compactions for which watchers have not been notified,
    /// oldest first.
    pub fn compacted_states(&self) -> &[Kv] {
        &self.states_before_compaction
    }

    /// Drops the states saved before compactions. The caller has notified all watchers.
    pub fn clear_states_before_compaction(&mut self) {
        if !self.states_before_compaction.is_empty() {
            self.states_before_compaction = Vec::new();
        }
    }

    /// Adds the states that `earlier` saved before compactions for which watchers have not been notified. Drops the oldest
    /// states above the limit.
    pub fn inherit_states_before_compaction(&mut self, earlier: &Kv) {
        if !earlier.states_before_compaction.is_empty() {
            let later = std::mem::take(&mut self.states_before_compaction);
            let states = earlier.states_before_compaction.iter().cloned();
            self.states_before_compaction = newest(states.chain(later).collect());
        }
    }

    /// Saves the current state for watchers, before a compaction changes it. Drops the oldest saved state above the limit.
    pub(super) fn save_for_watchers(&mut self) {
        let mut states = std::mem::take(&mut self.states_before_compaction);
        states.push(self.clone());
        self.states_before_compaction = newest(states);
    }
}

/// Drops the oldest states beyond `STATES_BEFORE_COMPACTION_MAX`.
fn newest(mut states: Vec<Kv>) -> Vec<Kv> {
    states.drain(..states.len().saturating_sub(STATES_BEFORE_COMPACTION_MAX));
    states
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kv::{
        Compact, KvCommand, KvOperation,
        test_helpers::{self, delete, put},
    };

    fn told(written: &KeyChange<'_>) -> (i64, String, bool) {
        let key = String::from_utf8(written.key().to_vec()).unwrap();
        (written.revision().0, key, written.deletes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_history_is_equal_from_every_start(
            steps in prop::collection::vec((0..8_u8, 0..3000_usize, any::<bool>()), 1..300),
            compact in 0..300_i64,
        ) {
            let mut kv = Kv::default();
            let mut all: Vec<(i64, String, bool)> = Vec::new();
            for (key, size, deletes) in steps {
                let key = format!("k{key}");
                if deletes {
                    delete(&mut kv, &key);
                } else {
                    put(&mut kv, &key, size);
                }
                if all.last().map_or(1, |(revision, ..)| *revision) < kv.revision().0 {
                    all.push((kv.revision().0, key, deletes));
                }
            }
            let compacted = compact.min(kv.revision().0);
            if compacted > 1 {
                test_helpers::compact(&mut kv, compacted);
            }
            for revision in compacted.max(1)..=kv.revision().next().0 {
                let expect: Vec<_> = all.iter().filter(|(r, ..)| *r >= revision).cloned().collect();
                let found = kv.changes_from(Revision(revision), None);
                let found: Vec<_> = found
                    .map(|(_, written)| told(&written))
                    .filter(|(r, ..)| *r >= revision)
                    .collect();
                prop_assert_eq!(found, expect.clone());
                for key in 0..8 {
                    let key = format!("k{key}");
                    let locations = kv.changes_of_key(key.as_bytes(), Revision(revision), 1000).unwrap();
                    let found: Vec<_> = locations.iter().map(|p| told(&kv.change_at(*p).unwrap())).collect();
                    let expect: Vec<_> = expect.iter().filter(|(_, k, _)| *k == key).cloned().collect();
                    prop_assert_eq!(found, expect);
                }
            }
            prop_assert_eq!(kv.changes_from(Revision::NONE, Some(kv.end())).count(), 0);
        }
    }

    #[test]
    fn a_key_with_too_many_changes_is_not_reported_as_compacted() {
        let mut kv = Kv::default();
        (0..10).for_each(|_| put(&mut kv, "k", 1));
        assert_eq!(
            kv.changes_of_key(b"k", Revision::NONE, 10).unwrap().len(),
            10
        );
        assert_eq!(kv.changes_of_key(b"k", Revision::NONE, 9), None);
        assert_eq!(kv.changes_of_key(b"k", Revision(9), 9).unwrap().len(), 3);
        assert_eq!(kv.changes_of_key(b"other", Revision::NONE, 9).unwrap(), []);
    }

    #[test]
    fn states_before_a_compaction_are_kept_until_watchers_are_notified() {
        let mut kv = Kv::default();
        put(&mut kv, "k", 1);
        put(&mut kv, "k", 2);
        let compact = |kv: &mut Kv, revision| {
            let verb = Some(KvOperation::Compact(Compact { revision }));
            kv.apply(&KvCommand { operation: verb }).unwrap();
        };
        compact(&mut kv, 3);
        let before = kv.compacted_states().first().unwrap();
        assert_eq!(before.changes_from(Revision::NONE, None).count(), 2);
        assert_eq!(kv.changes_from(Revision::NONE, None).count(), 1);
        kv.clear_states_before_compaction();
        for _ in 0..2 * STATES_BEFORE_COMPACTION_MAX {
            let mut writes = kv.clone();
            writes.clear_states_before_compaction();
            put(&mut writes, "k", 3);
            writes.states_before_compaction = kv.states_before_compaction;
            let revision = writes.revision().0;
            compact(&mut writes, revision);
            kv = writes;
        }
        assert_eq!(kv.compacted_states().len(), STATES_BEFORE_COMPACTION_MAX);
        let last = kv.compacted_states().last().map(Kv::compacted);
        kv.inherit_states_before_compaction(&kv.clone());
        assert_eq!(kv.compacted_states().len(), STATES_BEFORE_COMPACTION_MAX);
        assert_eq!(kv.compacted_states().last().map(Kv::compacted), last);
    }
}
