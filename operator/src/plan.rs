//! From what was seen of a cluster to the one step that follows. It does no I/O and reads no clock.

use std::time::Duration;

use crate::{
    crd::{EtcdClusterSpec, EtcdClusterStatus},
    model::{Observed, Step, Why},
};

/// The next look at a cluster that waits for nothing in particular.
pub const IDLE: Duration = Duration::from_secs(60);

/// The step that follows. The same arguments give the same step.
pub fn plan(spec: &EtcdClusterSpec, _status: &EtcdClusterStatus, seen: &Observed) -> Step {
    let wait = |why| Step::Wait { why, after: IDLE };
    if seen.deleting {
        return wait(Why::Deleting);
    }
    if spec.paused {
        return wait(Why::Paused);
    }
    Step::Done
}
