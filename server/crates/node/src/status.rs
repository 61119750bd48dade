//! A lock-free copy of the replica's status for all threads. Fields may come from two adjacent turns, so do not combine them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};

use witan_machine::{
    StateMachine,
    alarm::{Alarm, AlarmType},
    member::MemberId,
};
use witan_replica::replica::{Role, Status};

/// The auth state after the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthState {
    /// Whether callers must authenticate.
    pub enabled: bool,
    /// The auth revision.
    pub revision: u64,
}

#[derive(Debug, Default)]
pub(super) struct PublishedStatus {
    id: AtomicU64,
    leader: AtomicU64,
    pub(super) leader_since_ns: AtomicI64,
    term: AtomicU64,
    committed: AtomicU64,
    applied: AtomicU64,
    role: AtomicU8,
    /// Size of the v3 key space in bytes.
    pub(super) size_bytes: AtomicU64,
    pub(super) revision: AtomicI64,
    /// Size of the v2 tree and its history in bytes.
    pub(super) tree_bytes: AtomicU64,
    /// Size of users, roles and members in bytes.
    pub(super) auth_bytes: AtomicU64,
    /// Whether this member's NOSPACE alarm is active.
    pub(super) no_space: AtomicBool,
    /// Whether the NOSPACE alarm of any member is active.
    pub(super) any_no_space: AtomicBool,
    /// Whether this member's CORRUPT alarm is active.
    pub(super) corrupt: AtomicBool,
    /// Whether the leader's state must replace this member's checkpoint, because the scrub has found damage.
    pub(super) checkpoint_damaged: AtomicBool,
    /// Twice the auth revision, plus one while authentication is enabled.
    auth: AtomicU64,
    pub(super) v2_auth_enabled: AtomicBool,
    pub(super) learner: AtomicBool,
    pub(super) follows: AtomicBool,
}

impl PublishedStatus {
    /// Publishes the raft status and the Unix time in nanoseconds at which the leader was first seen.
    pub(super) fn store(&self, status: &Status, leader_since_ns: i64) {
        self.id.store(status.id.0, Relaxed);
        self.leader.store(status.leader.0, Relaxed);
        self.leader_since_ns.store(leader_since_ns, Relaxed);
        self.term.store(status.term, Relaxed);
        self.committed.store(status.committed, Relaxed);
        self.applied.store(status.applied, Relaxed);
        self.role.store(status.role as u8, Relaxed);
    }

    /// Publishes the state's sizes, revision, alarms and authentication. Returns whether users, roles or the use of
    /// authentication have changed.
    pub(super) fn store_state(&self, machine: &StateMachine, member_id: MemberId) -> bool {
        self.size_bytes.store(machine.kv.size_bytes(), Relaxed);
        self.revision.store(machine.kv.revision().0, Relaxed);
        let own = Alarm::new(member_id, AlarmType::NoSpace);
        self.tree_bytes.store(machine.tree.size_bytes(), Relaxed);
        let registered = machine.auth.size_bytes() + machine.members.size_bytes();
        self.auth_bytes.store(registered, Relaxed);
        let any = machine.alarms.any(AlarmType::NoSpace);
        self.any_no_space.store(any, Relaxed);
        self.no_space.store(machine.alarms.contains(own), Relaxed);
        let corrupt = Alarm::new(member_id, AlarmType::Corrupt);
        self.corrupt
            .store(machine.alarms.contains(corrupt), Relaxed);
        let auth = (machine.auth.revision() << 1) | u64::from(machine.auth.enabled());
        let auth_changed = self.auth.swap(auth, Relaxed) != auth;
        self.v2_auth_enabled
            .store(machine.auth.path_auth_enabled(), Relaxed);
        self.follows.store(machine.members.follows, Relaxed);
        let learner = machine.members.is_learner(member_id);
        self.learner.store(learner, Relaxed);
        auth_changed
    }

    pub(super) fn auth(&self) -> AuthState {
        let auth = self.auth.load(Relaxed);
        AuthState { enabled: auth & 1 == 1, revision: auth >> 1 }
    }

    /// Publishes that all entries up to `index` are committed and applied. The end of the turn publishes the other fields.
    pub(super) fn advance(&self, index: u64) {
        self.committed.fetch_max(index, Relaxed);
        self.applied.fetch_max(index, Relaxed);
    }

    /// Returns the published raft status. Its fields may come from two adjacent turns.
    pub(super) fn load(&self) -> Status {
        Status {
            id: MemberId(self.id.load(Relaxed)),
            leader: MemberId(self.leader.load(Relaxed)),
            term: self.term.load(Relaxed),
            committed: self.committed.load(Relaxed),
            applied: self.applied.load(Relaxed),
            role: Role::try_from(i32::from(self.role.load(Relaxed))).unwrap_or_default(),
        }
    }
}
