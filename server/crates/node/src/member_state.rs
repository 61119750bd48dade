//! The facts that a node knows of its member without asking the replica's thread: the state after the last turn, the disk and the
//! process.

use std::{collections::BTreeSet, sync::atomic::Ordering::Relaxed};

use witan_machine::{
    alarm::{Alarm, AlarmType},
    view::View,
};
use witan_replica::replica::Status;
use witan_storage::SpaceStatus;

use super::{AuthState, Node, ProcessIdentity, Tokens};

impl Node {
    /// Returns the published status of raft, without waiting.
    pub fn status(&self) -> Status {
        self.shared.status.load()
    }

    /// Returns the bytes of the v3 key space after the last turn.
    pub fn size_bytes(&self) -> u64 {
        self.shared.status.size_bytes.load(Relaxed)
    }

    /// Returns the bytes of the v2 tree and its history after the last turn.
    pub fn tree_bytes(&self) -> u64 {
        self.shared.status.tree_bytes.load(Relaxed)
    }

    /// Returns the bytes of users, roles, their permissions and members after the last turn.
    pub fn auth_bytes(&self) -> u64 {
        self.shared.status.auth_bytes.load(Relaxed)
    }

    /// Returns the bytes of everything that counts against the quota.
    pub fn quota_used_bytes(&self) -> u64 {
        self.size_bytes() + self.tree_bytes() + self.auth_bytes()
    }

    /// Returns how many bytes may count against the quota; `None` for any number.
    pub fn quota_bytes(&self) -> Option<u64> {
        self.shared.quota_bytes
    }

    /// Returns the last measurement of the disk.
    pub fn disk(&self) -> &SpaceStatus {
        &self.shared.disk
    }

    /// Returns the alarms of a view, all or of one kind, with NOSPACE of this member while its disk is low:
    /// that alarm is not part of the state.
    pub fn alarms(&self, view: &View, kind: Option<i32>) -> impl Iterator<Item = Alarm> {
        let own = Alarm::new(self.identity().member_id, AlarmType::NoSpace);
        let wanted = kind.is_none_or(|kind| own.kind == kind);
        let mut alarms: BTreeSet<Alarm> = view.machine.alarms.list(kind).collect();
        if wanted && self.disk().is_low() {
            alarms.insert(own);
        }
        alarms.into_iter()
    }

    /// Whether this member does not vote.
    pub fn is_learner(&self, view: &View) -> bool {
        let own = self.identity().member_id;
        view.machine.members.is_learner(own)
    }

    /// Whether this member's own alarm about its quota stood after the last turn.
    pub fn no_space(&self) -> bool {
        self.shared.status.no_space.load(Relaxed)
    }

    /// Whether v3's authentication is on, after the last turn.
    pub fn auth_enabled(&self) -> bool {
        self.shared.status.auth().enabled
    }

    /// Whether v2's authentication is on, after the last turn.
    pub fn v2_auth_enabled(&self) -> bool {
        self.shared.status.paths.load(Relaxed)
    }

    /// Whether v2's or v3's authentication is on, so that administrators must authenticate: the users are
    /// shared.
    pub fn any_auth_enabled(&self) -> bool {
        self.auth_enabled() || self.v2_auth_enabled()
    }

    /// Returns whether v3's authentication is on, and the auth revision, after the last turn.
    pub fn auth(&self) -> AuthState {
        self.shared.status.auth()
    }

    /// Returns the simple tokens of this member.
    pub fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    /// Returns the ids, the name and the start time of this process.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.shared.identity
    }

    /// Returns when the present leader was first seen, in Unix nanoseconds; 0 without a leader.
    pub fn leader_since_ns(&self) -> i64 {
        self.shared.status.leader_since_ns.load(Relaxed)
    }

    /// Returns the revision of the v3 key space after the last turn.
    pub fn revision(&self) -> i64 {
        self.shared.status.revision.load(Relaxed)
    }

    /// Returns the number of registered v2 watchers.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.len()
    }
}
