//! The types of the replica that dialects receive from [`Node`](crate::Node) or pass to it. Dialects take them from here, so
//! that no dialect depends on the replica's crate, and the list shows all that a dialect can see of it.

pub use witan_replica::{
    lessor::{LeaseDeadlines, Renewal},
    replica::{Role, TransferRefused},
    watch::{
        keys::{PendingChanges, WatcherGroupId, WatcherGroups},
        range::{RangeEnd, WatchRange},
    },
};
