//! Budget of what one command may read while it is applied, and whether results are returned.
//!
//! The limits are part of the state machine: a command beyond them is refused on every member, at the
//! same operation, with no change. So what is charged must be the same on all members: it depends on
//! which keys a span has and which of them are deleted, both of which follow from the log alone
//! (deletions leave the index in sweeps, see `compact`). How keys are spread over the pages of the
//! index differs between members, because a start fills pages anew: pages are walked, and never
//! charged. What a verb reads does not live here.

use super::{KeyValue, KvError, index::Count};
use crate::limits::{RANGE_ANSWER_BYTES_MAX, TXN_READ_BYTES_MAX, TXN_READ_KEYS_MAX};

/// Memory of a pair beside the bytes of its key and value. The message around it is smaller.
const PAIR_BYTES: u64 = 96;
const _: () = assert!(size_of::<KeyValue>() as u64 <= PAIR_BYTES);

/// Keys, live or deleted, that are counted at the cost of one that is read: whole pages are counted at
/// once, 140 keys in 16 ns.
const COUNTED_PER_READ: u64 = 2048;

/// Deleted keys that are passed over at the cost of one that is read: 20 ns each, unless all of a page
/// are deleted.
const PASSED_PER_READ: u64 = 16;

/// The work of a key that is read, in that of one that is counted.
const READ: u64 = COUNTED_PER_READ;

/// The same of a deleted key that is passed over.
const PASSED: u64 = COUNTED_PER_READ / PASSED_PER_READ;

/// Whether results of reads are returned. At start, replayed entries need no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResults {
    /// Build them.
    Return,
    /// Leave pairs out of the reply. The state after the command is the same.
    Discard,
}

/// The remaining budget.
#[derive(Clone, Debug)]
pub(super) struct ReadBudget {
    /// In the work of a key that is counted.
    work: u64,
    bytes: u64,
    bounded: bool,
    answers: ReadResults,
}

impl ReadBudget {
    /// Budget of a command. One that is not `bounded` was logged by a release without limits and is
    /// executed without limits.
    pub(super) fn of_command(bounded: bool, answers: ReadResults) -> Self {
        let limit = |max: u64| if bounded { max } else { u64::MAX };
        Self {
            work: limit(TXN_READ_KEYS_MAX * READ),
            bytes: limit(TXN_READ_BYTES_MAX),
            bounded,
            answers,
        }
    }

    /// Budget of a range outside of a transaction.
    pub(super) fn of_range() -> Self {
        Self {
            work: u64::MAX,
            bytes: RANGE_ANSWER_BYTES_MAX,
            bounded: true,
            answers: ReadResults::Return,
        }
    }

    /// Budget of a transaction that only reads, in a store of `keys` live keys of `bytes` bytes: enough to
    /// read each once, or `TXN_READ_KEYS_MAX` keys, and to answer `RANGE_ANSWER_BYTES_MAX` at most.
    pub(super) fn of_read_txn(keys: u64, bytes: u64) -> Self {
        let whole = bytes.saturating_add(keys.saturating_mul(PAIR_BYTES));
        Self {
            work: TXN_READ_KEYS_MAX.max(keys).saturating_mul(READ),
            bytes: TXN_READ_BYTES_MAX.max(whole).min(RANGE_ANSWER_BYTES_MAX),
            ..Self::of_range()
        }
    }

    /// Budget to find out whether a request reads `keys` keys at most; nothing is answered.
    pub(super) fn of_estimate(keys: u64) -> Self {
        Self { work: keys.saturating_mul(READ), ..Self::of_range() }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Whether reading can be skipped: results are discarded and no limit applies.
    pub(super) fn discards_results(&self) -> bool {
        !self.bounded && self.answers == ReadResults::Discard
    }

    /// Whether somebody takes what was read.
    pub(super) fn returns_results(&self) -> bool {
        self.answers == ReadResults::Return
    }

    /// How many keys can still be read.
    pub(super) fn keys_left(&self) -> usize {
        whole(self.work / READ)
    }

    /// How many deleted keys can still be passed over.
    pub(super) fn passed_left(&self) -> usize {
        whole(self.work / PASSED)
    }

    /// Returns the number of keys at which counting may stop, because [`Self::count_keys`] refuses it and any
    /// higher one.
    pub(super) fn enough_counted(&self) -> Count {
        Count { all: whole(self.work), ..Count::MAX }
    }

    /// Charges one key that is read; fails, as all charges do, if the budget does not suffice.
    pub(super) fn read_key(&mut self) -> Result<(), KvError> {
        self.keys(1)
    }

    /// Charges keys that are read.
    pub(super) fn keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * READ)
    }

    /// Charges deleted keys that are passed over, `PASSED_PER_READ` of them as one key that is read.
    pub(super) fn passed(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * PASSED)
    }

    /// Charges a count of keys, deleted ones included: one key that is read, and one more for
    /// `COUNTED_PER_READ` keys.
    pub(super) fn count_keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, READ + keys as u64)
    }

    /// Charges the `PAIR_BYTES` of a pair held in memory, whether or not it will be part of the answer.
    pub(super) fn hold(&mut self) -> Result<(), KvError> {
        take(&mut self.bytes, PAIR_BYTES)
    }

    /// Charges the key and the value of a held pair that becomes part of the answer.
    pub(super) fn return_pair(&mut self, kv: &KeyValue) -> Result<(), KvError> {
        take(&mut self.bytes, (kv.key.len() + kv.value.len()) as u64)
    }

    /// Charges bytes of a value that are compared with another.
    pub(super) fn compare_bytes(&mut self, bytes: usize) -> Result<(), KvError> {
        take(&mut self.bytes, bytes as u64)
    }

    /// Returns what was read, or the default if results are discarded.
    pub(super) fn answer<T: Default>(&self, read: T) -> T {
        match self.answers {
            ReadResults::Return => read,
            ReadResults::Discard => T::default(),
        }
    }
}

/// Converts to `usize`; a number that is too large becomes the greatest.
fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Subtracts `wanted` from `left`; fails with `AnswerTooLarge` and changes nothing if less is left.
fn take(left: &mut u64, wanted: u64) -> Result<(), KvError> {
    *left = left.checked_sub(wanted).ok_or(KvError::AnswerTooLarge)?;
    Ok(())
}
