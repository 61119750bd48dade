//! Runs bcrypt on separate threads, a few passwords at a time, so that hashing does not block other requests. Each password is
//! a job of its connection's account, so that one connection cannot delay all other connections.

use std::time::Duration;

use bytes::Bytes;
use ring::rand::{self, SystemRandom};
use tokio::time::timeout;
use witan_base::{
    account::{Account, JobKind, Resource},
    panics,
};

use super::{password, verified::VerifiedPasswords};

/// Maximum time for which a password waits for a permit. Clients time out earlier.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default bcrypt cost, which also replaces an invalid cost, as in etcd.
const COST: u32 = 10;

/// The reason why a password was not hashed or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The password is longer than bcrypt accepts.
    #[error("password length exceeds 72 bytes")]
    TooLong,
    /// Too many passwords are waiting, or this password has waited too long.
    #[error("too many passwords are waiting to be checked; try again later")]
    TooMany,
    /// The system returned no random numbers, or the hashing thread failed.
    #[error("bcrypt failed")]
    Failed,
}

/// Hashes passwords, compares them with hashes, and caches verified passwords.
#[derive(Debug)]
pub struct PasswordHasher {
    cost: u32,
    verified: VerifiedPasswords,
    /// The hash with which an unknown user's password is compared, so that response times do not reveal which users exist.
    dummy_hash: Bytes,
}

impl PasswordHasher {
    /// Creates a hasher. Replaces an invalid cost and logs a warning. Fails if the system provides no random numbers.
    pub(super) fn new(mut cost: u32) -> Result<Self, HashError> {
        if !password::COSTS.contains(&cost) {
            tracing::warn!(
                given = cost,
                cost = COST,
                "invalid bcrypt cost; using the default"
            );
            cost = COST;
        }
        Ok(Self {
            cost,
            verified: VerifiedPasswords::new().map_err(|_| HashError::Failed)?,
            dummy_hash: password::dummy_hash(cost).into(),
        })
    }

    /// Returns the hash of a password with a random salt. Fails with `TooLong` if the password exceeds
    /// `password::BCRYPT_BYTES`. Fails with `TooMany` if too many passwords are waiting or this password has waited too long.
    pub async fn hash(&self, account: &Account, password: String) -> Result<Bytes, HashError> {
        if password.len() > password::BCRYPT_BYTES {
            return Err(HashError::TooLong);
        }
        let salt = rand::generate::<[u8; 16]>(&SystemRandom::new());
        let salt = salt.map_err(|_| HashError::Failed)?.expose();
        let cost = self.cost;
        let work = move || password::hash(&password, cost, salt);
        let hashed = self.on_hashing_thread(account, work).await?;
        hashed.map(Bytes::from)
    }

    /// Returns whether a password matches the stored hash `hashed`. If `hashed` is `None`, compares with a dummy hash, which
    /// takes as long, and returns `false`. Skips hashing for a recently verified password and for a password above
    /// `password::BCRYPT_BYTES`, which never matches. Fails with `TooMany` if too many passwords are waiting or this password
    /// has waited too long.
    pub(super) async fn matches(
        &self,
        account: &Account,
        password: &str,
        hashed: Option<&Bytes>,
    ) -> Result<bool, HashError> {
        // A password can fill an entire request, and no account is charged for its copy.
        if password.len() > password::BCRYPT_BYTES {
            return Ok(false);
        }
        if hashed.is_some_and(|hashed| self.verified.contains(password, hashed)) {
            return Ok(true);
        }
        let given = password.to_owned();
        let stored = hashed.unwrap_or(&self.dummy_hash).clone();
        let work = move || password::matches(&given, &stored);
        let matches = self.on_hashing_thread(account, work).await?;
        if let Some(hashed) = hashed.filter(|_| matches) {
            self.verified.insert(password, hashed);
        }
        Ok(matches && hashed.is_some())
    }

