//! From what was seen of a cluster to the one step that follows. It does no I/O and reads no clock.
//!
//! The verbs are asked in the order of their urgency. What they know in common is in `plan/pass.rs`; each file
//! beside it holds the verbs of one concern.

mod bootstrap;
mod disks;
mod evidence;
mod learner;
mod objects;
mod pass;
mod repair;
mod roll;
mod rotate;
mod scale;
mod stop;

use std::time::Duration;

use crate::{
    crd::{EtcdClusterSpec, EtcdClusterStatus},
    model::{Observed, Step, Why},
};
use pass::{Joined, Pass};

/// When to look again at what only a person or a change of an object can end.
pub const IDLE: Duration = Duration::from_secs(60);

/// When to look again at something that ends by itself.
pub const SOON: Duration = Duration::from_secs(2);

/// Returns the next step. The same arguments always give the same step.
pub fn plan(spec: &EtcdClusterSpec, status: &EtcdClusterStatus, seen: &Observed) -> Step {
    let pass = Pass { spec, status, seen };
    let early = stop::deleting(&pass)
        .or_else(|| stop::paused(&pass))
        .or_else(|| stop::other_cluster(&pass))
        .or_else(|| objects::missing(&pass))
        .or_else(|| stop::hibernate(&pass))
        .or_else(|| bootstrap::begin(&pass));
    if let Some(step) = early {
        return step;
    }
    match pass.joined() {
        Some(joined) => serve(&joined),
        None => bootstrap::bring_back(&pass),
    }
}

/// Returns the next step of a cluster with a quorum: repairs first, and planned changes once all repairs are
/// done.
fn serve(joined: &Joined<'_>) -> Step {
    let mut waits = Vec::new();
    for verb in [
        objects::budget,
        repair::leftovers,
        repair::labels,
        stop::fence,
        repair::start,
        repair::restart,
        learner::advance,
        repair::replace,
        repair::disarm,
    ] {
        match verb(joined) {
            Some(Step::Wait { why, after }) => waits.push((why, after)),
            Some(step) => return step,
            None => {}
        }
    }
    waits.extend(repair::unsettled(joined));
    if let Some((why, after)) = waits.into_iter().next() {
        return Step::Wait { why, after };
    }
    objects::auth(joined)
        .or_else(|| disks::keep(joined))
        .or_else(|| roll::next(joined))
        .or_else(|| scale::step(joined))
        .or_else(|| rotate::next(joined))
        .or_else(|| roll::only_copy(joined))
        .or_else(|| objects::unrequested(joined))
        .or_else(|| objects::taken(joined))
        .or_else(|| disks::refused(joined))
        .unwrap_or(Step::Done)
}

/// Makes a step that waits [`IDLE`], or until an object changes.
fn idle(why: Why) -> Option<Step> {
    Some(Step::Wait { why, after: IDLE })
}

/// Makes a step that waits [`SOON`].
fn soon(why: Why) -> Option<Step> {
    Some(Step::Wait { why, after: SOON })
}

#[cfg(test)]
mod tests;
