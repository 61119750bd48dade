//! The members of a cluster, as they report them.

use std::collections::{BTreeMap, BTreeSet};

use super::{MemberId, Ordinal};

/// The members' reports about their cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// The id of the cluster with this list.
    pub cluster_id: u64,
    /// The report of each pod about its cluster, which can be another one.
    pub reports: BTreeMap<Ordinal, ClusterReport>,
    /// Whether a quorum confirmed the list. If not, the cluster must not be changed.
    pub linearizable: bool,
    /// The leader according to the confirmed answer.
    pub leader: Option<MemberId>,
    /// Ordinals that this list lacks and another pod lists as members.
    pub listed_by_others: BTreeSet<Ordinal>,
    /// Ids of former members for which the alarm CORRUPT is raised.
    pub stale_corrupt: Vec<MemberId>,
    /// All members, also members that did not answer, in the order of their ids.
    pub members: Vec<MemberSeen>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberSeen {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty until it has started.
    pub name: String,
    /// The ordinal of its pod; `None` for a member outside this cluster's pods.
    pub ordinal: Option<Ordinal>,
    /// It is a pod of this cluster with peer URLs other than the pod's own.
    pub foreign_address: bool,
    /// URLs for other members.
    pub peer_urls: Vec<String>,
    /// It has announced client URLs, which it does once it serves.
    pub started: bool,
    /// It has no vote.
    pub learner: bool,
    /// It answered the operator: its process runs on its disk.
    pub answers: bool,
    /// It answered, knows a leader and has no alarm CORRUPT.
    pub healthy: bool,
    /// The version that it reported.
    pub version: Option<String>,
    /// The last index of its log that it has applied.
    pub raft_index: u64,
    /// Bytes of its key space.
    pub db_size: u64,
    /// Bytes that its state can take; `None` without a quota.
    pub quota: Option<u64>,
    /// The revision of its key space.
    pub revision: i64,
    /// The alarm CORRUPT is raised for it.
    pub corrupt: bool,
    /// The alarm NOSPACE is raised for it.
    pub no_space: bool,
}

/// A member's report about its cluster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClusterReport {
    /// The id of its cluster. If pods report different ids, their disks hold different data.
    pub cluster_id: u64,
    /// Members in its list.
    pub members: usize,
    /// Its list and the confirmed one were both confirmed by a quorum, and one of them lacks the other's leader: the cluster
    /// has two histories under one id.
    pub forked: bool,
    /// Its log and its key space had no more content than a new member's, and no quorum confirmed its read.
    pub blank: bool,
}

impl Membership {
    /// Returns whether a quorum confirmed the list and its leader.
    pub fn is_confirmed(&self) -> bool {
        self.linearizable && self.leader.is_some()
    }

    /// Iterates over the pods in another cluster than this one.
    pub fn of_other_clusters(&self) -> impl Iterator<Item = (Ordinal, &ClusterReport)> {
        let reports = self
            .reports
            .iter()
            .map(|(ordinal, report)| (*ordinal, report));
        reports.filter(|(_, report)| report.cluster_id != self.cluster_id)
    }

    /// Iterates over the pods that serve with another quorum.
    pub fn forked(&self) -> impl Iterator<Item = Ordinal> {
        let forked = self.reports.iter().filter(|(_, report)| report.forked);
        forked.map(|(ordinal, _)| *ordinal)
    }

    /// Iterates over the members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &MemberSeen> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Returns the member whose pod has this ordinal; `None` if there is none.
    pub fn of(&self, ordinal: Ordinal) -> Option<&MemberSeen> {
        let mut members = self.members.iter();
        members.find(|member| member.ordinal == Some(ordinal))
    }

    /// Returns the member with this id; `None` if there is none.
    pub fn by_id(&self, id: MemberId) -> Option<&MemberSeen> {
        self.members.iter().find(|member| member.id == id)
    }
}
