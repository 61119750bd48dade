//! The model of the linearizability check: a pair of keys as two registers, the calls on them, and the correct response to each
//! call in each state.

/// The values of a pair's two keys. 0 means that a key does not exist. No value is written twice.
pub type Pair = [u64; 2];

/// Index of one of the two keys of a pair.
pub type Slot = usize;

/// A client's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A linearizable read of one key.
    Get(Slot),
    /// A linearizable read of both keys at one revision.
    GetBoth,
    /// Writes a value.
    Put(Slot, u64),
    /// Deletes a key and returns whether it existed.
    Delete(Slot),
    /// Writes `new` if the key has the value `old` (0: does not exist); otherwise reads the key.
    Cas {
        /// The key.
        slot: Slot,
        /// The expected value.
        old: u64,
        /// The new value.
        new: u64,
    },
    /// Writes both keys if both have the expected values; otherwise reads both.
    CasBoth {
        /// The expected values.
        old: Pair,
        /// The new values.
        new: Pair,
    },
}

/// The content of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The value of one key.
    Value(u64),
    /// The values of both keys.
    Both(Pair),
    /// The write succeeded.
    Written,
    /// Whether the key existed.
    Deleted(bool),
}

impl Input {
    /// Returns whether the call can change the state.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get(_) | Self::GetBoth)
    }

    /// Returns the state of the pair after the call and the correct response.
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

/// A call of a client.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The number of the pair.
    pub pair: usize,
    /// The call.
    pub input: Input,
    /// Logical time before the call was sent.
    pub begun: u64,
    /// The response, or `None` if it is unknown whether the call took effect.
    pub told: Option<Told>,
}

impl Call {
    /// Returns the revision in the response.
    pub fn revision(&self) -> Option<i64> {
        self.told.map(|told| told.revision)
    }
}

/// A response and its time.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Logical time after the response arrived.
    pub ended: u64,
    /// The content of the response.
    pub output: Output,
    /// The revision in the response's header.
    pub revision: i64,
}
