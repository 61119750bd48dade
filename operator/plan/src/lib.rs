//! Computes the next step from the observed state of a cluster. Does no I/O and reads no clock.
//!
//! The checks run in order of urgency, and the first step that a check returns is taken. In a cluster with a quorum, refused
//! steps and waits of repairs do not stop the later checks.
//!
//! Reading order: `model` (the observation and the step) → this file (the order of the checks) → `pass` (the facts that the
//! checks share) → `stop` (paused, fenced, hibernated and forked clusters) → `objects` (services, certificates) → `bootstrap` →
//! `recover` (lost quorum) → `restore` (in place) → `repair`, `evidence` (lost members), `surge`, `learner` (replacements) →
//! `space` (the NOSPACE alarm) → `auth` → `disks` (claims) → `roll` (updates), `releases` → `scale` → `rotate` (the CA).

mod auth;
mod bootstrap;
mod disks;
mod evidence;
mod learner;
pub mod model;
mod objects;
mod pass;
mod recover;
mod releases;
mod repair;
mod restore;
mod roll;
mod rotate;
mod scale;
mod space;
mod stop;
mod surge;

use witan_crd::{EtcdClusterSpec, EtcdClusterStatus};

use model::{Observed, Step, Why};
pub use pass::{IDLE, SOON};
use pass::{Joined, Pass, idle, soon};
pub use releases::{ReleaseVersion, level_of};
pub use space::AGAIN_SECONDS;

/// Returns the next step, or a wait if that step was recently refused. The same arguments always result in the same step.
pub fn plan(spec: &EtcdClusterSpec, status: &EtcdClusterStatus, seen: &Observed) -> Step {
    if seen.deleting {
        return idle(Why::Deleting);
    }
    let pass = Pass { spec, status, seen };
    // Only the deletion of the cluster takes precedence over the ownership of claims.
    let early = disks::own(&pass)
        .or_else(|| stop::suspended(&pass))
        .or_else(|| restore::stop(&pass))
        .or_else(|| stop::other_cluster(&pass))
        .or_else(|| stop::forked(&pass))
        .or_else(|| objects::next_object_step(&pass))
        .or_else(|| stop::hibernate(&pass))
        .or_else(|| bootstrap::begin(&pass));
    let step = early.unwrap_or_else(|| match pass.joined() {
        Some(joined) => serve(&joined),
        None => without_quorum(&pass),
    });
    match pass.is_refused(&step) {
        true => soon(Why::Refused),
        false => step,
    }
}

/// Returns whether the members must not run the desired version. Either its release does not support the feature level of the
/// cluster, or a pod would skip a minor version. Returns `false` for an unknown version.
pub fn is_version_refused(
    spec: &EtcdClusterSpec,
    status: &EtcdClusterStatus,
    seen: &Observed,
) -> bool {
    let pass = Pass { spec, status, seen };
    pass.refused_version().is_some()
}

/// Returns the next step of a cluster without a quorum: the step of a recovery or, while no recovery can begin, a restart of
/// members. If both wait, returns the wait of the recovery.
fn without_quorum(pass: &Pass<'_>) -> Step {
    let Some(step) = recover::step(pass) else {
        return bootstrap::restart_members(pass);
    };
    if step.acts() || recover::is_running(pass) {
        return step;
    }
    let back = bootstrap::restart_members(pass);
    if back.acts() { back } else { step }
}

/// Returns the next step of a cluster with a quorum: repairs precede planned changes, which wait while a repair waits. Skips
/// recently refused steps; if no other step acts, returns the wait `Refused`.
fn serve(joined: &Joined<'_>) -> Step {
    let (mut wait, mut is_refused) = (None, false);
    for verb in [
        objects::budget,
        stop::left_over,
        repair::leftovers,
        repair::labels,
        stop::fence,
        repair::start,
        repair::restart,
        learner::advance,
        repair::replace,
        repair::disarm,
        space::free_space,
    ] {
        match verb(joined) {
            Some(step) if !step.acts() => wait = wait.or(Some(step)),
            Some(step) if joined.pass.is_refused(&step) => is_refused = true,
            Some(step) => return step,
            None => {}
        }
    }
    let refused = soon(Why::Refused);
    if let Some(wait) = wait.or_else(|| repair::unsettled(joined)) {
        return if is_refused { refused } else { wait };
    }
    for verb in [
        auth::enable_or_disable,
        disks::keep,
        roll::next,
        scale::step,
        rotate::next,
        roll::only_copy,
        objects::wait_for_pod_secrets,
        objects::wait_for_cert_manager,
        objects::wait_for_names,
        disks::refused,
        disks::too_small,
    ] {
        match verb(joined) {
            Some(step) if joined.pass.is_refused(&step) => is_refused = true,
            Some(step) if !step.acts() && is_refused => return refused,
            Some(step) => return step,
            None => {}
        }
    }
    if is_refused {
        return refused;
    }
    match joined.pass.seen.rejected {
        Some(_) => idle(Why::SpecRejected),
        None => Step::Done,
    }
}

#[cfg(test)]
mod tests;
