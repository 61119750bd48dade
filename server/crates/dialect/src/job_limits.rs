//! How many jobs over the whole store run at once.

use witan_base::client_network::ClientNetwork;
use witan_node::NodeError;

use super::{
    blocking::run_in,
    fair_semaphore::{FairPermit, FairSemaphore},
};

/// Jobs over the whole store that run at once, of each kind: hash and defragment jobs, and large ranges and
/// transactions. Others wait.
const JOBS_MAX: usize = 4;

/// Snapshots and recordings that are sent at once, at the pace of who receives them; more are refused.
const SNAPSHOTS_MAX: usize = 2 * JOBS_MAX;

/// Limits how many hash and defragment jobs, large reads and snapshots run at once. Clones share
/// the limits.
#[derive(Clone, Debug)]
pub struct JobLimits {
    scans: FairSemaphore,
    reads: FairSemaphore,
    snapshots: FairSemaphore,
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

impl JobLimits {
    /// Takes a permit for a snapshot or a recording for a client; `None` if all permits, or those of the client's network, are taken.
    pub fn snapshot(&self, client: ClientNetwork) -> Option<FairPermit> {
        self.snapshots.try_take(client)
    }

    /// Waits for a permit for a client's request that reads many keys.
    pub async fn large_read(&self, client: ClientNetwork) -> Result<FairPermit, NodeError> {
        self.reads.take(client).await
    }

    /// Waits for a permit for a client's scan of the whole store.
    pub async fn scan(&self, client: ClientNetwork) -> Result<FairPermit, NodeError> {
        self.scans.take(client).await
    }

    /// Runs `work` on another thread as soon as the client has a permit for a scan.
    pub async fn run<T: Send + 'static>(
        &self,
        client: ClientNetwork,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let permit = self.scan(client).await?;
        run_in(permit, work).await
    }
}
