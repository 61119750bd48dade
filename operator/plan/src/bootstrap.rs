//! Bootstraps a cluster and restarts its members while it has no quorum.
//!
//! All initial members start at the same time with the same static list or discovery token, from which they compute the same
//! cluster id. A majority is enough to serve. A second bootstrap from a static list would create another cluster. Therefore,
//! the status records the number of members before the first pod starts, and the cluster id once a quorum serves. A cluster
//! with a recorded id is never bootstrapped again.
//!
//! A check that needs no step returns `None`.

use super::{
    evidence,
    objects::wait_for_secrets,
    pass::{Pass, STUCK_SECONDS, idle, soon},
    restore::first_ordinal,
};
use crate::model::{Bootstrap, Ordinal, Part, PodPhase, PodPlan, PodSeen, Step, Stop, Why};

/// Returns the next step of the bootstrap; `None` once a quorum has served. Starts no fenced member, and none while the backup
/// cannot be used. If the status is lost but claims of a cluster that has served exist, returns a wait if the spec requests a
/// restore, otherwise `None`.
pub(super) fn begin(pass: &Pass<'_>) -> Option<Step> {
    if pass.has_served() {
        return None;
    }
    let Some(members) = pass.status.bootstrap_members else {
        let mut claims = pass.seen.claims();
        // Claims of a failed bootstrap are reused: a member with data ignores the bootstrap flags.
        if claims.any(|claim| claim.served && !claim.deleting) {
            let source = pass.spec.bootstrap.as_ref();
            let restores = source.is_some_and(|source| source.restore.is_some());
            return restores.then(|| idle(Why::OldDisks));
        }
        if let Some(wait) = pass.wait_for_names(|part| part != Part::Budget) {
            return Some(wait);
        }
        return Some(record(pass));
    };
    let members = u32::try_from(members).unwrap_or_default();
    let may_start = pass.seen.no_backup.is_none();
    let is_missing = |ordinal: &Ordinal| pass.pod(*ordinal).is_none() && !pass.is_fenced(*ordinal);
    let first = first_ordinal(pass);
    let mut is_refused = false;
    for ordinal in (first..first + members).filter(|ordinal| may_start && is_missing(ordinal)) {
        if let Some(wait) = pass.wait_for_names_of(ordinal) {
            return Some(wait);
        }
        let step = start_first(pass, ordinal, members);
        if !pass.is_refused(&step) {
            return Some(step);
        }
        is_refused = true;
    }
    let broken = pass
        .pods()
        .find_map(|(ordinal, pod)| delete_broken_pod(pass, ordinal, pod));
    broken
        .or_else(|| is_refused.then(|| soon(Why::Refused)))
        .or_else(|| wait_for_secrets(pass))
        .or_else(|| wait_for_backup(pass))
        .or_else(|| wait_for_stuck_pod(pass))
        .or_else(|| wait_for_answer(pass))
        .or_else(|| Some(soon(Why::Bootstrapping)))
}

/// Returns a wait with the reason of the first stuck pod whose reason is known; `None` if there is no such pod.
fn wait_for_stuck_pod(pass: &Pass<'_>) -> Option<Step> {
    let stuck = pass.pods().filter(|(_, pod)| pass.is_stuck(pod));
    let mut reasons = stuck.filter_map(|(ordinal, pod)| {
        let exits = pod.exit.map(|code| Why::Exited(ordinal, code));
        let obstacle = pod.obstacle.map(|found| Why::Obstacle(ordinal, found));
        let apart = is_in_wrong_cluster(pass, ordinal).then_some(Why::ClusterIdMismatch);
        obstacle.or(exits).or(apart)
    });
    reasons.next().map(soon)
}

/// Returns a wait if all pods have been ready for [`STUCK_SECONDS`] and no member answers. Only the operator cannot reach such
/// members.
fn wait_for_answer(pass: &Pass<'_>) -> Option<Step> {
    let is_ready = |pod: &PodSeen| {
        let since = pass.seen.now.saturating_sub(pod.ready_changed);
        pod.ready && since >= STUCK_SECONDS
    };
    let is_silent = pass.seen.membership.is_none() && pass.pods().next().is_some();
    let are_ready = pass.pods().all(|(_, pod)| is_ready(pod));
    (is_silent && are_ready).then(|| soon(Why::Unreachable))
}

/// Returns whether the initial members formed different clusters, or joined a cluster that this EtcdCluster did not bootstrap.
/// A foreign cluster is assumed if the member of `ordinal` lists an unexpected number of members and no discovery token was
/// used.
fn is_in_wrong_cluster(pass: &Pass<'_>, ordinal: Ordinal) -> bool {
    let Some(list) = &pass.seen.membership else {
        return false;
    };
    let members = list.reports.get(&ordinal).map(|report| report.members);
    let begun = pass.status.bootstrap_members;
    let begun = begun.and_then(|begun| usize::try_from(begun).ok());
    let other = members.is_some() && members != begun && pass.status.discovery.is_none();
    other || list.of_other_clusters().next().is_some()
}

