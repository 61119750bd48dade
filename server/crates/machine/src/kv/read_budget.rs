//! Limits the reads of one command while it is applied, and records whether it returns results.
//!
//! The limits are part of the state machine: a command that exceeds them is refused on every member, at the same operation,
//! without any change. The charges must therefore be the same on all members. They depend only on the keys in a range and on
//! which of them are deleted, and both follow from the log. The layout of index pages differs between members, because startup
//! repacks them, so a walk over pages is never charged.

use super::{KeyValue, KvError, index::Count};
use crate::limits::{
    RANGE_ANSWER_BYTES_MAX, READ_TXN_KEYS_MAX, TXN_READ_BYTES_MAX, TXN_READ_KEYS_MAX,
};

/// Memory in bytes of a pair in addition to its key and value, which is more than its encoding in a message.
const PAIR_BYTES: u64 = 96;
const _: () = assert!(size_of::<KeyValue>() as u64 <= PAIR_BYTES);

/// Number of keys, live or deleted, that can be counted in the time of reading one. A whole page takes 16 ns to count.
const COUNTED_PER_READ: u64 = 2048;

/// Number of deleted keys that can be skipped in the time of reading one key. Each takes 20 ns, unless a whole page is deleted.
const PASSED_PER_READ: u64 = 16;

/// The cost of reading a key. The unit is the cost of counting a key.
const READ: u64 = COUNTED_PER_READ;

/// The cost of skipping a deleted key, in the same unit.
const PASSED: u64 = COUNTED_PER_READ / PASSED_PER_READ;

/// Whether a command returns the results of its reads. Replayed entries need no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResults {
    /// Return the results.
    Return,
    /// Omit pairs from the reply. The resulting state is the same.
    Discard,
}

#[derive(Clone, Debug)]
pub(super) struct ReadBudget {
    /// The remaining work, in units of the cost of counting a key.
    work: u64,
    bytes: u64,
    bounded: bool,
    answers: ReadResults,
}

impl ReadBudget {
    /// Returns the budget of a command. A command that is not `bounded` is of a release without limits and has none.
    pub(super) fn of_command(bounded: bool, answers: ReadResults) -> Self {
        let limit = |max: u64| if bounded { max } else { u64::MAX };
        Self {
            work: limit(TXN_READ_KEYS_MAX * READ),
            bytes: limit(TXN_READ_BYTES_MAX),
            bounded,
            answers,
        }
    }

    /// Returns the budget of a range outside a transaction.
    pub(super) fn of_range() -> Self {
        Self {
            work: u64::MAX,
            bytes: RANGE_ANSWER_BYTES_MAX,
            bounded: true,
            answers: ReadResults::Return,
        }
    }

    /// Returns the budget of a read-only transaction in a store with `keys` live keys of `bytes` bytes. It suffices to read
    /// each key once, or `READ_TXN_KEYS_MAX` keys, and to return up to `RANGE_ANSWER_BYTES_MAX` bytes.
    pub(super) fn of_read_txn(keys: u64, bytes: u64) -> Self {
        let whole = bytes.saturating_add(keys.saturating_mul(PAIR_BYTES));
        Self {
            work: READ_TXN_KEYS_MAX.max(keys).saturating_mul(READ),
            bytes: TXN_READ_BYTES_MAX.max(whole).min(RANGE_ANSWER_BYTES_MAX),
            ..Self::of_range()
        }
    }

    /// Returns a budget for estimates, which suffices to read `keys` keys.
    pub(super) fn of_estimate(keys: u64) -> Self {
        Self { work: keys.saturating_mul(READ), ..Self::of_range() }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Returns whether reads can be skipped, because results are discarded and no limit applies.
    pub(super) fn discards_results(&self) -> bool {
        !self.bounded && self.answers == ReadResults::Discard
    }

    pub(super) fn returns_results(&self) -> bool {
        self.answers == ReadResults::Return
    }

    /// Returns how many further keys can be read.
    pub(super) fn keys_left(&self) -> usize {
        whole(self.work / READ)
    }

    /// Returns how many further deleted keys can be skipped.
    pub(super) fn passed_left(&self) -> usize {
        whole(self.work / PASSED)
    }

    /// Returns the count at which counting can stop, because [`Self::count_keys`] fails from that count on.
    pub(super) fn enough_counted(&self) -> Count {
        Count { all: whole(self.work), ..Count::MAX }
    }

    /// Charges one read key. Like all charges, fails if the budget is exhausted.
    pub(super) fn read_key(&mut self) -> Result<(), KvError> {
        self.keys(1)
    }

    /// Charges `keys` read keys.
    pub(super) fn keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * READ)
    }

    /// Charges skipped deleted keys. `PASSED_PER_READ` of them cost as much as one read key.
    pub(super) fn passed(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * PASSED)
    }

    /// Charges a count of keys, including deleted ones: one read key, plus one for every `COUNTED_PER_READ` keys.
    pub(super) fn count_keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, READ + keys as u64)
    }

    /// Charges the `PAIR_BYTES` of a pair in memory, even if it is not returned.
    pub(super) fn hold(&mut self) -> Result<(), KvError> {
        take(&mut self.bytes, PAIR_BYTES)
    }

    /// Charges the key and the value of a returned pair.
    pub(super) fn return_pair(&mut self, kv: &KeyValue) -> Result<(), KvError> {
        take(&mut self.bytes, (kv.key.len() + kv.value.len()) as u64)
    }

    /// Charges `bytes` compared bytes of values.
    pub(super) fn compare_bytes(&mut self, bytes: usize) -> Result<(), KvError> {
        take(&mut self.bytes, bytes as u64)
    }

    /// Returns `read`, or the default value if results are discarded.
    pub(super) fn answer<T: Default>(&self, read: T) -> T {
        match self.answers {
            ReadResults::Return => read,
            ReadResults::Discard => T::default(),
        }
    }
}

/// Converts to `usize`, saturating.
fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Subtracts `wanted` from `left`. Fails with `AnswerTooLarge` and changes nothing if `left` is too small.
fn take(left: &mut u64, wanted: u64) -> Result<(), KvError> {
    *left = left.checked_sub(wanted).ok_or(KvError::AnswerTooLarge)?;
    Ok(())
}
