//! The raft log in memory: unapplied entries, and applied entries that lagging members may still need. The log on disk contains
//! the same entries and is read only at startup.

use std::collections::VecDeque;

use raft::{
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
};

use crate::{
    limits::{CATCH_UP_BYTES, CATCH_UP_ENTRIES, RECEIVERS_BYTES, catch_up_bytes, receivers_bytes},
    wire,
};
use witan_machine::{member::PublishAttributes, view::Position};

/// Consecutive log entries, with raft's hard state and the applied position.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    /// Index and term of the entry before the first kept entry.
    base: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    hard_state: HardState,
    /// The applied position, which is also the position of a snapshot for another member.
    position: Position,
    /// Number of applied entries kept for members that lag behind.
    catch_up_entries: u64,
    /// Maximum size in bytes of the applied entries kept for members that lag behind.
    catch_up_bytes: usize,
    /// Maximum size in bytes of the applied entries kept for members that are receiving a snapshot or entries.
    receivers_bytes: usize,
    /// Number of times that registrations were appended, or that unapplied entries were replaced.
    registrations: u64,
}

impl MemoryLog {
    /// Creates a log with the applied position `position`. The entries may start at or below that position, to serve other
    /// members. The first entry then becomes the base, and entries that no member needs are dropped.
    pub(crate) fn new(position: Position, entries: Vec<Entry>, hard_state: HardState) -> Self {
        let mut log = Self {
            base: (position.index, position.term),
            bytes: bytes(&entries),
            entries: entries.into(),
            hard_state,
            position,
            catch_up_entries: CATCH_UP_ENTRIES,
            catch_up_bytes: CATCH_UP_BYTES,
            receivers_bytes: RECEIVERS_BYTES,
            registrations: 0,
        };
        let below = |entry: &Entry| entry.index <= log.position.index;
        if log.entries.front().is_some_and(below) {
            // The term below the first entry is unknown, so the entry itself is the base.
            log.drop_first();
            log.trim(None);
        }
        log
    }

    /// Appends entries. Replaces existing entries, starting at the index of the first new entry. Panics if this would leave a
    /// gap or replace a dropped entry.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base.0 && first.index <= self.last() + 1,
            "appending {} to a log of {}..={}",
            first.index,
            self.base.0,
            self.last()
        );
        let replaced = offset(first.index, self.base.0);
        let replaces = replaced < self.entries.len();
        if replaces
            || entries
                .iter()
                .any(|entry| wire::registration(entry).is_some())
        {
            self.registrations += 1;
        }
        self.bytes -= bytes(self.entries.range(replaced..));
        self.bytes += bytes(entries);
        self.entries.truncate(replaced);
        self.entries.extend(entries.iter().cloned());
    }

    /// Returns the registrations of data directories in unapplied entries.
    pub(crate) fn unapplied_registrations(&self) -> impl Iterator<Item = PublishAttributes> {
        let applied = offset(self.position.index + 1, self.base.0);
        self.entries.range(applied..).filter_map(wire::registration)
    }

    /// Returns a counter that changes whenever registrations are appended or may have been replaced.
    pub(crate) fn registrations(&self) -> u64 {
        self.registrations
    }

    /// Sets the number of applied entries kept for lagging members, instead of [`CATCH_UP_ENTRIES`]. Lowers the bounds on their
    /// size to shares of the memory budget of `memory_bytes` bytes, which is `u64::MAX` if it is unlimited.
    pub(crate) fn keep_entries(&mut self, entries: u64, memory_bytes: u64) {
        self.catch_up_entries = entries;
        self.catch_up_bytes = catch_up_bytes(memory_bytes);
        self.receivers_bytes = receivers_bytes(memory_bytes);
    }

    pub(crate) fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    /// Sets the commit index of the hard state in memory.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Sets the index and term of the last applied entry.
    pub(crate) fn advance_position(&mut self, index: u64, term: u64) {
        (self.position.index, self.position.term) = (index, term);
    }

    /// Sets raft's configuration at the applied position, without changing index, term and lineage.
    pub(crate) fn set_conf_state(&mut self, now: ConfState) {
        self.position = Position {
            index: self.position.index,
            term: self.position.term,
            voters: now.voters,
            learners: now.learners,
            voters_outgoing: now.voters_outgoing,
            learners_next: now.learners_next,
            auto_leave: now.auto_leave,
            lineage: self.position.lineage,
        };
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Drops applied entries that no member needs, once there are twice as many as are kept, or too many bytes. A cluster of
    /// one member needs no applied entries. Other clusters keep enough entries for a member that was briefly unreachable.
    /// `receivers` is the lowest last index of the members that are receiving a snapshot or entries, `None` if there are no
    /// such members. Entries after that index are kept up to a bound.
    pub(crate) fn trim(&mut self, receivers: Option<u64>) {
        let applied = self.position.index;
        if self.position.members() == 1 {
            return self.drop_while(|_, entry| entry.index <= applied);
        }
        let spare = receivers.map_or(applied, |has| has.min(applied));
        if applied > self.base.0 + 2 * self.catch_up_entries {
            let last = spare.min(applied - self.catch_up_entries);
            self.drop_while(|_, entry| entry.index <= last);
        }
        // Trim to a fraction of the bound, so that not every later entry causes another trim.
        let (catch_up, all) = (self.catch_up_bytes, self.receivers_bytes);
        if self.bytes > catch_up {
            self.drop_while(|bytes, entry| bytes > catch_up / 2 && entry.index <= spare);
        }
        if self.bytes > all {
            self.drop_while(|bytes, entry| bytes > all / 4 * 3 && entry.index <= applied);
        }
    }

    /// Drops entries from the front while `spare` is true for the size of all entries in bytes and the first entry.
    fn drop_while(&mut self, spare: impl Fn(usize, &Entry) -> bool) {
        while self
            .entries
            .front()
            .is_some_and(|first| spare(self.bytes, first))
        {
            self.drop_first();
        }
    }

    /// Drops the first entry, whose index and term become the log's base.
    fn drop_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&first);
            self.base = (first.index, first.term);
        }
    }

    /// Empties the log, moves it to the position of a received snapshot, and raises the commit index to that position.
    pub(crate) fn install_snapshot(&mut self, position: Position) {
        self.base = (position.index, position.term);
        self.entries.clear();
        self.bytes = 0;
        self.hard_state.commit = self.hard_state.commit.max(position.index);
        self.position = position;
    }

    /// Returns the index of the last entry or, if the log is empty, the index of the base.
    fn last(&self) -> u64 {
        self.entries.back().map_or(self.base.0, |entry| entry.index)
    }
}

