//! Every bound of the tree, one sentence each (I10).

/// Events of the v2 history that `waitIndex` can reach back to, store-wide, as etcd's.
pub const TREE_HISTORY_EVENTS: usize = 1000;

/// Number of later events for which a removed v2 directory is kept, to decide what existed in it.
/// etcd would have dropped a watcher that is further behind (its buffer is full); such a watcher is
/// served by the rule of history.
pub const TREE_REMOVED_EVENTS: u64 = 100;

/// Bytes of such a directory. A larger one is not kept, and every watcher below it is woken.
pub const TREE_REMOVED_BYTES: u64 = 1 << 20;

/// Components of a v2 path: deeper nodes are refused, since walking and dropping the tree takes
/// stack (a thread of 2 MiB overflowed at 1000; etcd takes what a 4 KiB request line holds).
pub const TREE_DEPTH_MAX: usize = 256;
