//! The limits of the state machine (I10).

/// Alarms that clients raise for unknown members or of unknown types; more are ignored. An alarm of a member is
/// always raised.
pub const ALARMS_MAX: usize = 1024;

/// Bytes of the name of a user or a role, and of a password's hash that a client sends; longer ones are
/// refused. etcd accepts what a request holds.
pub const AUTH_NAME_BYTES_MAX: usize = 4 << 10;

/// Bytes of each end of a permission's range, of a v2 pattern, and of a member's peer URLs together; longer
/// ones are refused.
pub const LONG_TEXT_BYTES_MAX: usize = 64 << 10;

/// Keys that one command reads or compares while it is applied; beyond them it is refused. Others wait for it for
/// some tenths of a second. A deleted key that it passes over counts as a part of a key, and so does a key that it
/// only counts. Keys that it deletes do not count.
pub const TXN_READ_KEYS_MAX: u64 = 1 << 18;

/// Keys that a transaction without writes reads; beyond them it is refused, unless it reads every key once.
/// Other commands do not wait for it; the bound limits the memory of its answer.
pub const READ_TXN_KEYS_MAX: u64 = 1 << 19;

/// Bytes of pairs that one command returns; beyond them it is refused.
pub const TXN_READ_BYTES_MAX: u64 = 256 << 20;

/// Bytes of pairs that a range returns; beyond them it is refused. The length of a gRPC message that etcd sends
/// is an `int32`.
pub const RANGE_ANSWER_BYTES_MAX: u64 = i32::MAX as u64;

/// States from before the compactions of one round, until watchers are notified; beyond them, watchers that have
/// not read what the first one removed are canceled.
pub const STATES_BEFORE_COMPACTION_MAX: usize = 8;
