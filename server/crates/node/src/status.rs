//! Facts about this member that need no request to the replica's thread: its state, disk, memory and process. After each turn,
//! the thread publishes its status as a lock-free copy. It publishes the state itself if a read has requested it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use witan_base::sync::Mutex;
use witan_machine::{
    StateMachine,
    alarm::{Alarm, AlarmType},
    member::MemberId,
    revision::Revision,
    view::View,
};
use witan_replica::replica::{Role, Status};
use witan_storage::SpaceStatus;

use super::{MemoryBudget, Node, ProcessIdentity, Tokens};

/// The auth state after the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthState {
    /// Whether callers must authenticate.
    pub enabled: bool,
    /// The auth revision.
    pub revision: u64,
}

/// The status after the last turn. Fields may come from two adjacent turns, so do not combine them.
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

    /// Publishes the state's sizes, revision, alarms and authentication, and whether this member is a learner or its cluster
    /// follows a source. Returns whether the auth revision or the use of v3 authentication differs from the published values.
    /// Ignores the use of v2 authentication and changes to the path patterns of an existing role.
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

    /// Returns whether v3 authentication is enabled, and the auth revision, after the last turn.
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

/// The published state after the last turn, and whether it is linearizable. No state is published until a read requests it, so
/// that a write-only load does not copy data.
///
/// Only the replica's thread publishes a state, and it withdraws the state before any client can learn of a later state. A
/// client that has received the answer to a write therefore never reads an older state. If this member is the only voter, the
/// published state is linearizable.
#[derive(Debug, Default)]
pub(super) struct LatestView(Mutex<Option<(Arc<View>, bool)>>);

impl LatestView {
    /// Returns the published state, or `None` if no read has requested a state since the last turn.
    pub(super) fn get(&self) -> Option<Arc<View>> {
        let latest = self.0.lock();
        latest.as_ref().map(|(view, _)| view.clone())
    }

    /// Returns the published state if it is linearizable, otherwise `None`.
    pub(super) fn linearizable(&self) -> Option<Arc<View>> {
        let latest = self.0.lock();
        let (view, is_linearizable) = latest.as_ref()?;
        is_linearizable.then(|| view.clone())
    }

    /// Publishes a state, and whether reads of it are linearizable. Only the replica's thread calls this, between turns.
    pub(super) fn publish(&self, view: Arc<View>, linearizable: bool) {
        *self.0.lock() = Some((view, linearizable));
    }

    /// Withdraws the published state. The replica's thread calls this before it changes its state.
    pub(super) fn clear(&self) {
        let taken = self.0.lock().take();
        // Drop the view after the unlock, because it can hold the last reference to a large amount of memory.
        drop(taken);
    }
}

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

    /// Returns a view's alarms of one kind (a number of [`AlarmType`]), or all alarms for `None`. Adds this member's NOSPACE
    /// alarm during a [`Shortage`].
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

    /// Returns the auth revision after the last turn, and whether v3 authentication is enabled.
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
