//! bcrypt on its own threads, a few at a time, so that other requests are not blocked, in an order
//! that prevents one client from starving another (`queue`).

use std::sync::Arc;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use witan_base::{client_network::ClientNetwork, panics};

use super::{password, queue::PasswordQueue, verified::VerifiedPasswords};

/// Default cost, also used instead of an invalid one, as in etcd.
const COST: u32 = 10;

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The password is longer than bcrypt accepts.
    #[error("password length exceeds 72 bytes")]
    TooLong,
    /// Too many passwords wait, or this one has waited too long.
    #[error("too many passwords wait to be checked; try again later")]
    TooMany,
    /// There are no random numbers, or the hashing thread failed.
    #[error("bcrypt failed")]
    Failed,
}

/// Who has sent a password; the queue is fair among them.
#[derive(Clone, Copy, Debug)]
pub struct PasswordSource<'a> {
    /// Network of the client.
    pub client: ClientNetwork,
    /// Name of the user as sent; the user may not exist.
    pub user: &'a str,
}

/// Hashes and compares passwords, and caches verified ones.
#[derive(Debug)]
pub struct PasswordHasher {
    cost: u32,
    queue: Arc<PasswordQueue>,
    verified: VerifiedPasswords,
    /// Hash that the password of an unknown user is compared with, so that the response time does
    /// not reveal that the user is unknown.
    dummy_hash: Bytes,
    random: SystemRandom,
}

impl PasswordHasher {
    /// Makes a hasher with this cost and as many concurrent hashes as there are processors. An invalid cost
    /// is replaced by the default.
    pub(super) fn new(cost: u32) -> Result<Self, HashError> {
        let known = password::COSTS.contains(&cost);
        if !known {
            tracing::warn!(
                given = cost,
                cost = COST,
                "invalid bcrypt cost; using the default"
            );
        }
        let cost = if known { cost } else { COST };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let random = SystemRandom::new();
        Ok(Self {
            cost,
            queue: Arc::new(PasswordQueue::new(threads)),
            verified: VerifiedPasswords::new(&random).map_err(|_| HashError::Failed)?,
            dummy_hash: password::dummy_hash(cost).into(),
            random,
        })
    }

    /// Hashes a password with a random salt, on a hashing thread.
    pub async fn hash(
        &self,
        sender: PasswordSource<'_>,
        password: String,
    ) -> Result<Bytes, HashError> {
        if password.len() > password::BYTES_MAX {
            return Err(HashError::TooLong);
        }
        let mut salt = [0; 16];
        let drawn = self.random.fill(&mut salt);
        drawn.map_err(|_| HashError::Failed)?;
        let cost = self.cost;
        let hashed = self
            .on_hashing_thread(sender, move || password::hash(&password, cost, salt))
            .await?;
        hashed.map(Bytes::from)
    }

    /// Whether a password matches a stored hash. Without a hash the result is `false` after the
    /// same time. A password that was verified before needs no hashing.
    pub async fn matches(
        &self,
        sender: PasswordSource<'_>,
        password: &str,
        hashed: Option<&Bytes>,
    ) -> Result<bool, HashError> {
        // longer ones are never hashed, so they match nothing
        if password.len() > password::BYTES_MAX {
            return Ok(false);
        }
        if hashed.is_some_and(|hashed| self.verified.contains(password, hashed)) {
            return Ok(true);
        }
        let (given, stored) = (
            password.to_owned(),
            hashed.unwrap_or(&self.dummy_hash).clone(),
        );
        let matches = self
            .on_hashing_thread(sender, move || password::matches(&given, &stored))
            .await?;
        if let Some(hashed) = hashed.filter(|_| matches) {
            self.verified.insert(password, hashed);
        }
        Ok(matches && hashed.is_some())
    }

    /// Waits for a permit of the queue and runs `work` on a blocking thread. The permit is held
    /// until the work ends, even if the caller is dropped.
    async fn on_hashing_thread<T: Send + 'static>(
        &self,
        PasswordSource { client, user }: PasswordSource<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let held = self.queue.enter(client, user).await?;
        // the caller may be dropped; the permit is held until the work is done
        let done = panics::run_blocking(move || {
            let _held = held;
            work()
        });
        done.await.map_err(|_| HashError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Slow enough for ratios, fast enough for a test.
    const TEST_COST: u32 = 8;

    fn sender(user: &str) -> PasswordSource<'_> {
        PasswordSource { client: ClientNetwork::default(), user }
    }

    async fn took(answer: impl Future<Output = Result<bool, HashError>>) -> (bool, Duration) {
        let begun = Instant::now();
        let answer = answer.await.unwrap();
        (answer, begun.elapsed())
    }

    #[tokio::test]
    async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
        let hashing = PasswordHasher::new(TEST_COST).unwrap();
        let hashed = hashing.hash(sender("a"), "right".into()).await.unwrap();
        let (mut known, mut unknown) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..5 {
            let (no, time) = took(hashing.matches(sender("a"), "wrong", Some(&hashed))).await;
            assert!(!no);
            known += time;
            let (no, time) = took(hashing.matches(sender("b"), "wrong", None)).await;
            assert!(!no);
            unknown += time;
        }
        assert!(
            unknown * 3 > known && known * 3 > unknown,
            "{known:?} {unknown:?}"
        );
        let (no, time) = took(hashing.matches(sender("b"), "", None)).await;
        assert!(!no && time * 15 > known, "no password of nobody's");
    }

    #[tokio::test]
    async fn a_verified_password_is_not_hashed_again_until_it_changes() {
        let hashing = PasswordHasher::new(TEST_COST).unwrap();
        let hashed = hashing.hash(sender("a"), "right".into()).await.unwrap();
        let (yes, first) = took(hashing.matches(sender("a"), "right", Some(&hashed))).await;
        let (again, second) = took(hashing.matches(sender("a"), "right", Some(&hashed))).await;
        assert!(yes && again && second * 4 < first, "{first:?} {second:?}");
        let changed = hashing.hash(sender("a"), "other".into()).await.unwrap();
        let (no, _) = took(hashing.matches(sender("a"), "right", Some(&changed))).await;
        assert!(!no);
    }

    #[tokio::test]
    async fn too_long_passwords_are_refused_without_hashing() {
        let hashing = PasswordHasher::new(TEST_COST).unwrap();
        let long = "x".repeat(73);
        let refused = hashing.hash(sender("a"), long.clone()).await;
        assert_eq!(refused, Err(HashError::TooLong));
        assert_eq!(hashing.matches(sender("a"), &long, None).await, Ok(false));
    }
}
