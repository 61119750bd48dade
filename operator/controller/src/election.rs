//! Leader election among operator replicas with a Lease of `coordination.k8s.io/v1`.
//!
//! The holder renews the lease. Another replica takes the lease once it has observed no change for the lease's duration, so
//! clocks need not agree. The identity is the pod's name, so a restarted container still holds the lease.
//!
//! A replica that cannot renew in time must stop before another replica acts: [`Election::lost`] completes, and the process
//! exits.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time without a renewal after which a holder stops acting. This deadline is shorter than the lease, so two replicas never act
/// at the same time.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_PERIOD: Duration = Duration::from_secs(2);

pub(crate) struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

/// The last observed version of the lease, and when this version was first observed.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    lease: Lease,
    changed: Instant,
}

impl Election {
    /// Prepares the election without contacting the API server. `name` is the name of the Lease, and `identity` distinguishes
    /// this process from all other candidates.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Waits until this process holds the lease, and logs failed attempts. Returns the start time of the successful attempt.
    pub(crate) async fn won(&self) -> Instant {
        let mut seen: Option<Seen> = None;
        let mut reported = String::new();
        let mut attempts = tokio::time::interval(RETRY_PERIOD);
        loop {
            attempts.tick().await;
            let started = Instant::now();
            let attempt = tokio::time::timeout(RENEW_DEADLINE, self.attempt(&mut seen));
            let Ok(attempt) = attempt.await else {
                tracing::warn!(lease = self.name, "timed out acquiring the lease; retrying");
                continue;
            };
            match attempt {
                Ok(true) => {
                    tracing::info!(
                        lease = self.name,
                        identity = self.identity,
                        "acquired the lease; this replica is active"
                    );
                    return started;
                }
                Ok(false) => {
                    let holder = seen.as_ref().and_then(|seen| holder(&seen.lease));
                    let holder = holder.cloned().unwrap_or_default();
                    if holder != reported {
                        tracing::info!(
                            lease = self.name,
                            holder,
                            "another replica holds the lease; waiting"
                        );
                        reported = holder;
                    }
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "failed to acquire the lease; retrying")
                }
            }
        }
    }

    /// Renews the lease, which was taken at `renewed`. Completes once renewing has failed for `RENEW_DEADLINE`, or another
    /// process holds the lease. The deadline runs from the start of the last successful attempt, because for other processes,
    /// the lease starts when it is written.
    pub(crate) async fn lost(&self, mut renewed: Instant) {
        let mut seen = None;
        let mut attempts = tokio::time::interval(RETRY_PERIOD);
        while renewed.elapsed() < RENEW_DEADLINE {
            attempts.tick().await;
            let remaining = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            let started = Instant::now();
            match tokio::time::timeout(remaining, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => renewed = started,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "failed to renew the lease; retrying")
                }
                Err(_) => tracing::warn!(lease = self.name, "timed out renewing the lease"),
            }
        }
    }

    /// Releases the lease if this process holds it, so that another replica can take the lease before it expires. Only logs a
    /// failure.
    pub(crate) async fn release(&self) {
        match tokio::time::timeout(RETRY_PERIOD, self.try_release()).await {
            Ok(Ok(true)) => tracing::info!(lease = self.name, "released the lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "failed to release the lease; it will expire")
            }
            Err(_) => tracing::warn!(
                lease = self.name,
                "timed out releasing the lease; it will expire"
            ),
        }
    }

    /// Releases the lease. Returns `false` and writes nothing if this process does not hold it.
    async fn try_release(&self) -> Result<bool, kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        if holder(&lease) != Some(&self.identity) {
            return Ok(false);
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        let params = PostParams::default();
        self.leases.replace(&self.name, &params, &lease).await?;
        Ok(true)
    }

    /// Tries once to create, take or renew the lease. Returns whether this process then holds the lease; `false` if another
    /// process holds it or was faster. Updates `seen`, the last observed lease.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..Default::default() },
                spec: Some(self.held(None)),
            };
            return won_race(self.leases.create(&PostParams::default(), &lease).await);
        };
        let now = Instant::now();
        let seen = match seen {
            Some(known)
                if known.lease.metadata.resource_version == lease.metadata.resource_version =>
            {
                known
            }
            other => other.insert(Seen { lease, changed: now }),
        };
        if !is_free(seen, &self.identity, now) {
            return Ok(false);
        }
        let spec = Some(self.held(seen.lease.spec.as_ref()));
        let lease = Lease { spec, ..seen.lease.clone() };
        let params = PostParams::default();
        won_race(self.leases.replace(&self.name, &params, &lease).await)
    }

    /// Returns a lease spec with this process as the holder. `before` is the current spec, if the lease exists. Counts a
    /// transition if the holder changes.
    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let before = before.cloned().unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        let acquired = before.acquire_time.filter(|_| ours);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: acquired.or_else(|| now.clone()),
            renew_time: now,
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }
}

/// Returns the identity of the holder of a lease; `None` or an empty string if nobody holds it.
fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// Returns whether this process may write the lease: this process holds it, nobody holds it, or it has expired.
fn is_free(seen: &Seen, identity: &str, now: Instant) -> bool {
    let spec = seen.lease.spec.as_ref();
    let granted = spec.and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
    let granted = granted.map_or(LEASE_DURATION, Duration::from_secs);
    let holder = holder(&seen.lease).map_or("", String::as_str);
    holder.is_empty() || holder == identity || now.duration_since(seen.changed) > granted
}

/// Converts a lost race (409) to `Ok(false)`. The next attempt observes the other process's lease.
fn won_race(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, age: Duration) -> (Seen, Instant) {
        let changed = Instant::now();
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let lease = Lease { spec: Some(spec), ..Lease::default() };
        (Seen { lease, changed }, changed + age)
    }

    fn free(holder: &str, age_s: u64) -> bool {
        let (seen, now) = seen(holder, Duration::from_secs(age_s));
        is_free(&seen, "me", now)
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_expired() {
        assert!(free("", 0));
        assert!(!free("other", 0));
        assert!(!free("other", 15));
        assert!(free("other", 16));
        assert!(free("me", 0), "a restarted holder does not wait");
    }

    #[tokio::test]
    async fn only_the_holder_releases_the_lease() {
        for (held_by, released, holder) in [("me", true, ""), ("other", false, "other")] {
            let fake = crate::testing::api::FakeApi::default();
            fake.put(serde_json::json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"namespace": "ns", "name": "lease"},
                "spec": {"holderIdentity": held_by},
            }));
            let election = Election::new(fake.client(), "ns", "lease", "me");
            assert_eq!(election.try_release().await.unwrap(), released);
            let lease = fake.get("/leases/lease").unwrap();
            assert_eq!(lease["spec"]["holderIdentity"], holder);
        }
    }

    /// The lease was written long before the API server answered, so another process may already have taken it.
    #[tokio::test]
    async fn a_lease_that_was_taken_too_long_ago_is_lost() {
        let client = crate::testing::api::FakeApi::default().client();
        let election = Election::new(client, "ns", "lease", "me");
        let taken = Instant::now() - RENEW_DEADLINE;
        let lost = tokio::time::timeout(Duration::from_secs(1), election.lost(taken)).await;
        assert!(lost.is_ok());
    }
}
