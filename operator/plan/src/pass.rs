//! Facts that the checks share: the arguments of `plan`, and the state of a cluster with a quorum.

use std::time::Duration;

use witan_crd::{EtcdClusterSpec, EtcdClusterStatus, MemberStatus, Storage, quorum};
use witan_machine::levels::Level;

use super::releases::{ReleaseVersion, level_of};
use crate::model::{
    ClaimSeen, MemberId, MemberSeen, Membership, Observed, Ordinal, Part, PeerTls, PodSeen, Step,
    Stop, UnixSeconds, Why,
};

/// Time to wait for the user to act or for an object to change.
pub const IDLE: Duration = Duration::from_secs(60);

/// Time to wait for a state that changes without a step.
pub const SOON: Duration = Duration::from_secs(2);

/// Maximum time in seconds for which an election keeps a pod unready. A pod that is unready for longer is stuck.
pub(super) const STUCK_SECONDS: i64 = 15;

/// Returns a wait until the user acts or an object changes, for at most [`IDLE`].
pub(super) fn idle(why: Why) -> Step {
    Step::Wait { why, after: IDLE }
}

/// Returns a wait for a state that changes without a step, for at most [`SOON`].
pub(super) fn soon(why: Why) -> Step {
    Step::Wait { why, after: SOON }
}

/// The arguments of `plan`.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) spec: &'a EtcdClusterSpec,
    pub(super) status: &'a EtcdClusterStatus,
    pub(super) seen: &'a Observed,
}

/// A cluster with a quorum, which confirmed `list`.
pub(super) struct Joined<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) list: &'a Membership,
    pub(super) leader: &'a MemberSeen,
}

