//! The limits of the state machine (I10) that do not affect the result of `apply`. `pacing` defines the limits that affect the
//! result.

/// Maximum size in bytes of the name of a user or role, and of a password hash; longer values are refused. etcd accepts any
/// value that fits into a request.
pub const AUTH_NAME_BYTES_MAX: usize = 4 << 10;

/// Maximum size in bytes of an end of a permission's range, a v2 pattern, or all peer URLs of a member; longer values are
/// refused.
pub const LONG_TEXT_BYTES_MAX: usize = 64 << 10;

/// Maximum number of keys that a read-only transaction reads; when it is exceeded, the transaction is refused unless it reads
/// every key once. Other commands do not wait for the transaction; the limit bounds the memory of its response.
pub const READ_TXN_KEYS_MAX: u64 = 1 << 19;

/// Maximum size in bytes of the pairs that a range returns; when it is exceeded, the range is refused. etcd's gRPC messages
/// have the same limit.
pub const RANGE_ANSWER_BYTES_MAX: u64 = i32::MAX as u64;

/// Maximum number of states that are saved before compactions until watchers are notified; when it is exceeded, watchers that
/// have not read the changes removed by the first compaction are canceled.
pub const STATES_BEFORE_COMPACTION_MAX: usize = 8;
