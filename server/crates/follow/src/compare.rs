//! Compares this cluster's keys with the source's keys by HashKV, the hash that etcd's members compare with each other.

use std::time::{Duration, Instant};

use witan_machine::{follow::FollowOperation, kv::Compact, revision::Revision, view::View};
use witan_snapshot as snapshot;

use super::{copier::Copier, error::CopyError, source::SourceHash};

/// Minimum time between two comparisons.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// A member of the source spends at most 1/20 of its time on hashes, because hashing reads all keys.
const COMPARE_SHARE: u32 = 20;

impl Copier<'_> {
    /// Compares the keys like [`Self::compare`], unless the last comparison was recent.
    pub(super) async fn compare_if_due(&mut self) -> Result<(), CopyError> {
        if Instant::now() < self.compare_at {
            return Ok(());
        }
        let begun = Instant::now();
        self.compare().await?;
        let pause = COMPARE_INTERVAL.max(begun.elapsed() * COMPARE_SHARE);
        self.compare_at = Instant::now() + pause;
        Ok(())
    }

    /// Copies revisions up to the source's revision, compacts this cluster to the source's compacted revision, and compares the
    /// hashes. Returns whether the hashes are equal, or `None` if the source was compacted further before the comparison.
    /// Records the result in the status, unless the result is `None`.
    pub(super) async fn compare(&mut self) -> Result<Option<bool>, CopyError> {
        let there = self.source_hash().await?;
        self.copy_to(there.revision).await?;
        if there.compacted > 0 {
            let compact = Compact { revision: there.compacted };
            let compact = FollowOperation::Compact(compact);
            self.calls.propose(compact).await?;
        }
        self.compare_with(there).await
    }

    /// Requests the source's hash and copies revisions until the response arrives.
    async fn source_hash(&mut self) -> Result<SourceHash, CopyError> {
        let session = self.calls.session.clone();
        let mut asked = std::pin::pin!(session.hash());
        loop {
            let revisions = tokio::select! {
                there = &mut asked => return Ok(there?),
                revisions = self.next_revisions() => revisions?,
            };
            self.write(revisions).await?;
        }
    }

    /// Compares the keys after the cut-over, when the source no longer changes. Records the result in the status. If the keys
    /// cannot be compared, only logs the reason.
    pub(super) async fn compare_after_cut_over(&self) {
        let compared = match self.calls.session.hash().await {
            Ok(there) => self.compare_with(there).await,
            Err(error) => Err(error.into()),
        };
        match compared {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!(
                "the keys were not compared after the cut-over: the source was compacted first"
            ),
            Err(error) => tracing::warn!(%error, "the keys were not compared after the cut-over"),
        }
    }

    /// Hashes this cluster's keys at the revision of the source's hash. Returns whether the hashes are equal, or `None` if the
    /// compacted revisions differ. Records the result in the status, unless the result is `None`.
    async fn compare_with(&self, there: SourceHash) -> Result<Option<bool>, CopyError> {
        self.calls.node.read().await?;
        let job = self.calls.node.job(()).await?;
        if job.machine.kv.compacted().0.max(0) != there.compacted.max(0) {
            return Ok(None);
        }
        let end = job.end_signal();
        let hash = move |view: &View| {
            snapshot::of_versions(
                end.until_told(view.machine.kv.hashed_versions(Revision(there.revision))),
            )
        };
        let (here, ()) = job.run(hash).await?;
        let equal = here == there.hash;
        self.calls.handle.compared(there.revision, equal);
        Ok(Some(equal))
    }
}
