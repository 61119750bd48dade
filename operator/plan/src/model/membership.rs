//! The members of a cluster, as the members report them.

use std::collections::{BTreeMap, BTreeSet};

use super::{MemberId, Ordinal};

/// The member list of a cluster and each member's report about its cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// The id of the cluster that this list belongs to.
    pub cluster_id: u64,
    /// The report of each pod's member about its cluster. The member can be in a cluster other than `cluster_id`.
    pub reports: BTreeMap<Ordinal, ClusterReport>,
    /// Whether a quorum confirmed the list. If false, the cluster must not be changed.
    pub linearizable: bool,
    /// The leader, according to the member whose list was confirmed; `None` if no quorum confirmed the list.
    pub leader: Option<MemberId>,
    /// The cluster's feature level: the highest that a member reported, because members can lag behind; `None` if no member
    /// reported a level.
    pub level: Option<u32>,
    /// Ordinals that other pods list as members but this list does not.
    pub listed_by_others: BTreeSet<Ordinal>,
    /// Ids of removed members whose CORRUPT alarm is still raised. Does not contain the id in the fence of a cut-over.
    pub stale_corrupt: BTreeSet<MemberId>,
    /// Ids of removed members, or of members of the cluster that was backed up, whose NOSPACE alarm is raised. The operator
    /// does not disarm these alarms, because a cut-over raises one before the second alarm of its fence.
    pub foreign_no_space: BTreeSet<MemberId>,
    /// Whether the CORRUPT alarm with id 0 is raised: the members' data differs, and no majority agrees on one state.
    pub undecided: bool,
    /// All members, including silent members, in ascending order of their ids.
    pub members: Vec<MemberSeen>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberSeen {
    pub id: MemberId,
    /// The member's name; empty until the member has started.
    pub name: String,
    /// The ordinal of the member's pod; `None` if the member is not a pod of this cluster.
    pub ordinal: Option<Ordinal>,
    /// Whether the member is a pod of this cluster but its peer URLs do not name the pod.
    pub foreign_address: bool,
    pub peer_urls: Vec<String>,
    /// Whether the member has published its client URLs, which it does once it serves.
    pub started: bool,
    /// Whether the member has no vote.
    pub learner: bool,
    /// Whether the member answered the operator, which proves that its process runs on its disk.
    pub answers: bool,
    /// Whether the member answered, knows a leader and has no CORRUPT alarm.
    pub healthy: bool,
    /// The etcd version that the member reported.
    pub version: Option<String>,
    /// The release of Witan that the member reported.
    pub release: Option<String>,
    /// The feature level that the member supports.
    pub level: Option<u32>,
    /// The index of the last log entry that the member has applied.
    pub raft_index: u64,
    /// Size of the key space in bytes.
    pub db_size: u64,
    /// The storage quota in bytes; `None` if there is no quota.
    pub quota: Option<u64>,
    pub revision: i64,
    /// Whether the CORRUPT alarm is raised for the member.
    pub corrupt: bool,
    /// Whether the NOSPACE alarm is raised for the member.
    pub no_space: bool,
}

/// A member's report about its cluster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClusterReport {
    /// The id of the member's cluster. If pods report different ids, their disks hold different data.
    pub cluster_id: u64,
    /// Number of members in the reported list.
    pub members: usize,
    /// Whether this list and another list were confirmed by different quorums, so that the cluster has two histories.
    pub forked: bool,
    /// Whether the log and the key space are as empty as in a new member, and no quorum confirmed the member's read.
    pub blank: bool,
}

impl Membership {
    /// Returns whether a quorum confirmed the list and its leader.
    pub fn is_confirmed(&self) -> bool {
        self.linearizable && self.leader.is_some()
    }

    /// Iterates over the reports of pods in another cluster, with the pods' ordinals.
    pub fn of_other_clusters(&self) -> impl Iterator<Item = (Ordinal, &ClusterReport)> {
        let reports = self.reports.iter();
        let others = reports.filter(|(_, report)| report.cluster_id != self.cluster_id);
        others.map(|(ordinal, report)| (*ordinal, report))
    }

    /// Iterates over the ordinals of the pods that serve with another quorum.
    pub fn forked(&self) -> impl Iterator<Item = Ordinal> {
        let forked = self.reports.iter().filter(|(_, report)| report.forked);
        forked.map(|(ordinal, _)| *ordinal)
    }

    /// Iterates over the voters.
    pub fn voters(&self) -> impl Iterator<Item = &MemberSeen> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Returns the member whose pod has this ordinal, or `None` if no listed member has it.
    pub fn of(&self, ordinal: Ordinal) -> Option<&MemberSeen> {
        let mut members = self.members.iter();
        members.find(|member| member.ordinal == Some(ordinal))
    }

    /// Returns the member with this id, or `None` if the list does not contain it.
    pub fn by_id(&self, id: MemberId) -> Option<&MemberSeen> {
        self.members.iter().find(|member| member.id == id)
    }
}
