//! Limits concurrent updates, so that a new release or a broken member image does not reach all clusters at the same time.

use std::collections::HashSet;

use kube::runtime::reflector::ObjectRef;
use witan_base::sync::Mutex;
use witan_crd::EtcdCluster;
use witan_plan::model::{Observed, Step, Why};

#[derive(Debug)]
pub(crate) struct Rollouts {
    limit: usize,
    in_progress: Mutex<HashSet<ObjectRef<EtcdCluster>>>,
}

impl Rollouts {
    /// Creates `limit` permits.
    pub(crate) fn new(limit: u16) -> Self {
        Self { limit: limit.into(), in_progress: Mutex::default() }
    }

    /// Returns whether this cluster has a permit or could get a permit.
    pub(crate) fn admits(&self, cluster: &ObjectRef<EtcdCluster>) -> bool {
        let in_progress = self.in_progress.lock();
        in_progress.len() < self.limit || in_progress.contains(cluster)
    }

    /// Takes a permit for the first step of an update. Releases the permit once the update is complete or waits for the user.
    /// Does nothing for the repair of an unready pod. Returns `false` if the step needs a permit and none is free.
    pub(crate) fn take_or_release(
        &self,
        cluster: ObjectRef<EtcdCluster>,
        step: &Step,
        seen: &Observed,
    ) -> bool {
        if is_repair(step, seen) {
            return true;
        }
        let mut in_progress = self.in_progress.lock();
        if step.rests() || lacks_password(step, seen) {
            in_progress.remove(&cluster);
        } else if step.updates() && !in_progress.contains(&cluster) {
            if in_progress.len() >= self.limit {
                return false;
            }
            in_progress.insert(cluster);
        }
        true
    }

    /// Releases the permit of a cluster.
    pub(crate) fn forget(&self, cluster: &ObjectRef<EtcdCluster>) {
        self.in_progress.lock().remove(cluster);
    }
}

/// Returns whether the cluster only waits for the user to correct the secret of root: authentication cannot be enabled, and no
/// pod is outdated.
fn lacks_password(step: &Step, seen: &Observed) -> bool {
    let mut refused = seen.refused.iter();
    matches!(step, Step::Wait { why: Why::Refused, .. })
        && refused.all(|refusal| refusal.step == Step::EnableAuth)
        && seen.pods().all(|(_, pod)| !pod.outdated)
}

/// Returns whether a step deletes an unready pod. An update stops only ready pods.
fn is_repair(step: &Step, seen: &Observed) -> bool {
    let Step::DeletePod { ordinal, .. } = step else {
        return false;
    };
    seen.pod(*ordinal).is_some_and(|pod| !pod.ready)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use witan_plan::model::{Refusal, Stop};

    use super::*;

    fn cluster(name: &str) -> ObjectRef<EtcdCluster> {
        ObjectRef::new(name).within("shop")
    }

    #[test]
    fn the_limit_bounds_the_clusters_that_update_at_the_same_time() {
        let rollouts = Rollouts::new(2);
        let take = |name: &str, step: &Step| {
            rollouts.take_or_release(cluster(name), step, &Observed::default())
        };
        let update = Step::DeletePod { ordinal: 0, reason: Stop::Outdated };
        assert!(take("a", &update) && take("b", &update));
        assert!(!rollouts.admits(&cluster("c")) && !take("c", &update));
        let waits = Step::Wait { why: Why::Unhealthy(0), after: Duration::ZERO };
        assert!(take("a", &waits), "its member does not recover");
        assert!(rollouts.admits(&cluster("a")) && !rollouts.admits(&cluster("c")));
        let repair = Step::DeletePod { ordinal: 1, reason: Stop::Ended };
        assert!(take("c", &repair), "repairs need no permit");
        assert!(take("a", &Step::Done) && take("c", &update));
        rollouts.forget(&cluster("b"));
        assert!(rollouts.admits(&cluster("d")));
    }

    /// Only the user can correct the secret of root.
    #[test]
    fn a_cluster_whose_authentication_is_refused_keeps_no_permit() {
        for (step, is_kept) in [(Step::EnableAuth, false), (Step::Promote(1), true)] {
            let rollouts = Rollouts::new(1);
            let update = Step::DeletePod { ordinal: 0, reason: Stop::Outdated };
            assert!(rollouts.take_or_release(cluster("a"), &update, &Observed::default()));
            let (held, idle, said) = (true, false, "no password".to_owned());
            let refused = vec![Refusal { step, held, idle, said }];
            let seen = Observed { refused, ..Observed::default() };
            let waits = Step::Wait { why: Why::Refused, after: Duration::ZERO };
            assert!(rollouts.take_or_release(cluster("a"), &waits, &seen));
            assert_eq!(rollouts.admits(&cluster("b")), !is_kept);
        }
    }

    /// A rejected spec can block its own update indefinitely but must not block other clusters.
    #[test]
    fn a_cluster_that_waits_for_the_user_keeps_no_permit() {
        for why in [
            Why::Paused,
            Why::SpecRejected,
            Why::SecretsMissing,
            Why::CannotHibernate,
            Why::LevelRisen { release: "0.1.0".to_owned(), supported: 1, level: 2 },
        ] {
            let rollouts = Rollouts::new(1);
            let take =
                |step: &Step| rollouts.take_or_release(cluster("a"), step, &Observed::default());
            assert!(take(&Step::DeletePod {
                ordinal: 0,
                reason: Stop::Outdated
            }));
            assert!(!rollouts.admits(&cluster("b")));
            take(&Step::Wait { why: why.clone(), after: Duration::ZERO });
            assert!(rollouts.admits(&cluster("b")), "{why:?}");
        }
    }
}
