//! The limits of the state machine (I10).

/// Alarms that clients raise for unknown members or with unknown types; further alarms are ignored. A member's own alarm is
/// always raised.
pub const ALARMS_MAX: usize = 1024;

/// Size in bytes of a user's or role's name, and of a password hash that a client sends; longer values are refused. etcd
/// accepts any value that fits into a request.
pub const AUTH_NAME_BYTES_MAX: usize = 4 << 10;

/// Size in bytes of each end of a permission's range, of a v2 pattern, and of all peer URLs of a member; longer values are
/// refused.
pub const LONG_TEXT_BYTES_MAX: usize = 64 << 10;

/// Maximum number of keys that a command may read or compare while it is applied; a command above the limit is refused. Other
/// commands wait some tenths of a second for a command at the limit. A deleted key that is skipped, and a key that is only
/// counted, cost a fraction of a key. Keys to delete cost nothing.
pub const TXN_READ_KEYS_MAX: u64 = 1 << 18;

/// Keys that a read-only transaction reads; beyond this, it is refused, unless it reads every key once. Other commands do not
/// wait for it; the limit bounds the memory of its answer.
pub const READ_TXN_KEYS_MAX: u64 = 1 << 19;

/// Size in bytes of the pairs that one command returns; beyond this, it is refused.
pub const TXN_READ_BYTES_MAX: u64 = 256 << 20;

/// Size in bytes of the pairs that a range returns; beyond this, it is refused. The length of a gRPC message that etcd sends
/// is an `int32`.
pub const RANGE_ANSWER_BYTES_MAX: u64 = i32::MAX as u64;

/// States from before the compactions of one round, kept until watchers are notified; beyond this, watchers that have not
/// read the changes removed by the first compaction are canceled.
pub const STATES_BEFORE_COMPACTION_MAX: usize = 8;