    /// Waits for a permit and runs `work` on a blocking thread, which keeps the permit even if the caller is dropped. Fails
    /// with `TooMany` after [`WAIT_TIMEOUT`], or immediately if too many passwords are waiting.
    async fn on_hashing_thread<T: Send + 'static>(
        &self,
        account: &Account,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let waiting = account.hold(Resource::Passwords, 1);
        let waiting = waiting.ok_or(HashError::TooMany)?;
        let account = account.clone();
        let hashed = panics::in_task(async move {
            let permit = timeout(WAIT_TIMEOUT, account.permit(JobKind::Password)).await;
            let permit = permit.map_err(|_| HashError::TooMany)?;
            drop(waiting);
            let done = panics::run_blocking(move || {
                let _permit = permit;
                work()
            });
            done.await.map_err(|_| HashError::Failed)
        });
        hashed.await.map_err(|_| HashError::Failed)?
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::future::join_all;
    use witan_base::{account::Totals, metrics::Register};

    use super::*;

    /// A cost that makes durations comparable but keeps the test short.
    const TEST_COST: u32 = 8;

    fn totals() -> Totals {
        Totals::register(&Register::default(), u64::MAX)
    }

    /// Checks a password five times. Returns the answer and the shortest time, which depends least on other processes.
    async fn fastest(
        (hashing, account): (&PasswordHasher, &Account),
        password: &str,
        hashed: Option<&Bytes>,
    ) -> (bool, Duration) {
        let (mut answers, mut shortest) = (Vec::new(), Duration::MAX);
        for _ in 0..5 {
            let begun = Instant::now();
            answers.push(hashing.matches(account, password, hashed).await.unwrap());
            shortest = shortest.min(begun.elapsed());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        (answers[0], shortest)
    }

    #[tokio::test]
    async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
        let (hashing, account) = (PasswordHasher::new(TEST_COST).unwrap(), totals().open());
        let hashed = hashing.hash(&account, "right".into()).await.unwrap();
        let hasher = (&hashing, &account);
        let (no, known) = fastest(hasher, "wrong", Some(&hashed)).await;
        assert!(!no);
        for password in ["wrong", ""] {
            let (no, unknown) = fastest(hasher, password, None).await;
            assert!(!no);
            assert!(
                unknown * 3 > known && known * 3 > unknown,
                "{password:?}: {known:?} {unknown:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_verified_password_is_not_hashed_again_until_it_changes() {
        let (hashing, account) = (PasswordHasher::new(TEST_COST).unwrap(), totals().open());
        let hashed = hashing.hash(&account, "right".into()).await.unwrap();
        let hasher = (&hashing, &account);
        let (no, hashing_time) = fastest(hasher, "wrong", Some(&hashed)).await;
        let (yes, cached_time) = fastest(hasher, "right", Some(&hashed)).await;
        assert!(!no && yes);
        assert!(
            cached_time * 4 < hashing_time,
            "{cached_time:?} {hashing_time:?}"
        );
        let changed = hashing.hash(&account, "other".into()).await.unwrap();
        assert!(!fastest(hasher, "right", Some(&changed)).await.0);
    }

    #[tokio::test]
    async fn a_flood_of_one_connection_delays_another_by_a_few_hashes() {
        let (hashing, totals) = (PasswordHasher::new(TEST_COST).unwrap(), totals());
        let (flood, bystander) = (totals.open(), totals.open());
        let mut crowd = Box::pin(join_all((0..200).map(|at| {
            let (hashing, flood) = (&hashing, &flood);
            async move { hashing.matches(flood, &format!("wrong{at}"), None).await }
        })));
        let own = hashing.matches(&bystander, "own", None);
        tokio::select! {
            biased;
            _ = &mut crowd => panic!("the flood was served first"),
            own = own => assert_eq!(own, Ok(false)),
        }
    }

    #[tokio::test]
    async fn the_number_of_waiting_passwords_is_bounded() {
        let (hashing, totals) = (PasswordHasher::new(TEST_COST).unwrap(), totals());
        let (flood, bystander) = (totals.open(), totals.open());
        let _waiting = flood.hold(Resource::Passwords, Resource::Passwords.limit() / 2);
        let refused = hashing.matches(&flood, "one more", None).await;
        assert_eq!(refused, Err(HashError::TooMany));
        let long = "x".repeat(73);
        let unequal = hashing.matches(&flood, &long, None).await;
        assert_eq!(unequal, Ok(false), "a long password does not wait");
        let refused = hashing.hash(&flood, long).await;
        assert_eq!(refused, Err(HashError::TooLong));
        let served = hashing.matches(&bystander, "own", None).await;
        assert_eq!(served, Ok(false));
    }
}
