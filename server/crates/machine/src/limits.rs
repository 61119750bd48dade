//! Every bound of the state machine, one sentence each (I10).

/// Alarms raised by clients for members that do not exist or of unknown types; more are ignored. An
/// alarm of a member is always raised.
pub const ALARMS_MAX: usize = 1024;

/// Bytes of the name of a user or a role, and of a password's hash that a client sends. etcd takes what
/// a request holds.
pub const AUTH_NAME_BYTES_MAX: usize = 4 << 10;

/// Bytes of each end of a permission's range, of a pattern of v2, and of a member's peer URLs together.
pub const LONG_TEXT_BYTES_MAX: usize = 64 << 10;

/// Keys that one command of the v3 key space may look at to answer or to compare, while all others wait
/// for some tenths of a second. Keys that it deletes do not count; deleted ones that it passes over and
/// keys that it only counts do, as a part of a key each.
pub const TXN_READ_KEYS_MAX: u64 = 1 << 18;

/// Keys that a transaction without writes may look at. Other commands do not wait for it; the bound limits the memory
/// of its answer. In a store with more keys, it may still read every key once.
pub const READ_TXN_KEYS_MAX: u64 = 1 << 19;

/// Bytes of pairs that one such command may answer.
pub const TXN_READ_BYTES_MAX: u64 = 256 << 20;

/// Bytes of pairs that a range may answer: the length of a gRPC message that etcd sends is an `int32`.
pub const RANGE_ANSWER_BYTES_MAX: u64 = i32::MAX as u64;

/// States from before the compactions of one round, kept until the watchers are notified. A round
/// with more compactions cancels watchers that have not read what the first one removed.
pub const STATES_BEFORE_COMPACTION_MAX: usize = 8;
