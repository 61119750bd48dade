//! Facts about this member that need no request to the replica's thread: its state, disk, memory and process.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use witan_machine::{
    alarm::{Alarm, AlarmType},
    revision::Revision,
    view::View,
};
use witan_replica::replica::Status;
use witan_storage::SpaceStatus;

use super::{AuthState, MemoryBudget, Node, ProcessIdentity, Tokens};

/// The resource that a member lacks while it refuses commands that add data. The member then reports a NOSPACE alarm that is
/// not part of the replicated state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Free space on the disk.
    Disk,
    /// Memory within the budget.
    Memory,
}

impl Node {
    /// Returns the published raft status without waiting.
    pub fn status(&self) -> Status {
        self.shared.status.load()
    }

    /// Returns the size of the v3 key space after the last turn, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.shared.status.size_bytes.load(Relaxed)
    }

    /// Returns the size in bytes that is charged against the quota: v3 keys, the v2 tree, users, roles and members.
    pub fn quota_used_bytes(&self) -> u64 {
        let status = &self.shared.status;
        let others = status.tree_bytes.load(Relaxed) + status.auth_bytes.load(Relaxed);
        self.size_bytes() + others
    }

    /// Returns the quota in bytes, or `None` if the quota is unlimited.
    pub fn quota_bytes(&self) -> Option<u64> {
        self.shared.quota_bytes
    }

    /// Returns the last measurement of the disk.
    pub fn disk(&self) -> &SpaceStatus {
        &self.shared.disk
    }

    /// Returns the memory budget with the last measurement.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.shared.memory
    }

    /// Returns what this member lacks, or `None` if this member accepts commands that add data. A shortage of disk space has
    /// priority.
    pub fn shortage(&self) -> Option<Shortage> {
        if self.disk().is_low() {
            Some(Shortage::Disk)
        } else if self.memory().refuses_growth() {
            Some(Shortage::Memory)
        } else {
            None
        }
    }

    /// Returns a view's alarms of one kind, or all for `None`. Adds this member's NOSPACE alarm during a [`Shortage`].
    pub fn alarms(&self, view: &View, kind: Option<i32>) -> impl Iterator<Item = Alarm> {
        let own = Alarm::new(self.identity().member_id, AlarmType::NoSpace);
        let wanted = kind.is_none_or(|kind| own.kind == kind);
        let mut alarms: BTreeSet<Alarm> = view.machine.alarms.list(kind).collect();
        if wanted && self.shortage().is_some() {
            alarms.insert(own);
        }
        alarms.into_iter()
    }

    /// Returns whether this member is a learner in the state `view`.
    pub fn is_learner(&self, view: &View) -> bool {
        let own = self.identity().member_id;
        view.machine.members.is_learner(own)
    }

    /// Returns whether this member's NOSPACE alarm was active after the last turn.
    pub fn no_space(&self) -> bool {
        self.shared.status.no_space.load(Relaxed)
    }

    /// Returns whether v3 authentication was enabled after the last turn.
    pub fn auth_enabled(&self) -> bool {
        self.shared.status.auth().enabled
    }

    /// Returns whether v2 authentication was enabled after the last turn.
    pub fn v2_auth_enabled(&self) -> bool {
        self.shared.status.v2_auth_enabled.load(Relaxed)
    }

    /// Returns whether v2 or v3 authentication is enabled. v2 and v3 share the users, so administrators must then authenticate.
    pub fn any_auth_enabled(&self) -> bool {
        self.auth_enabled() || self.v2_auth_enabled()
    }

    /// Returns whether v3 authentication is enabled, and the auth revision, after the last turn.
    pub fn auth(&self) -> AuthState {
        self.shared.status.auth()
    }

    /// Returns this member's simple tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    /// Returns the identity of this process.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.shared.identity
    }

    /// Returns the Unix time in nanoseconds at which the current leader was first seen, or 0 if there is no leader.
    pub fn leader_since_ns(&self) -> i64 {
        self.shared.status.leader_since_ns.load(Relaxed)
    }

    /// Returns the revision of the v3 key space after the last turn.
    pub fn revision(&self) -> Revision {
        Revision(self.shared.status.revision.load(Relaxed))
    }

    /// Returns the number of registered v2 watchers.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.len()
    }
}
