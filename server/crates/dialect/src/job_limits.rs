//! How many jobs over the whole store run at once.

use witan_node::{Job, NodeError};

use super::{
    Context,
    fair_semaphore::{FairPermit, FairSemaphore},
};

/// Jobs over the whole store at once; others wait. Hashes and defragmentations share one such limit, large
/// ranges and transactions another.
const JOBS_MAX: usize = 4;

/// Snapshots and recordings that are sent at once; more are refused, because each lasts as long as its receiver
/// likes.
const SNAPSHOTS_MAX: usize = 2 * JOBS_MAX;

/// Limits how many hash and defragment jobs, large reads and snapshots run at once. Clones share
/// the limits.
#[derive(Clone, Debug)]
pub struct JobLimits {
    /// For scans of the whole store.
    pub scans: FairSemaphore,
    /// For requests that read many keys.
    pub reads: FairSemaphore,
    /// For snapshots and recordings, which are refused instead of waiting.
    pub snapshots: FairSemaphore,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            scans: FairSemaphore::new(JOBS_MAX),
            reads: FairSemaphore::new(JOBS_MAX),
            snapshots: FairSemaphore::new(SNAPSHOTS_MAX),
        }
    }
}

impl Context {
    /// Starts a scan of the whole store as soon as the client has a permit for one.
    pub async fn scan(&self) -> Result<Job<FairPermit>, NodeError> {
        let permit = self.job_limits.scans.take(self.node.client()).await?;
        self.node.job(permit).await
    }

    /// Starts a read of many keys as soon as the client has a permit for one.
    pub async fn large_read(&self) -> Result<Job<FairPermit>, NodeError> {
        let permit = self.job_limits.reads.take(self.node.client()).await?;
        self.node.job(permit).await
    }
}
