//! Decides when steps and passes are retried. Remembers the steps that were refused or had no effect; `plan` skips them until
//! their backoff ends. Counts consecutive failed passes. Nothing else is remembered between passes, and losing this memory is
//! harmless.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use kube::runtime::reflector::ObjectRef;
use witan_base::sync::Mutex;
use witan_crd::EtcdCluster;
use witan_plan::model::{Observed, Refusal, Step};

/// The first backoff after a refused step or a failed pass. Each further failure doubles the backoff.
const HELD_FIRST: Duration = Duration::from_millis(500);

const HELD_LONGEST: Duration = Duration::from_secs(30);

/// Time for which a step is remembered after its backoff if the plan does not return to the step.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Maximum number of refused steps that are remembered per cluster.
const REFUSED_REMEMBERED: usize = 32;

/// Number of runs on the same observation after which a step is considered ineffective. Members' reports can briefly lag behind
/// a change.
const REPEATS: u32 = 3;

/// Number of consecutive temporary refusals after which a step is held like any other refused step.
const PREMATURE: u32 = 20;

const IDLE: &str = "the step had no effect, although it was repeated several times";

/// The steps to retry, and the failed passes, of all clusters.
#[derive(Debug, Default)]
pub(crate) struct AllRetries(Mutex<HashMap<ObjectRef<EtcdCluster>, Retries>>);

impl AllRetries {
    /// Runs `work` on the retries of a cluster, which are created if necessary, while holding the lock for all clusters.
    pub(crate) fn with<T>(
        &self,
        cluster: &ObjectRef<EtcdCluster>,
        work: impl FnOnce(&mut Retries) -> T,
    ) -> T {
        work(self.0.lock().entry(cluster.clone()).or_default())
    }