/// Returns the size of entries in memory in bytes.
fn bytes<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> usize {
    entries.into_iter().map(entry_bytes).sum()
}

/// Returns the size of an entry in memory in bytes: its payload and the struct.
fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + size_of::<Entry>()
}

/// Returns the offset of entry `index` in a queue whose first entry has index `base + 1`. `index` must be greater than `base`.
fn offset(index: u64, base: u64) -> usize {
    usize::try_from(index - base - 1).expect("a log in memory has fewer entries than usize::MAX")
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            conf_state(&self.position),
        ))
    }

    /// Returns the entries from `low` up to but excluding `high`, limited to `max_size` bytes but at least one entry. Fails
    /// with `Compacted` if the entry `low` was dropped. Panics if `high` is beyond the log's end.
    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(
            high <= self.last() + 1,
            "entries up to {high} of a log up to {}",
            self.last()
        );
        let range = offset(low, self.base.0)..offset(high, self.base.0);
        let mut entries: Vec<Entry> = self.entries.range(range).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    /// Returns the term of the entry at `index`, which can be the base. Fails with `Compacted` if `index` is below the base,
    /// and with `Unavailable` if it is beyond the log's end.
    fn term(&self, index: u64) -> Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index < self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(offset(index, self.base.0));
        entry
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// Returns the metadata of a snapshot at the applied position. The state itself is sent as a `View` with the message. Fails
    /// while the applied position is below `request_index`.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        if self.position.index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        fill_metadata(&mut snapshot, &self.position);
        Ok(snapshot)
    }
}

/// Writes index, term and configuration of a position into a snapshot's metadata.
pub(crate) fn fill_metadata(snapshot: &mut Snapshot, position: &Position) {
    let metadata = snapshot.mut_metadata();
    metadata.index = position.index;
    metadata.term = position.term;
    metadata.set_conf_state(conf_state(position));
}

