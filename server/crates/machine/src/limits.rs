//! Every bound of the state machine, one sentence each (I10).

/// Events of the v2 history that `waitIndex` can reach back to, store-wide, as etcd's.
pub const TREE_HISTORY_EVENTS: usize = 1000;

/// Number of later events for which a removed v2 directory is kept, to decide what existed in it.
/// etcd would have dropped a watcher that is further behind (its buffer is full); such a watcher is
/// served by the rule of history.
pub const TREE_REMOVED_EVENTS: u64 = 100;

/// Bytes of such a directory. A larger one is not kept, and every watcher below it is woken.
pub const TREE_REMOVED_BYTES_MAX: u64 = 1 << 20;

/// Alarms raised by clients for members that do not exist or of unknown types; more are ignored. An
/// alarm of a member is always raised.
pub const ALARMS_MAX: usize = 1024;

/// Bytes of the name of a user or a role, and of a password's hash that a client sends. etcd takes what
/// a request holds.
pub const AUTH_NAME_BYTES_MAX: usize = 4 << 10;

/// Bytes of each end of a permission's range, and of a pattern of v2.
pub const AUTH_KEY_BYTES_MAX: usize = 64 << 10;

/// Components of a v2 path: deeper nodes are refused, since walking and dropping the tree takes
/// stack (a thread of 2 MiB overflowed at 1000; etcd takes what a 4 KiB request line holds).
pub const TREE_DEPTH_MAX: usize = 256;

/// Keys that one command of the v3 key space may look at to answer or to compare, while all others wait
/// for some tenths of a second. Keys that it deletes do not count; deleted ones that it passes over and
/// keys that it only counts do, as a part of a key each.
pub const TXN_READ_KEYS_MAX: u64 = 1 << 18;

/// The same for a transaction that only reads, which no other waits for: what it answers is in memory.
/// In a larger store it may still read every key once.
pub const READ_TXN_KEYS_MAX: u64 = 1 << 19;

/// Bytes of pairs that one such command may answer.
pub const TXN_READ_BYTES_MAX: u64 = 256 << 20;

/// Bytes of pairs that a range may answer: the length of a gRPC message that etcd sends is an `int32`.
pub const RANGE_ANSWER_BYTES_MAX: u64 = i32::MAX as u64;

/// States from before the compactions of one round, kept until the watchers are notified. A round
/// with more compactions cancels watchers that have not read what the first one removed.
pub const STATES_BEFORE_COMPACTION_MAX: usize = 8;
