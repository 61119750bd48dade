//! Known bugs, which the simulator switches on to show that it finds them. Without the feature
//! `known-bugs` a replica has no switch, and none is ever on.

use raft::eraftpb::{ConfChange, Entry as RaftEntry};
#[cfg(feature = "known-bugs")]
use raft::eraftpb::{ConfChangeType, EntryType};

#[cfg(feature = "known-bugs")]
use crate::machine::versions::Release;
use crate::machine::{StateMachine, command::Entry};

/// A known bug. Each breaks one rule of this crate on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedBug {
    /// Entries are applied and answered before `persist`.
    AckBeforePersist,
    /// Reads are released at once, without a ReadIndex round.
    StaleRead,
    /// A vote is not part of what is persisted.
    VoteNotPersisted,
    /// Reads that raft dropped are not issued again.
    LostReadRetry,
    /// `Replica::durable` allows a cut above the checkpoint.
    CutTooHigh,
    /// The state is released to the checkpoint with a position beyond what it holds.
    PositionAhead,
    /// A keep-alive is answered and its lease ends all the same.
    RenewalLost,
    /// A proposal is proposed again as soon as there is another term, before it is known that the first copy was lost.
    ProposedTwice,
    /// A leader appends the proposals of a message again when it comes again.
    TakenTwice,
    /// A member that leads no more goes on to count leases, and has the next leader end them (etcd 15247).
    OldLeaderExpires,
    /// A keep-alive leaves the recorded remaining time of the lease as it is (etcd 9924 clears it).
    RenewalUnrecorded,
    /// A removed member still counts in raft's configuration.
    RemovedCounts,
    /// A change of membership counts as soon as it is in the log, committed or not.
    ChangeUncommitted,
    /// The configuration of a received snapshot is not kept (etcd 2267).
    SnapshotMembers,
    /// Users, roles and permissions stay as they were when a snapshot is received (etcd 13883).
    SnapshotUsers,
    /// A command is executed although users or roles have changed since its caller was authenticated.
    StaleCaller,
    /// A command of a later release is proposed whatever the cluster version is.
    CommandTooEarly,
    /// A command of a later release is proposed while a change of the cluster version is in the log and not
    /// applied.
    VersionUnapplied,
    /// New peer URLs make a voter of a learner in the registry (etcd 21694).
    UpdatePromotes,
    /// A commit index that covers a change of membership is not synced.
    ChangeNotSynced,
    /// A leader takes its own removal although only one voter would be left.
    LeaderLeavesOne,
    /// A checkpoint names the entry before the last one that it holds, which is executed twice after a
    /// restart (etcd 13766).
    PositionBehind,
    /// A follower that took its leader for gone by mistake goes on to ignore it.
    LeaderIgnored,
    /// A question about a lease is answered from a state before the index that its ReadIndex round names.
    LeaseStateBehind,
    /// A lease is kept alive while a note of its remaining time is in the log and not applied.
    NoteOnItsWay,
    /// A member that is to replace its state asks one leader for it, once.
    RebuildAskedOnce,
    /// What a compaction removes is gone before the watchers have read it.
    WatchCompacted,
    /// A member that goes on alone drops the entries that it does not know to be committed, as etcd does.
    ForcedWithoutTail,
    /// A member that goes on alone drops a change of membership that it does not know to be committed, and what
    /// follows it.
    ForcedUpToChange,
    /// A member that goes on alone keeps its own removal, though it does not know that to be committed.
    ForcedWithRemoval,
}

/// The switch of one replica.
#[derive(Default)]
pub(crate) struct Faults {
    #[cfg(feature = "known-bugs")]
    on: Option<InjectedBug>,
    /// The state before this turn.
    #[cfg(feature = "known-bugs")]
    behind: Option<StateMachine>,
    /// The release that this member pretends to be.
    #[cfg(feature = "known-bugs")]
    release: Option<Release>,
}

#[cfg(not(feature = "known-bugs"))]
const _: () = assert!(size_of::<Faults>() == 0, "nothing can be switched on");

#[cfg(feature = "known-bugs")]
impl Faults {
    pub(crate) fn plant(&mut self, fault: InjectedBug) {
        self.on = Some(fault);
    }

    pub(crate) fn pretend(&mut self, release: Release) {
        self.release = Some(release);
    }

    /// Whether the release that this member pretends to be does not know the command.
    pub(crate) fn is_unknown(&self, entry: &Entry) -> bool {
        let since = entry.command.as_ref().and_then(|command| command.since());
        self.release.is_some_and(|release| since > Some(release))
    }

    pub(crate) fn has(&self, fault: InjectedBug) -> bool {
        self.on == Some(fault)
    }

    /// Whether raft ignores a change of its configuration, by the injected bugs `ChangeUncommitted` (any
    /// change) and `RemovedCounts` (a removal).
    pub(crate) fn skips(&self, change: &ConfChange) -> bool {
        let removes = change.get_change_type() == ConfChangeType::RemoveNode;
        self.has(InjectedBug::ChangeUncommitted) || removes && self.has(InjectedBug::RemovedCounts)
    }

    /// Whether a member that goes on alone drops an entry that it does not know to be committed, and what follows it.
    pub(crate) fn forgets(&self, entry: &RaftEntry) -> bool {
        let changes = entry.get_entry_type() == EntryType::EntryConfChange;
        self.has(InjectedBug::ForcedWithoutTail)
            || changes && self.has(InjectedBug::ForcedUpToChange)
    }

    /// The state that a checkpoint gets instead of the present one; `None` unless `PositionAhead` is on.
    pub(crate) fn behind(&self) -> Option<&StateMachine> {
        self.behind.as_ref()
    }

    /// Copies the state before a round of raft for [`Self::behind`], if `PositionAhead` is on.
    pub(crate) fn turn_begins(&mut self, machine: &StateMachine) {
        if self.has(InjectedBug::PositionAhead) {
            self.behind = Some(machine.clone());
        }
    }
}

#[cfg(not(feature = "known-bugs"))]
impl Faults {
    pub(crate) fn is_unknown(&self, _: &Entry) -> bool {
        false
    }

    pub(crate) fn has(&self, _: InjectedBug) -> bool {
        false
    }

    pub(crate) fn skips(&self, _: &ConfChange) -> bool {
        false
    }

    pub(crate) fn forgets(&self, _: &RaftEntry) -> bool {
        false
    }

    pub(crate) fn behind(&self) -> Option<&StateMachine> {
        None
    }

    pub(crate) fn turn_begins(&self, _: &StateMachine) {}
}
