//! Estimates how many keys a command on the key space touches (see `machine/work.rs`).

use super::{
    CompareTarget, DeleteRange, KeyRange, Kv, KvCommand, KvError, KvOperation, Put, Range,
    ReadBudget, Txn, TxnOpKind, ValueSource, ValueUse, range::fetch_limit,
};
use crate::{
    follow::{FollowCommand, FollowOperation},
    lease::{LeaseCommand, LeaseId, LeaseOperation},
    revision::Revision,
};

/// Number of versions that a sweep processes in a typical block.
const VERSIONS_PER_BLOCK: u64 = 128;

/// Maximum number of a transaction's operations that are not charged. For a transaction with more operations, all are charged.
const SMALL_TXN_OPERATIONS: usize = 64;

/// Number of keys that are charged for each value that a command may read from disk. The charge must not depend on which values
/// are in memory at the moment, because these values are not recorded.
const KEYS_PER_VALUE: usize = 64;

impl Kv {
    /// Estimates how many keys a command and its part of a sweep touch. Single keys are not counted. Counts the command's own
    /// keys up to `max` and assumes `max` if the command compares the values of a range. If `source` is the disk, each
    /// value that the command may read is counted as [`KEYS_PER_VALUE`] additional keys.
    pub(crate) fn work(&self, command: &KvCommand, max: u64, source: ValueSource) -> u64 {
        let keys_per_value = match source {
            ValueSource::Memory => 0,
            ValueSource::Disk => KEYS_PER_VALUE,
        };
        let of_verb = match &command.operation {
            Some(KvOperation::Put(put)) if reads_value(put) => keys_per_value as u64,
            Some(KvOperation::Put(_)) => 0,
            Some(KvOperation::Delete(delete)) => self.charged(max, |reads| {
                let values = self.charge_deletion(delete, reads)?;
                reads.keys(values.saturating_mul(keys_per_value))
            }),
            // A few keys may have values of many megabytes.
            Some(KvOperation::Txn(txn)) if txn.compares_values() => max,
            Some(KvOperation::Txn(txn)) => self.charged(max, |reads| {
                let values = self.charge_txn(txn, reads)?;
                reads.keys(values.saturating_mul(keys_per_value))
            }),
            Some(KvOperation::Compact(compact)) => {
                self.sweep_work(Revision(compact.revision), self.pacing.sweep_blocks_first)
            }
            Some(KvOperation::Sweep(_)) => {
                self.sweep_work(self.compacted(), self.pacing.sweep_blocks_first)
            }
            None => 0,
        };
        of_verb.saturating_add(self.next_sweep_work())
    }

    /// Returns the number of keys of the leases that a command ends, at most `max` per lease, plus [`Self::next_sweep_work`].
    pub(crate) fn lease_work(&self, command: &LeaseCommand, max: u64) -> u64 {
        let most = usize::try_from(max).unwrap_or(usize::MAX);
        let attached = |id: LeaseId| self.leases().keys(id).take(most).count() as u64;
        let of_verb = match &command.operation {
            Some(LeaseOperation::Revoke(revoke)) => attached(revoke.lease_id()),
            Some(LeaseOperation::Expire(expire)) => expire.lease_ids().map(attached).sum(),
            Some(LeaseOperation::Grant(_) | LeaseOperation::Checkpoint(_)) | None => 0,
        };
        of_verb.saturating_add(self.next_sweep_work())
    }

    /// Returns the number of keys that a follow command touches, plus [`Self::next_sweep_work`].
    pub(crate) fn follow_work(&self, command: &FollowCommand) -> u64 {
        let of_verb = match &command.operation {
            Some(FollowOperation::Revisions(asked)) => {
                let revisions = asked.revisions.iter();
                revisions.map(|revision| revision.writes.len() as u64).sum()
            }
            Some(FollowOperation::Compact(compact)) => {
                self.sweep_work(Revision(compact.revision), self.pacing.sweep_blocks_first)
            }
            Some(FollowOperation::Leases(leases)) => {
                (leases.granted.len() + leases.ended.len()) as u64
            }
            Some(FollowOperation::Users(users)) => users.records.len() as u64,
            Some(
                FollowOperation::BeginCutOver(_)
                | FollowOperation::CutOver(_)
                | FollowOperation::FenceAgain(_)
                | FollowOperation::SourceGone(_),
            )
            | None => 0,
        };
        of_verb.saturating_add(self.next_sweep_work())
    }