    /// Drops the state of a deleted cluster.
    pub(crate) fn forget(&self, cluster: &ObjectRef<EtcdCluster>) {
        self.0.lock().remove(cluster);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Retries {
    generation: i64,
    refused: Vec<Entry>,
    last: Option<(Step, Observed)>,
    repeats: u32,
    /// The step that the members refused temporarily, and the number of consecutive refusals.
    premature: Option<(Step, u32)>,
    failures: u32,
}

#[derive(Debug)]
struct Entry {
    refusal: Refusal,
    times: u32,
    until: Instant,
}

impl Retries {
    /// Forgets expired refusals. After a new generation of the spec, forgets all refusals. If the observation has changed, also
    /// forgets the last step. Returns the remaining refusals; `held` is false once the backoff has ended.
    pub(crate) fn refresh_refusals(&mut self, seen: &Observed, now: Instant) -> Vec<Refusal> {
        let generation = seen.generation;
        if self.generation != generation {
            *self = Self { generation, failures: self.failures, ..Self::default() };
        }
        let same = |(_, before): &mut (Step, Observed)| *before == without_measures(seen);
        self.last = self.last.take_if(same);
        self.refused.retain(|entry| now < entry.until + FORGOTTEN);
        let held = |entry: &Entry| Refusal { held: now < entry.until, ..entry.refusal.clone() };
        self.refused.iter().map(held).collect()
    }

    /// Holds a refused step back with exponential backoff. Returns whether the message is the step's first message or differs
    /// from its last message. Beyond [`REFUSED_REMEMBERED`] steps, the oldest refusal is forgotten.
    pub(crate) fn hold(&mut self, refusal: Refusal, now: Instant) -> bool {
        let mut refused = self.refused.iter();
        let at = refused.position(|entry| entry.refusal.step == refusal.step);
        let before = at.map(|at| self.refused.remove(at));
        let times = before.as_ref().map_or(0, |entry| entry.times);
        if self.refused.len() == REFUSED_REMEMBERED {
            self.refused.remove(0);
        }
        let is_new = before.is_none_or(|entry| entry.refusal.said != refusal.said);
        let entry = Entry { refusal, times: times + 1, until: now + delay(times) };
        self.refused.push(entry);
        is_new
    }

    /// Counts a temporary refusal of a step. Returns whether the members have refused the step more than [`PREMATURE`] times in
    /// a row.
    pub(crate) fn on_premature(&mut self, step: &Step) -> bool {
        let same = |(last, _): &mut (Step, u32)| *last == *step;
        let times = self.premature.take_if(same).map_or(0, |(_, times)| times) + 1;
        self.premature = Some((step.clone(), times));
        times > PREMATURE
    }

    /// Counts a failed pass. Returns the delay before the next pass.
    pub(crate) fn on_pass_failed(&mut self) -> Duration {
        self.failures += 1;
        delay(self.failures - 1)
    }

    /// Ends the backoff between failed passes.
    pub(crate) fn on_pass_succeeded(&mut self) {
        self.failures = 0;
    }

    /// Remembers that a step ran on this observation, and resets the count of its temporary refusals. Holds the step back after
    /// [`REPEATS`] runs on the same observation; before then, forgets an earlier refusal of the step. Returns whether the step
    /// is held back for a new reason.
    pub(crate) fn on_done(&mut self, step: &Step, seen: &Observed, now: Instant) -> bool {
        self.premature.take_if(|(last, _)| *last == *step);
        let this = Some((step.clone(), without_measures(seen)));
        self.repeats = if self.last == this {
            self.repeats + 1
        } else {
            1
        };
        self.last = this;
        if self.repeats < REPEATS {
            self.refused.retain(|entry| entry.refusal.step != *step);
            return false;
        }
        let (step, said) = (step.clone(), IDLE.to_owned());
        self.hold(Refusal { step, held: true, idle: true, said }, now)
    }
}

/// Returns the backoff after `times` earlier failures.
fn delay(times: u32) -> Duration {
    HELD_FIRST
        .saturating_mul(1 << times.min(10))
        .min(HELD_LONGEST)
}

/// Returns an observation without the refusals and without the values that change on their own.
fn without_measures(seen: &Observed) -> Observed {
    let mut seen = Observed { now: 0, refused: Vec::new(), ..seen.clone() };
    let lists = seen.membership.iter_mut();
    for member in lists.flat_map(|list| &mut list.members) {
        (member.raft_index, member.db_size, member.revision) = (0, 0, 0);
    }
    for certificate in seen.certificates.values_mut() {
        certificate.not_after = 0;
    }
    seen
}

#[cfg(test)]
mod tests {
    use witan_crd::CertificateRole;
    use witan_plan::model::{CertificateSeen, MemberSeen, Membership};

    use super::*;

    fn refusal(step: Step, said: &str) -> Refusal {
        let said = said.to_owned();
        Refusal { step, held: true, idle: false, said }
    }

    #[test]
    fn a_refused_step_is_held_for_longer_each_time() {
        let (mut tries, now) = (Retries::default(), Instant::now());
        let refused = |said| refusal(Step::ApplyServices, said);
        assert!(tries.hold(refused("quota"), now), "new words");
        assert!(!tries.hold(refused("quota"), now));
        assert!(tries.hold(refused("webhook"), now), "new words");
        let held = |tries: &mut Retries, after| {
            let refused = tries.refresh_refusals(&Observed::default(), now + after);
            refused.first().map(|refusal| refusal.held)
        };
        assert_eq!(held(&mut tries, 3 * HELD_FIRST), Some(true));
        assert_eq!(held(&mut tries, 4 * HELD_FIRST), Some(false), "not held");
        assert_eq!(held(&mut tries, 4 * HELD_FIRST + FORGOTTEN), None);
    }

    #[test]
    fn a_pass_that_fails_is_repeated_later_each_time() {
        let mut tries = Retries::default();
        assert_eq!(tries.on_pass_failed(), HELD_FIRST);
        tries.refresh_refusals(
            &Observed { generation: 1, ..Observed::default() },
            Instant::now(),
        );
        assert_eq!(tries.on_pass_failed(), 2 * HELD_FIRST, "of any generation");
        let last = (0..100).map(|_| tries.on_pass_failed()).last();
        assert_eq!(last, Some(HELD_LONGEST));
        tries.on_pass_succeeded();
        assert_eq!(tries.on_pass_failed(), HELD_FIRST);
    }

    #[test]
    fn another_generation_of_the_spec_is_tried_immediately() {
        let (mut tries, now) = (Retries::default(), Instant::now());
        tries.hold(refusal(Step::ApplyServices, "quota"), now);
        assert_eq!(tries.refresh_refusals(&Observed::default(), now).len(), 1);
        let changed = Observed { generation: 1, ..Observed::default() };
        assert!(tries.refresh_refusals(&changed, now).is_empty());
    }

    /// A certificate can contain its names in a different notation than the desired names, so that it never matches.
    #[test]
    fn a_step_that_changes_nothing_is_held() {
        let (mut tries, now) = (Retries::default(), Instant::now());
        let step = Step::IssueCertificate(CertificateRole::Server);
        let seen = |pass| {
            let mut seen = Observed { now: pass, ..Observed::default() };
            let issued = CertificateSeen { not_after: 90 + pass, fits: false };
            seen.certificates.insert(CertificateRole::Server, issued);
            // The revision grows because clients write between two passes.
            let member = MemberSeen { revision: pass, ..MemberSeen::default() };
            let members = vec![member];
            seen.membership = Some(Membership { members, ..Membership::default() });
            seen
        };
        for pass in 0..3 {
            assert!(
                tries.refresh_refusals(&seen(pass), now).is_empty(),
                "{pass}"
            );
            assert_eq!(tries.on_done(&step, &seen(pass), now), pass == 2, "{pass}");
        }
        let held = tries.refresh_refusals(&seen(3), now);
        assert!(held[0].held && held[0].idle, "{held:?}");
        let mended = Observed::default();
        tries.refresh_refusals(&mended, now);
        assert!(!tries.on_done(&step, &mended, now));
        assert!(tries.refresh_refusals(&mended, now).is_empty());
    }

    #[test]
    fn a_step_that_members_refuse_repeatedly_is_held() {
        let mut tries = Retries::default();
        let (step, other) = (Step::Promote(1), Step::Promote(2));
        for done in [&step, &other] {
            assert!((0..PREMATURE).all(|_| !tries.on_premature(&step)));
            tries.on_done(done, &Observed::default(), Instant::now());
        }
        assert!(tries.on_premature(&step));
        assert!(!tries.on_premature(&other));
    }

    #[test]
    fn a_step_that_had_an_effect_may_be_repeated() {
        let (mut tries, now) = (Retries::default(), Instant::now());
        let (lost, mended) = (
            Observed::default(),
            Observed { fenced: [1].into(), ..Observed::default() },
        );
        for _ in 0..5 {
            assert!(tries.refresh_refusals(&lost, now).is_empty());
            assert!(!tries.on_done(&Step::ApplyServices, &lost, now));
            assert!(tries.refresh_refusals(&mended, now).is_empty());
        }
    }

    #[test]
    fn remembered_refusals_are_bounded() {
        let (mut tries, now) = (Retries::default(), Instant::now());
        for ordinal in 0..100 {
            tries.hold(refusal(Step::DeleteClaim(ordinal), "no"), now);
        }
        assert_eq!(
            tries.refresh_refusals(&Observed::default(), now).len(),
            REFUSED_REMEMBERED
        );
    }
}
