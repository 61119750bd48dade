//! Limits the reads of one command while it is applied, and records whether the command returns results.
//!
//! The limits are part of the state machine: a command that exceeds them is refused on every member, at the same operation,
//! without any change. The charges must therefore be the same on all members. They depend only on the keys in a range, the
//! lengths of their pairs, and which keys are deleted. All of these facts follow from the log. The layout of index pages
//! differs between members, because startup repacks the pages. A walk over pages is therefore never charged.

use std::sync::LazyLock;

use bytes::Bytes;

use super::{
    KeyValue, KvError, Range, SortTarget, history::BlockVersion, index::Count, version::Version,
};
use crate::{
    levels::OWN,
    limits::{RANGE_ANSWER_BYTES_MAX, READ_TXN_KEYS_MAX},
    pacing::Pacing,
    values::ReadPattern,
};

/// Maximum length in bytes of a placeholder.
pub(super) const PLACEHOLDER_BYTES: usize = 2 << 20;

/// Replaces values that are not read. Nothing writes to the placeholder, so the system maps its memory to the zero page.
pub(super) static PLACEHOLDER: LazyLock<Bytes> =
    LazyLock::new(|| vec![0; PLACEHOLDER_BYTES].into());

const _: () = assert!(size_of::<KeyValue>() as u64 <= Pacing::of(OWN).pair_bytes);

/// Whether a command returns the results of its reads. Replayed entries need no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResults {
    /// Return the results.
    Return,
    /// Omit pairs from the reply. The resulting state is the same.
    Discard,
}

/// Where a read outside the log may find values, and where [`StateMachine::work`](crate::StateMachine::work) assumes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// Only in memory, so that the read never waits. Fails with [`KvError::NotResident`] if a value is only on disk.
    Memory,
    /// In memory or on disk. The read may wait for the disk.
    Disk,
}

/// The purpose for which a read needs the value of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueUse {
    /// Does not need the value.
    Nothing,
    /// Returns the value.
    Return,
    /// Needs the value even if the read discards its results.
    Compare,
}

impl ValueUse {
    /// Returns the purpose for which a range needs values. A range that sorts by value compares values even if it returns only
    /// keys.
    pub(super) fn of(range: &Range) -> Self {
        if range.sort_target() == SortTarget::Value {
            Self::Compare
        } else if range.keys_only {
            Self::Nothing
        } else {
            Self::Return
        }
    }

    /// Returns the length in bytes of the value in the pair that [`ReadBudget::pair`] returns.
    pub(super) fn value_len(self, version: &Version<'_>) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Return | Self::Compare => version.value_len,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ReadBudget {
    /// The remaining work, in units of the cost of counting a key.
    work: u64,
    /// The remaining size in bytes of pairs in memory and of compared values.
    bytes: u64,
    /// Whether the limits apply.
    bounded: bool,
    answers: ReadResults,
    source: ValueSource,
    pattern: ReadPattern,
    /// The remaining size in bytes of the pairs that ranges may collect. Each pair counts [`Pacing::pair_bytes`] in addition to
    /// its own size.
    collected: u64,
    pacing: Pacing,
}

impl ReadBudget {
    /// Returns the budget of a command. A command that is not `bounded` has no limits.
    pub(super) fn of_command(pacing: Pacing, bounded: bool, answers: ReadResults) -> Self {
        let limit = |max: u64| if bounded { max } else { u64::MAX };
        Self {
            work: limit(pacing.txn_read_keys_max.saturating_mul(pacing.read_work)),
            bytes: limit(pacing.txn_read_bytes_max),
            bounded,
            answers,
            source: ValueSource::Disk,
            pattern: ReadPattern::Random,
            collected: u64::MAX,
            pacing,
        }
    }

    /// Returns the budget of a range outside a transaction, which limits only the size of the response.
    pub(super) fn of_range(pacing: Pacing) -> Self {
        Self {
            work: u64::MAX,
            bytes: RANGE_ANSWER_BYTES_MAX,
            bounded: true,
            answers: ReadResults::Return,
            source: ValueSource::Disk,
            pattern: ReadPattern::Random,
            collected: u64::MAX,
            pacing,
        }
    }

    /// Returns the budget of a read-only transaction in a store with `keys` live keys of `bytes` bytes in total. The budget
    /// suffices to read each key once, or `READ_TXN_KEYS_MAX` keys if that is more. It also suffices to return each pair once,
    /// or `txn_read_bytes_max` bytes if that is more, but at most `RANGE_ANSWER_BYTES_MAX` bytes.
    pub(super) fn of_read_txn(pacing: Pacing, keys: u64, bytes: u64) -> Self {
        let whole = bytes.saturating_add(keys.saturating_mul(pacing.pair_bytes));
        let bytes = pacing.txn_read_bytes_max.max(whole);
        Self {
            work: READ_TXN_KEYS_MAX.max(keys).saturating_mul(pacing.read_work),
            bytes: bytes.min(RANGE_ANSWER_BYTES_MAX),
            ..Self::of_range(pacing)
        }
    }

    /// Returns a budget for estimates that suffices to read `keys` keys.
    pub(super) fn of_estimate(pacing: Pacing, keys: u64) -> Self {
        Self {
            work: keys.saturating_mul(pacing.read_work),
            ..Self::of_range(pacing)
        }
    }