/// Returns the step that begins the bootstrap, or a wait while a secret is missing or the backup cannot be used.
fn record(pass: &Pass<'_>) -> Step {
    if let Some(wait) = wait_for_secrets(pass).or_else(|| wait_for_backup(pass)) {
        return wait;
    }
    let members = pass.spec.members();
    let source = pass.spec.bootstrap.as_ref();
    let discovery = source.and_then(|source| source.discovery.as_ref());
    let discovery_url = discovery.and_then(|discovery| discovery.url.clone());
    match discovery.is_some() && discovery_url.is_none() {
        true => Step::CreateDiscoveryToken(members),
        false => Step::BeginBootstrap { members, discovery_url },
    }
}

/// Returns a wait while the backup cannot be used. Without a backup, the initial members would form an empty cluster.
fn wait_for_backup(pass: &Pass<'_>) -> Option<Step> {
    let missing = pass.seen.no_backup.is_some();
    missing.then(|| soon(Why::BackupMissing))
}

/// Returns the step that starts one of the `members` initial members, or a wait while its claim is being deleted.
fn start_first(pass: &Pass<'_>, ordinal: Ordinal, members: u32) -> Step {
    if pass.claim(ordinal).is_some_and(|claim| claim.deleting) {
        return soon(Why::ClaimEnding(ordinal));
    }
    // All initial members use the same peer URL scheme, even if the spec changes during the bootstrap.
    let pods = pass.pods().map(|(_, pod)| pod.peer_tls);
    let claims = pass.seen.claims().filter(|claim| !claim.retired);
    let first = pods.chain(claims.map(|claim| claim.peer_tls)).next();
    let discovery = pass.status.discovery.as_ref();
    let url = discovery.and_then(|discovery| discovery.url.clone());
    let bootstrap = match url {
        Some(url) => Bootstrap::Discovery { url },
        None => Bootstrap::New { first: first_ordinal(pass), members },
    };
    let peer_tls = first.unwrap_or_else(|| pass.peer_tls_of_new());
    Step::StartMember(PodPlan::voter(ordinal, bootstrap, peer_tls))
}

/// Returns the step that deletes a pod that has ended, whose claim was deleted, that other members cannot reach, or that is
/// stuck with an outdated template (see [`Pass::delete_pod`]). Returns `None` for any other pod, for a pod that its node
/// recently refused, and while the pod is being deleted.
fn delete_broken_pod(pass: &Pass<'_>, ordinal: Ordinal, pod: &PodSeen) -> Option<Step> {
    let reason = match pod.phase {
        PodPhase::Ended => pass.may_recreate(pod).then_some(Stop::Ended)?,
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => {
            let outdated = (pod.outdated && pass.is_stuck(pod)).then_some(Stop::Outdated);
            let cut_off = pass.is_cut_off(ordinal, pod).then_some(Stop::PeerTls);
            let no_claim = evidence::lacks_claim(pass, ordinal, pod).then_some(Stop::NoClaim);
            no_claim.or(cut_off).or(outdated)?
        }
    };
    (!pod.deleting).then(|| pass.delete_pod(ordinal, reason))
}

/// Like [`delete_broken_pod`], but for a cluster without a quorum. A pod with an outdated template is deleted only if updates
/// are allowed and its container is not running. A running container may be reading its disk.
fn stop_if_it_cannot_serve(pass: &Pass<'_>, ordinal: Ordinal, pod: &PodSeen) -> Option<Step> {
    let step = delete_broken_pod(pass, ordinal, pod)?;
    let outdated = matches!(step, Step::DeletePod { reason: Stop::Outdated, .. });
    (!outdated || (!pod.running && pass.may_update())).then_some(step)
}

/// Returns the next step without a quorum: starts members from their disks, deletes pods that cannot serve, or waits. Leaves
/// out fenced members and members without a usable disk.
pub(super) fn restart_members(pass: &Pass<'_>) -> Step {
    let (mut ending, mut taken, mut is_refused) = (None, None, false);
    for ordinal in pass.seen.ordinals.keys().copied() {
        if pass.is_fenced(ordinal) || !pass.has_disk(ordinal) {
            continue;
        }
        let Some(pod) = pass.pod(ordinal) else {
            if let Some(wait) = pass.wait_for_names_of(ordinal) {
                taken = taken.or(Some(wait));
                continue;
            }
            let peer_tls = pass.peer_tls_of(ordinal);
            let plan = PodPlan::voter(ordinal, Bootstrap::Restart, peer_tls);
            let step = Step::StartMember(plan);
            if !pass.is_refused(&step) {
                return step;
            }
            is_refused = true;
            continue;
        };
        if pod.deleting {
            ending = ending.or(Some(ordinal));
        } else if let Some(step) = stop_if_it_cannot_serve(pass, ordinal, pod) {
            return step;
        }
    }
    if let Some(wait) = taken.or(is_refused.then(|| soon(Why::Refused))) {
        return wait;
    }
    let disks = pass.seen.ordinals.keys();
    let disks = disks.filter(|ordinal| pass.has_disk(**ordinal)).count();
    if disks == 0 && (pass.spec.is_durable() || pass.pods().next().is_none()) {
        return idle(Why::DataLost);
    }
    let is_silent = pass.seen.membership.is_none();
    soon(match ending {
        Some(ordinal) => Why::PodEnding(ordinal),
        None if is_silent && pass.pods().all(|(_, pod)| pod.ready) => Why::Unreachable,
        None => Why::QuorumLost,
    })
}