impl<'a> Pass<'a> {
    pub(super) fn pod(&self, ordinal: Ordinal) -> Option<&'a PodSeen> {
        self.seen.pod(ordinal)
    }

    pub(super) fn claim(&self, ordinal: Ordinal) -> Option<&'a ClaimSeen> {
        self.seen.claim(ordinal)
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = (Ordinal, &'a PodSeen)> + use<'a> {
        self.seen.pods()
    }

    /// Returns a wait while the name of a part for which `of` returns true is taken. The wait names only the first such part,
    /// and is short if the other object will be deleted with an earlier cluster.
    pub(super) fn wait_for_names(&self, of: impl Fn(Part) -> bool) -> Option<Step> {
        let mut taken = self.seen.taken.iter().filter(|(part, _)| of(**part));
        let (part, holder) = taken.next()?;
        let wait = if holder.ending { soon } else { idle };
        Some(wait(Why::NameTaken(*part)))
    }

    /// Returns a wait while the name of an ordinal's pod or claim is taken.
    pub(super) fn wait_for_names_of(&self, ordinal: Ordinal) -> Option<Step> {
        self.wait_for_names(|part| part == Part::Pod(ordinal) || part == Part::Claim(ordinal))
    }

    /// Returns whether the step was refused recently and must wait.
    pub(super) fn is_refused(&self, step: &Step) -> bool {
        let mut refused = self.seen.refused.iter();
        refused.any(|refusal| refusal.held && refusal.step == *step)
    }

    /// Returns whether an annotation stops the member of an ordinal.
    pub(super) fn is_fenced(&self, ordinal: Ordinal) -> bool {
        self.seen.fenced.contains(&ordinal)
    }

    /// Returns whether a quorum has ever served. If so, the cluster is never bootstrapped again. The cluster id in the status
    /// and [`Pass::joined`] come only from a list that a quorum confirmed.
    pub(super) fn has_served(&self) -> bool {
        self.status.cluster_id.is_some() || self.joined().is_some()
    }

    /// Returns whether an ordinal has a claim from which its member can start; `false` without durable storage.
    pub(super) fn has_disk(&self, ordinal: Ordinal) -> bool {
        self.spec.is_durable() && self.claim(ordinal).is_some_and(ClaimSeen::is_usable)
    }

    /// Returns whether the member of an ordinal must be replaced by a member with a new claim (see
    /// [`ClaimSeen::must_migrate`]). Returns `false` without durable storage, and while the claim is being deleted.
    pub(super) fn must_migrate(&self, ordinal: Ordinal) -> bool {
        let claim = self.claim(ordinal).filter(|_| self.spec.is_durable());
        claim.is_some_and(|claim| claim.must_migrate && !claim.deleting)
    }

    /// Returns whether a pod has been unready for [`STUCK_SECONDS`], longer than an election takes.
    pub(super) fn is_stuck(&self, pod: &PodSeen) -> bool {
        !pod.ready && self.seen.now.saturating_sub(pod.ready_changed) >= STUCK_SECONDS
    }

    /// Returns whether a pod that has ended may be recreated. A pod without an exit code was refused by its node, which may
    /// also refuse the next pod. Such a pod is recreated after [`STUCK_SECONDS`].
    pub(super) fn may_recreate(&self, pod: &PodSeen) -> bool {
        pod.exit.is_some() || self.is_stuck(pod)
    }

    /// Returns the peer TLS mode that a member's pod must have. The mode is `On` if the member's peer URLs use TLS. Otherwise,
    /// it is `Ready` if the EtcdCluster requests TLS or any member uses it, and `Off` if not. If no member is known at the
    /// pod's own address, returns the mode that the claim records, or `Off` without a claim. For a new member, use
    /// [`Self::peer_tls_of_new`].
    pub(super) fn peer_tls_of(&self, ordinal: Ordinal) -> PeerTls {
        let member = self.seen.member(ordinal);
        let Some(member) = member.filter(|member| !member.foreign_address) else {
            let claim = self.claim(ordinal);
            return claim.map(|claim| claim.peer_tls).unwrap_or_default();
        };
        if uses_peer_tls(member) {
            PeerTls::On
        } else if self.spec.peer_tls().is_some() || self.seen.members().any(uses_peer_tls) {
            PeerTls::Ready
        } else {
            PeerTls::Off
        }
    }

    /// Returns the step that deletes a pod. For [`Stop::PeerTls`], if the claim records another use of TLS than the peer URL,
    /// first returns the step that updates the claim.
    pub(super) fn delete_pod(&self, ordinal: Ordinal, reason: Stop) -> Step {
        if reason == Stop::PeerTls
            && let (Some(claim), Some(member)) = (self.claim(ordinal), self.seen.member(ordinal))
            && !member.foreign_address
            && uses_peer_tls(member) != (claim.peer_tls == PeerTls::On)
        {
            let peer_tls = self.peer_tls_of(ordinal);
            return Step::ApplyClaim { ordinal, peer_tls };
        }
        Step::DeletePod { ordinal, reason }
    }

    /// Returns whether other members cannot reach a member: either its pod or its peer URL uses TLS, but not both. Always
    /// `false` for an unlisted member and for a foreign address.
    pub(super) fn is_cut_off(&self, ordinal: Ordinal, pod: &PodSeen) -> bool {
        let member = self.seen.member(ordinal);
        // A proxy in front of a foreign address can terminate TLS.
        let own = member.filter(|member| !member.foreign_address);
        own.is_some_and(|member| uses_peer_tls(member) != (pod.peer_tls == PeerTls::On))
    }

    /// Returns whether the spec and the desired version allow the operator to update members.
    pub(super) fn may_update(&self) -> bool {
        self.spec.updates_members() && self.refused_version().is_none()
    }

    /// Returns why the pods must not be updated to the desired version; `None` if they may be, or if that version is unknown.
    pub(super) fn refused_version(&self) -> Option<Why> {
        let wanted = self.seen.wanted_version.as_ref()?;
        let risen = self.level_risen(wanted);
        risen.or_else(|| self.version_step(wanted))
    }

    /// Returns a reason if the desired release does not support the cluster's feature level, because its members would refuse
    /// their disks. Allows the release if its level or the cluster's level is unknown.
    fn level_risen(&self, wanted: &str) -> Option<Why> {
        let (level, supported) = (self.feature_level()?, level_of(wanted)?);
        let release = wanted.to_owned();
        (supported < level).then_some(Why::LevelRisen { release, supported, level })
    }

    /// Returns the cluster's feature level: the reported level, or else the recorded level; `None` if both are unknown.
    fn feature_level(&self) -> Option<Level> {
        let reported = self.seen.membership.as_ref().and_then(|list| list.level);
        let recorded = self.status.feature_level;
        reported.or_else(|| recorded.and_then(|level| Level::try_from(level).ok()))
    }

    /// Returns a reason if a pod would skip a minor version. Ignores versions that cannot be parsed.
    fn version_step(&self, wanted: &str) -> Option<Why> {
        let to = ReleaseVersion::parse(wanted)?;
        let mut running = self.pods().filter_map(|(_, pod)| pod.version.as_ref());
        let from = running.find(|version| {
            ReleaseVersion::parse(version).is_some_and(|from| !from.is_next_to(&to))
        })?;
        let (from, to) = (from.clone(), wanted.to_owned());
        Some(Why::VersionStep { from, to })
    }

    /// Returns the members and their leader; `None` unless a quorum confirmed the list.
    pub(super) fn joined(&self) -> Option<Joined<'a>> {
        let list = self.seen.membership.as_ref()?;
        let leader = list.by_id(list.leader?)?;
        list.linearizable
            .then_some(Joined { pass: *self, list, leader })
    }

    /// Returns the peer TLS mode of a new member's pod. The mode is `On` only if all pods can connect with TLS, and `Off` only
    /// if no pod listens with TLS.
    pub(super) fn peer_tls_of_new(&self) -> PeerTls {
        let mut pods = self.pods().map(|(_, pod)| pod.peer_tls);
        match self.spec.peer_tls() {
            Some(_) if pods.all(|tls| tls != PeerTls::Off) => PeerTls::On,
            None if pods.all(|tls| tls != PeerTls::On) => PeerTls::Off,
            Some(_) | None => PeerTls::Ready,
        }
    }
}

