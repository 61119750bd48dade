//! The replica's types that dialects get from [`Node`](crate::Node) or pass to it. No dialect depends on the replica's crate,
//! so this list shows all that dialects see of it.

pub use witan_replica::{
    lessor::{LeaseDeadlines, Renewal},
    replica::{Role, TransferRefused},
    watch::{
        keys::{PendingChanges, WatcherGroupId, WatcherGroups},
        range::{RangeEnd, WatchRange},
    },
};
