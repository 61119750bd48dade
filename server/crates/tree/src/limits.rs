//! The bounds of the tree (I10).

/// Events in the v2 history, store-wide, as in etcd.
pub const TREE_HISTORY_EVENTS: usize = 1000;

/// Number of later events for which a removed v2 directory is kept, to decide what existed in it. etcd would have dropped a
/// watcher that is further behind, because its buffer is full; here, the rules of history serve it.
pub const TREE_REMOVED_EVENTS: u64 = 100;

/// Size limit of such a directory in bytes. A larger one is not kept, and every watcher below it is woken.
pub const TREE_REMOVED_BYTES: u64 = 1 << 20;

/// Components of a v2 path; deeper nodes are refused, because walking and dropping the tree takes stack. A
/// thread of 2 MiB overflowed at 1000. etcd accepts what a request line of 4 KiB holds.
pub const TREE_DEPTH_MAX: usize = 256;