    /// Returns this budget for a read that finds values in `source`.
    pub(super) fn from(self, source: ValueSource) -> Self {
        Self { source, ..self }
    }

    /// Returns this budget for a read in [`ReadPattern::Scan`]: the values that it reads from disk are evicted first.
    pub(super) fn scanning(self) -> Self {
        Self { pattern: ReadPattern::Scan, ..self }
    }

    /// Returns this budget for a read that fails once its ranges have collected pairs of more than `bytes` bytes.
    pub(super) fn collecting(self, bytes: u64) -> Self {
        Self { collected: bytes, ..self }
    }

    /// Returns a version as a pair. If the result is discarded, a placeholder of the same length replaces the value, to avoid
    /// reading the disk. A value that is compared or longer than `PLACEHOLDER_BYTES` is not replaced. Fails with
    /// [`KvError::NotResident`] if the read must not wait for the value.
    pub(super) fn pair(
        &self,
        (block, version): &BlockVersion<'_>,
        value_use: ValueUse,
    ) -> Result<KeyValue, KvError> {
        let is_short = version.value_len <= PLACEHOLDER_BYTES;
        match (value_use, self.answers, self.source) {
            (ValueUse::Nothing, _, _) => Ok(block.without_value(version)),
            (ValueUse::Return, ReadResults::Discard, _) if is_short => {
                let value = PLACEHOLDER.slice(..version.value_len);
                Ok(KeyValue { value, ..block.without_value(version) })
            }
            (ValueUse::Return | ValueUse::Compare, _, ValueSource::Memory) => {
                let pair = block.key_value_in_memory(version);
                pair.ok_or(KvError::NotResident)
            }
            (ValueUse::Return | ValueUse::Compare, _, ValueSource::Disk) => {
                Ok(block.key_value(version, self.pattern))
            }
        }
    }

    /// Returns whether the limits of a command apply.
    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Returns whether reads can be skipped, because results are discarded and no limit applies.
    pub(super) fn discards_results(&self) -> bool {
        !self.bounded && self.answers == ReadResults::Discard
    }

    /// Returns whether the replies contain the results of reads.
    pub(super) fn returns_results(&self) -> bool {
        self.answers == ReadResults::Return
    }

    /// Returns the number of keys that can still be read.
    pub(super) fn keys_left(&self) -> usize {
        whole(self.work / self.pacing.read_work)
    }

    /// Returns the number of deleted keys that can still be skipped.
    pub(super) fn passed_left(&self) -> usize {
        whole(self.work / self.pacing.passed_work)
    }

    /// Returns the count at which counting can stop, because [`Self::count_keys`] fails at that count and above.
    pub(super) fn enough_counted(&self) -> Count {
        Count { all: whole(self.work), ..Count::MAX }
    }

    /// Charges the reading of one key. Like all charges, fails if the budget is exhausted.
    pub(super) fn read_key(&mut self) -> Result<(), KvError> {
        self.keys(1)
    }

    /// Charges the reading of `keys` keys.
    pub(super) fn keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * self.pacing.read_work)
    }

    /// Charges the skipping of `keys` deleted keys, which costs a fraction of reading them.
    pub(super) fn passed(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, keys as u64 * self.pacing.passed_work)
    }

    /// Charges the read of one key and the count of `keys` keys (including deleted keys). Counting keys costs a fraction of
    /// reading them.
    pub(super) fn count_keys(&mut self, keys: usize) -> Result<(), KvError> {
        take(&mut self.work, self.pacing.read_work + keys as u64)
    }

    /// Charges the memory of a pair in addition to its key and value, even if the pair is not returned.
    pub(super) fn hold(&mut self) -> Result<(), KvError> {
        take(&mut self.bytes, self.pacing.pair_bytes)
    }

    /// Charges the memory of a collected pair like [`Self::hold`]. Also charges this memory, the key and the value against the
    /// limit of [`Self::collecting`].
    pub(super) fn collect(&mut self, key_len: usize, value_len: usize) -> Result<(), KvError> {
        self.hold()?;
        let lengths = (key_len + value_len) as u64;
        take(&mut self.collected, self.pacing.pair_bytes + lengths)
    }

    /// Charges the key and the value of a returned pair, by their lengths.
    pub(super) fn return_pair(&mut self, key_len: usize, value_len: usize) -> Result<(), KvError> {
        take(&mut self.bytes, (key_len + value_len) as u64)
    }

    /// Fails if [`Self::return_pair`] would fail for pairs of `bytes` bytes together.
    pub(super) fn can_return(&self, bytes: u64) -> Result<(), KvError> {
        let mut left = self.bytes;
        take(&mut left, bytes)
    }

    /// Charges `bytes` bytes of compared values.
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

/// Converts to `usize`. Returns `usize::MAX` if the number is too large.
fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Subtracts `wanted` from `left`. Fails with `ResponseTooLarge` and changes nothing if `left` is too small.
fn take(left: &mut u64, wanted: u64) -> Result<(), KvError> {
    *left = left.checked_sub(wanted).ok_or(KvError::ResponseTooLarge)?;
    Ok(())
}
