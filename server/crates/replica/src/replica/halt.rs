//! The reasons why a member must stop.

use witan_machine::levels::Level;

/// The reason why a member must stop. Its replica must not be used afterward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A committed entry has a command that this release does not support. The entry was not applied.
    #[error(
        "entry {index} of the raft log contains a command that this release does not know; \
         start the release that wrote it"
    )]
    UnknownCommand {
        /// Raft index of the entry.
        index: u64,
    },
    /// The cluster's feature level is above the level of this release. A committed entry or the leader's state shows the level,
    /// and this member has applied neither. Alternatively, most other members reject this member.
    #[error(
        "the cluster has feature level {level}, but this release has feature level {own}; start a release with feature \
         level {level}"
    )]
    LaterLevel {
        /// Feature level of the cluster.
        level: Level,
        /// Feature level of this release.
        own: Level,
    },
    /// A committed entry cannot be decoded. The entry was not applied.
    #[error("entry {index} of the raft log cannot be decoded")]
    CorruptEntry {
        /// Raft index of the entry.
        index: u64,
    },
    /// The member was removed from the cluster.
    #[error("this member was removed from the cluster")]
    Removed,
    /// The cluster has registered another data directory for this member.
    #[error(
        "the cluster knows this member with another data directory: the directory of this process was emptied, or another \
         copy has replaced it. Remove the member and add it again under a new identity"
    )]
    Replaced,
    /// The leader counts acknowledgments from this member for entries that this log lacks.
    #[error(
        "this member has acknowledged entry {committed}, but its log ends at {last}: its data \
         directory was emptied or replaced. Remove the member and add it again under a new identity"
    )]
    LogLost {
        /// The commit index that the leader sent.
        committed: u64,
        /// Index of the last entry in the log.
        last: u64,
    },
    /// An entry that this member has committed differs from the entry in the leader's log.
    #[error(
        "the history has forked: entry {index} of term {own_term} in the log of this member differs from entry {index} of \
         term {leader_term} in the log of the leader. A member runs on an older copy of its data, or two clusters have \
         the same ids. Keep this data directory, determine which history is correct, and add the members without it again \
         under new identities"
    )]
    Forked {
        /// Raft index of the entry.
        index: u64,
        /// Term of the entry in this member's log. If the log no longer has the entry, the term of the first known entry.
        own_term: u64,
        /// Term of the entry in the leader's log.
        leader_term: u64,
    },
    /// The leader started from a different state than this member, and one of them was restored from a snapshot.
    #[error(
        "this member and the leader started from different states: the members were restored from different snapshots, or \
         some of them started without data. Nothing was changed. Restore all members from the same snapshot"
    )]
    OtherState,
}
