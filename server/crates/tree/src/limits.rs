//! The limits of the tree (I10).

/// Number of indexes, with or without an event, that the v2 history of the entire store covers. etcd's history has the same
/// length.
pub const TREE_HISTORY_EVENTS: usize = 1000;

/// Number of later indexes for which a removed directory is kept, because its paths decide which watchers see the removal. etcd
/// drops a watcher that lags further behind. Here, such a watcher sees the removal of every directory above its path.
pub const TREE_REMOVED_EVENTS: u64 = 100;

/// Maximum size of a kept directory in bytes. A larger directory is not kept, and every watcher below it is woken.
pub const TREE_REMOVED_BYTES: u64 = 1 << 20;

/// Maximum number of components in a v2 path; deeper nodes are refused, because walking and dropping the tree use the stack. A
/// thread with 2 MiB of stack overflowed at 1000 components. etcd accepts all paths that fit into a request line of 4 KiB.
pub const TREE_DEPTH_MAX: usize = 256;