impl<'a> Joined<'a> {
    /// Iterates over the members that run in this cluster's pods, with their ordinals.
    pub(super) fn own(&self) -> impl Iterator<Item = (Ordinal, &'a MemberSeen)> + use<'a> {
        let members = self.list.members.iter();
        members.filter_map(|member| Some((member.ordinal?, member)))
    }

    /// Returns the first step that can be taken now. If no step can be taken, returns the first step, which is a wait or was
    /// refused. Returns `None` if there are no steps.
    pub(super) fn first(&self, steps: impl Iterator<Item = Step>) -> Option<Step> {
        let mut other = None;
        for step in steps {
            if step.acts() && !self.pass.is_refused(&step) {
                return Some(step);
            }
            other = other.or(Some(step));
        }
        other
    }

    /// Returns whether a member is healthy and its pod is ready and not being deleted. A member that is not a pod of this
    /// cluster needs no pod.
    pub(super) fn serves(&self, member: &MemberSeen) -> bool {
        let pod = |ordinal| self.pass.pod(ordinal);
        let serves = |ordinal| pod(ordinal).is_some_and(|pod| pod.ready && !pod.deleting);
        member.healthy && member.ordinal.is_none_or(serves)
    }

    /// Counts the serving voters other than `id`.
    fn others(&self, id: MemberId) -> usize {
        let voters = self.list.voters();
        voters
            .filter(|voter| voter.id != id && self.serves(voter))
            .count()
    }

    /// Returns whether the other serving voters form a quorum while `id` is stopped and remains a member.
    pub(super) fn may_stop(&self, id: MemberId) -> bool {
        self.others(id) >= quorum(self.list.voters().count())
    }

    /// Returns whether the other voters that answer form a quorum. If they do not, the cluster may need the vote of `id`, even
    /// if `id` does not answer.
    pub(super) fn can_spare(&self, id: MemberId) -> bool {
        let others = self.list.voters().filter(|voter| voter.id != id);
        let answering = others.filter(|voter| voter.answers).count();
        answering >= quorum(self.list.voters().count())
    }

    /// Returns whether the other serving voters form a quorum once `id` is removed.
    pub(super) fn may_remove(&self, id: MemberId) -> bool {
        let left = self.list.voters().filter(|voter| voter.id != id).count();
        left > 0 && self.others(id) >= quorum(left)
    }

    /// Returns whether the member of an ordinal must and can be replaced by a member with a new claim.
    pub(super) fn can_migrate(&self, ordinal: Ordinal) -> bool {
        self.pass.must_migrate(ordinal) && self.new_claim_fits(ordinal)
    }

    /// Returns whether a new claim is at least as large as the current claim, or at least twice as large as the data. The
    /// server needs this space, because it writes a new checkpoint before it deletes the old one. Returns `true` without a
    /// current claim, and if the size in the spec is not a quantity.
    pub(super) fn new_claim_fits(&self, ordinal: Ordinal) -> bool {
        let bytes = Storage::requested(self.pass.spec.storage.as_ref()).bytes();
        let present = self.pass.claim(ordinal).map(|claim| claim.requested_bytes);
        bytes.is_none_or(|bytes| bytes / 2 >= self.leader.db_size || Some(bytes) >= present)
    }

    /// Returns whether there are more voters than `spec.replicas`.
    pub(super) fn has_spare_voter(&self) -> bool {
        self.list.voters().count() > self.pass.spec.members() as usize
    }

    /// Returns whether a member's data exists outside its own pod, on a disk or on other members.
    pub(super) fn has_copies(&self) -> bool {
        self.pass.spec.is_durable() || self.list.members.len() > 1
    }

    /// Returns the member with the highest ordinal, which a scale-in removes first; `None` if no member is a pod of this
    /// cluster.
    pub(super) fn last(&self) -> Option<(Ordinal, &'a MemberSeen)> {
        self.own().max_by_key(|(ordinal, _)| *ordinal)
    }

    /// Returns whether a member has been silent and its pod unready for `selfHealing.unhealthyAfter`. An unready pod alone
    /// proves nothing, because a healthy learner's pod is unready until the learner becomes a voter.
    pub(super) fn silent_too_long(&self, ordinal: Ordinal, pod: &PodSeen) -> bool {
        let patience = self.pass.spec.self_healing().unhealthy_after.seconds();
        let age = self.now().saturating_sub(pod.ready_changed);
        !pod.ready && age >= patience && self.silent_for(ordinal, patience)
    }

    /// Returns whether a member has been silent for `seconds`, according to the status. Ignores the time in which no operator
    /// was active, because the member may have answered then.
    pub(super) fn silent_for(&self, ordinal: Ordinal, seconds: i64) -> bool {
        let recorded = self.recorded_status(ordinal);
        let since = recorded.and_then(|recorded| recorded.silent_since.as_ref());
        since.is_some_and(|since| {
            let since = since.0.as_second().max(self.pass.seen.acting_since);
            self.now().saturating_sub(since) >= seconds
        })
    }

    /// Returns whether a member has had the CORRUPT alarm for `seconds`, according to the status.
    pub(super) fn corrupt_for(&self, ordinal: Ordinal, seconds: i64) -> bool {
        let recorded = self.recorded_status(ordinal);
        let since = recorded.and_then(|recorded| recorded.corrupt_since.as_ref());
        since.is_some_and(|since| self.now().saturating_sub(since.0.as_second()) >= seconds)
    }

    /// Returns the status that the last pass recorded for the member of an ordinal, or `None` if it recorded none.
    fn recorded_status(&self, ordinal: Ordinal) -> Option<&'a MemberStatus> {
        let ordinal = i32::try_from(ordinal).ok()?;
        let mut members = self.pass.status.members.iter();
        members.find(|member| member.ordinal == Some(ordinal))
    }

    /// Returns the step that transfers leadership away from `id`; `None` if `id` does not lead or no voter can take over.
    /// Prefers a voter whose pod and claim are up to date, then the highest applied index.
    pub(super) fn hand_over(&self, id: MemberId) -> Option<Step> {
        if self.leader.id != id {
            return None;
        }
        let voters = self.list.voters();
        let can = voters.filter(|voter| voter.id != id && !voter.corrupt && self.serves(voter));
        let best = can.max_by_key(|voter| {
            let updated = voter.ordinal.is_some_and(|ordinal| {
                let pod = self.pass.pod(ordinal);
                pod.is_some_and(|pod| !pod.outdated) && !self.can_migrate(ordinal)
            });
            (updated, voter.raft_index, std::cmp::Reverse(voter.id))
        })?;
        Some(Step::MoveLeader { from: id, to: best.id })
    }

    pub(super) fn now(&self) -> UnixSeconds {
        self.pass.seen.now
    }
}

/// Returns whether a member listens with TLS for other members, according to its peer URLs.
pub(super) fn uses_peer_tls(member: &MemberSeen) -> bool {
    let mut urls = member.peer_urls.iter();
    urls.any(|url| url.starts_with("https://"))
}
