//! The model of the linearizability check: a pair of keys as two registers, the calls on them, and
//! the answer that each call must have in each state.
//!
//! What does *not* live here: the search for an order (`checker`), gRPC (`client`).

/// The values of a pair's two keys; 0 is a key that is not there. Every value is written once.
pub type Pair = [u64; 2];

/// One of the two keys of a pair.
pub type Slot = usize;

/// A call of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A linearizable read of one key.
    Get(Slot),
    /// A linearizable read of both keys at one revision.
    GetBoth,
    /// Writes a value.
    Put(Slot, u64),
    /// Removes a key; answers whether it was there.
    Delete(Slot),
    /// Writes `new` if the key holds `old` (0: is not there); else reads it.
    Cas {
        /// The key.
        slot: Slot,
        /// The value that it must hold.
        old: u64,
        /// The value that it holds afterwards.
        new: u64,
    },
    /// Writes both keys if both hold what is expected; else reads both.
    CasBoth {
        /// The values that they must hold.
        old: Pair,
        /// The values that they hold afterwards.
        new: Pair,
    },
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The value of one key.
    Value(u64),
    /// The values of both.
    Both(Pair),
    /// It is written.
    Written,
    /// Whether the key was there.
    Deleted(bool),
}

impl Input {
    /// Whether it can change anything.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get(_) | Self::GetBoth)
    }

    /// The state of the pair after the call, and the answer to it.
    pub fn step(self, state: Pair) -> (Pair, Output) {
        match self {
            Self::Get(slot) => (state, Output::Value(state[slot])),
            Self::GetBoth => (state, Output::Both(state)),
            Self::Put(slot, value) => (with(state, slot, value), Output::Written),
            Self::Delete(slot) => (with(state, slot, 0), Output::Deleted(state[slot] != 0)),
            Self::Cas { slot, old, new } if state[slot] == old => {
                (with(state, slot, new), Output::Written)
            }
            Self::Cas { slot, .. } => (state, Output::Value(state[slot])),
            Self::CasBoth { old, new } if state == old => (new, Output::Written),
            Self::CasBoth { .. } => (state, Output::Both(state)),
        }
    }
}

fn with(mut state: Pair, slot: Slot, value: u64) -> Pair {
    state[slot] = value;
    state
}

/// One call of one client.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which pair.
    pub pair: usize,
    /// The call.
    pub input: Input,
    /// Number of the moment before it was sent, on a counter that all clients share.
    pub begun: u64,
    /// The answer; `None` if nobody knows whether it was done.
    pub told: Option<Told>,
    /// Without an answer: the moment from which on it can have no effect any more, because the
    /// process that had it had ended by then.
    pub lost_by: u64,
}

impl Call {
    /// The revision that the answer names.
    pub fn revision(&self) -> Option<i64> {
        self.told.map(|told| told.revision)
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Number of the moment after it came.
    pub ended: u64,
    /// The content of the answer.
    pub output: Output,
    /// The revision in its header.
    pub revision: i64,
}