/// Converts the configuration in a position to raft's form.
fn conf_state(position: &Position) -> ConfState {
    ConfState {
        voters: position.voters.clone(),
        learners: position.learners.clone(),
        voters_outgoing: position.voters_outgoing.clone(),
        learners_next: position.learners_next.clone(),
        auto_leave: position.auto_leave,
        ..ConfState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMMAND_BYTES_MAX;

    /// Returns an entry of term 1 with `bytes` bytes of data.
    fn entry(index: u64, bytes: usize) -> Entry {
        Entry {
            index,
            term: 1,
            data: vec![0; bytes].into(),
            ..Entry::default()
        }
    }

    #[test]
    fn an_absent_learner_does_not_keep_the_log_forever() {
        let position = Position { voters: vec![1], learners: vec![2], ..Position::default() };
        let mut log = MemoryLog::new(position, Vec::new(), HardState::default());
        let mut most = 0;
        for index in 1..=500 {
            log.append(&[entry(index, 1 << 20)]);
            log.advance_position(index, 1);
            log.trim(None);
            most = most.max(log.bytes);
        }
        assert!(most <= CATCH_UP_BYTES, "{most}");
        assert_eq!(log.bytes, bytes(&log.entries));
        for index in 501..=30_000 {
            log.append(&[entry(index, 10)]);
            log.advance_position(index, 1);
            log.trim(None);
        }
        assert_eq!(log.bytes, bytes(&log.entries));
        let held = log.entries.len() as u64;
        assert!(
            (CATCH_UP_ENTRIES..=2 * CATCH_UP_ENTRIES).contains(&held),
            "{held}"
        );
    }

    #[test]
    fn unapplied_entries_are_kept() {
        let position = Position { voters: vec![1], learners: vec![2], ..Position::default() };
        let mut log = MemoryLog::new(position, Vec::new(), HardState::default());
        for index in 1..=200 {
            log.append(&[entry(index, 1 << 20)]);
        }
        log.advance_position(10, 1);
        log.trim(None);
        assert_eq!(log.first_index(), Ok(11));
        log.append(&[entry(12, 1)]);
        assert_eq!(log.bytes, (1 << 20) + 1 + 2 * size_of::<Entry>());
    }

    #[test]
    fn entries_after_a_snapshot_in_transfer_are_kept_up_to_a_bound() {
        let position = Position { voters: vec![1, 2, 3], ..Position::default() };
        let mut log = MemoryLog::new(position, Vec::new(), HardState::default());
        let write = |log: &mut MemoryLog, indexes: std::ops::RangeInclusive<u64>, bytes| {
            for index in indexes {
                log.append(&[entry(index, bytes)]);
                log.advance_position(index, 1);
                log.trim(Some(1000));
            }
        };
        // The log grows beyond the number and size of entries that are kept for lagging members.
        write(&mut log, 1..=60_000, 10);
        write(&mut log, 60_001..=60_100, 1 << 20);
        assert_eq!(log.first_index(), Ok(1001));
        log.trim(Some(60_050));
        assert!(
            log.first_index().unwrap() > 55_000,
            "{:?}",
            log.first_index()
        );
        // A member that takes too long needs another snapshot.
        write(&mut log, 60_101..=61_000, 1 << 20);
        assert!(log.bytes <= RECEIVERS_BYTES, "{}", log.bytes);
        assert!(log.first_index().unwrap() > 1001);
    }

    #[test]
    fn a_small_memory_budget_lowers_the_bounds_on_bytes() {
        let position = Position { voters: vec![1, 2, 3], ..Position::default() };
        let mut log = MemoryLog::new(position, Vec::new(), HardState::default());
        log.keep_entries(CATCH_UP_ENTRIES, 256 << 20);
        let mut most = |receivers| {
            let mut most = 0;
            for index in log.last() + 1..=log.last() + 200 {
                log.append(&[entry(index, 1 << 20)]);
                log.advance_position(index, 1);
                log.trim(receivers);
                most = most.max(log.bytes);
            }
            most >> 20
        };
        assert_eq!([most(None), most(Some(1))], [15, 31]);
        // The longest command always fits.
        assert_eq!(catch_up_bytes(64 << 20), COMMAND_BYTES_MAX);
        assert_eq!(catch_up_bytes(u64::MAX), CATCH_UP_BYTES);
        assert_eq!(receivers_bytes(u64::MAX), RECEIVERS_BYTES);
    }

    #[test]
    fn entries_below_the_checkpoint_serve_others_after_a_restart() {
        let position = Position {
            index: 90,
            term: 1,
            voters: vec![1, 2, 3],
            ..Position::default()
        };
        let entries: Vec<Entry> = (10..=100).map(|index| entry(index, 10)).collect();
        let log = MemoryLog::new(position.clone(), entries.clone(), HardState::default());
        assert_eq!(log.first_index(), Ok(11));
        assert_eq!(log.last_index(), Ok(100));
        assert_eq!(log.term(10), Ok(1));
        let alone = Position { voters: vec![1], ..position };
        let log = MemoryLog::new(alone, entries, HardState::default());
        assert_eq!(log.first_index(), Ok(91));
    }
}
