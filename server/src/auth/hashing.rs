//! bcrypt aside: on threads of their own, a few at a time, so that no other request waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{sync::Semaphore, task};

use super::password;

/// Cost in place of one that bcrypt does not know, as in etcd.
const COST: u32 = 10;

/// Passwords that wait to be hashed; more are refused.
const WAITING_MAX: usize = 4096;

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// bcrypt would cut it.
    #[error("password length exceeds 72 bytes")]
    TooLong,
    /// Too many wait.
    #[error("too many requests")]
    TooMany,
    /// The thread or its random numbers failed.
    #[error("bcrypt failed")]
    Failed,
}

/// See the module's description.
#[derive(Debug)]
pub struct Hashing {
    cost: u32,
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
    random: SystemRandom,
}

/// Gives a place back.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Hashing {
    /// Hashes at this cost, on as many threads as there are processors.
    pub(super) fn new(cost: u32) -> Self {
        let known = password::COSTS.contains(&cost);
        if !known {
            tracing::warn!(given = cost, cost = COST, "bcrypt knows no such cost");
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cost: if known { cost } else { COST },
            threads: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
            random: SystemRandom::new(),
        }
    }

    /// The hash of a password.
    pub async fn hash(&self, password: String) -> Result<Bytes, HashError> {
        let mut salt = [0; 16];
        let drawn = self.random.fill(&mut salt);
        drawn.map_err(|_| HashError::Failed)?;
        let cost = self.cost;
        let hashed = self
            .aside(move || password::hash(&password, cost, salt))
            .await?;
        hashed.map(Bytes::from).map_err(|_| HashError::TooLong)
    }

    /// Whether a hash is this password's.
    pub async fn matches(&self, password: String, hashed: Bytes) -> Result<bool, HashError> {
        self.aside(move || password::matches(&password, &hashed))
            .await
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let before = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= WAITING_MAX {
            return Err(HashError::TooMany);
        }
        let permit = self.threads.clone().acquire_owned().await;
        let permit = permit.map_err(|_| HashError::Failed)?;
        // whoever waits may go meanwhile; the work keeps its place until it is done
        let done = task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|_| HashError::Failed)
    }
}
