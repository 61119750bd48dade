//! What one command may read while it is applied, and whether its answers are built.
//!
//! The limits are part of the state machine: a command beyond them is refused on every member, at the
//! same operation, with no change. What a verb reads does not live here.

use super::{Error, KeyValue};
use crate::limits::{
    RANGE_ANSWER_BYTES_MAX, READ_TXN_KEYS_MAX, TXN_READ_BYTES_MAX, TXN_READ_KEYS_MAX,
};

/// Bytes that a pair takes in an answer beside its key and value.
const PAIR_BYTES: u64 = 64;

/// Keys that are counted at the cost of one that is read: counting goes by whole pages.
const COUNTED_PER_READ: u64 = 64;

/// Whether what a command reads is returned. Nobody waits for the entries that a start replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Build them.
    Build,
    /// Leave pairs out of the reply. The state after the command is the same.
    Omit,
}

/// What is left to read.
#[derive(Clone, Debug)]
pub(super) struct ReadBudget {
    keys: u64,
    bytes: u64,
    bounded: bool,
    answers: Answers,
}

impl ReadBudget {
    /// Of a command. One that is not `bounded` was logged by a release without limits: it is executed
    /// as that release did.
    pub(super) fn of_command(bounded: bool, answers: Answers) -> Self {
        let limit = |max: u64| if bounded { max } else { u64::MAX };
        Self {
            keys: limit(TXN_READ_KEYS_MAX),
            bytes: limit(TXN_READ_BYTES_MAX),
            bounded,
            answers,
        }
    }

    /// Of a range outside of a transaction, which holds up no write.
    pub(super) fn of_range() -> Self {
        Self {
            keys: u64::MAX,
            bytes: RANGE_ANSWER_BYTES_MAX,
            bounded: true,
            answers: Answers::Build,
        }
    }

    /// Of a transaction that only reads.
    pub(super) fn of_read_txn() -> Self {
        Self {
            keys: READ_TXN_KEYS_MAX,
            ..Self::of_range()
        }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Whether pairs are read only to be dropped: nothing depends on them.
    pub(super) fn is_idle(&self) -> bool {
        !self.bounded && self.answers == Answers::Omit
    }

    /// One key is looked at.
    pub(super) fn key(&mut self) -> Result<(), Error> {
        take(&mut self.keys, 1)
    }

    /// Keys are counted.
    pub(super) fn count(&mut self, keys: u64) -> Result<(), Error> {
        take(&mut self.keys, 1 + keys / COUNTED_PER_READ)
    }

    /// A pair becomes part of the answer.
    pub(super) fn pair(&mut self, kv: &KeyValue) -> Result<(), Error> {
        take(
            &mut self.bytes,
            PAIR_BYTES + (kv.key.len() + kv.value.len()) as u64,
        )
    }

    /// What the reply holds of what was read.
    pub(super) fn answer<T: Default>(&self, read: T) -> T {
        match self.answers {
            Answers::Build => read,
            Answers::Omit => T::default(),
        }
    }
}

fn take(left: &mut u64, wanted: u64) -> Result<(), Error> {
    *left = left.checked_sub(wanted).ok_or(Error::AnswerTooLarge)?;
    Ok(())
}