    /// Estimates the number of versions that the next command sweeps for the last compaction. Returns 0 if the sweep is
    /// finished or the next pass has the usual length.
    fn next_sweep_work(&self) -> u64 {
        if !self.is_sweeping() {
            return 0;
        }
        // A pass is short unless it reaches the compacted revision, whose versions are always processed together.
        let blocks = self.pacing.sweep_blocks_next;
        match self.sweep_work(self.compacted(), blocks) {
            work if work > blocks as u64 * VERSIONS_PER_BLOCK => work,
            _ => 0,
        }
    }

    /// Estimates the number of versions that a pass over `blocks` blocks processes, up to the compacted revision `revision`.
    fn sweep_work(&self, revision: Revision, blocks: usize) -> u64 {
        let revision = revision.min(self.revision());
        let first = self.history.seek(revision).block;
        let last = self.history.seek(revision.next()).block;
        let before = first.saturating_sub(self.next_sweep_block);
        let swept = match before.checked_sub(blocks as u64) {
            Some(_) => blocks as u64,
            None => before + last.saturating_sub(first),
        };
        swept.saturating_mul(VERSIONS_PER_BLOCK)
    }

    /// Charges the keys in the ranges of a transaction's comparisons and branches. Also charges the number of operations if this
    /// number exceeds `SMALL_TXN_OPERATIONS`. Returns the maximum number of values that the comparisons and both branches read.
    fn charge_txn(&self, txn: &Txn, reads: &mut ReadBudget) -> Result<usize, KvError> {
        let mut values = 0;
        for compare in txn.comparisons() {
            if compare.range_end.is_empty() {
                values += usize::from(compare.target() == CompareTarget::Value);
            } else {
                let span = KeyRange::new(&compare.key, &compare.range_end);
                self.charge_walk(&span, Some(usize::MAX), reads)?;
            }
        }
        let operations = txn.operations().count();
        if operations > SMALL_TXN_OPERATIONS {
            reads.keys(operations)?;
        }
        for operation in txn.operations() {
            values += match operation {
                TxnOpKind::Range(range) => self.charge_range(range, reads)?,
                TxnOpKind::Delete(delete) => self.charge_deletion(delete, reads)?,
                TxnOpKind::Put(put) => usize::from(reads_value(put)),
                TxnOpKind::Txn(_) => 0,
            };
        }
        Ok(values)
    }

    /// Charges the keys in a range to read. A single key costs nothing. Returns the maximum number of values that the range
    /// reads.
    fn charge_range(&self, range: &Range, reads: &mut ReadBudget) -> Result<usize, KvError> {
        let keys = if range.range_end.is_empty() {
            1
        } else {
            let before = reads.keys_left();
            self.charge_read(range, reads)?;
            before - reads.keys_left()
        };
        Ok(
            match range.count_only || ValueUse::of(range) == ValueUse::Nothing {
                true => 0,
                false => keys.min(fetch_limit(range)),
            },
        )
    }

    /// Charges the keys in a range to delete. A single key costs nothing. Returns the maximum number of values that the
    /// deletion reads.
    fn charge_deletion(
        &self,
        delete: &DeleteRange,
        reads: &mut ReadBudget,
    ) -> Result<usize, KvError> {
        let keys = if delete.range_end.is_empty() {
            1
        } else {
            let before = reads.keys_left();
            let span = KeyRange::new(&delete.key, &delete.range_end);
            self.charge_walk(&span, Some(usize::MAX), reads)?;
            before - reads.keys_left()
        };
        Ok(if delete.prev_kv { keys } else { 0 })
    }

    /// Returns the number of keys that `charge` charges, or `max` if that number exceeds `max`.
    fn charged(
        &self,
        max: u64,
        charge: impl FnOnce(&mut ReadBudget) -> Result<(), KvError>,
    ) -> u64 {
        let mut reads = ReadBudget::of_estimate(self.pacing, max);
        match charge(&mut reads) {
            Ok(()) => max - reads.keys_left() as u64,
            Err(_) => max,
        }
    }
}

/// Returns whether the put needs the previous value, which may be on disk.
fn reads_value(put: &Put) -> bool {
    put.prev_kv || put.ignore_value
}
