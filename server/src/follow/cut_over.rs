//! The cut-over: the source takes no more writes, what it has written last is copied, and this cluster takes writes.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;
use witan_api::v3::etcdserverpb::alarm_request::AlarmAction;
use witan_machine::follow::{CutOver, FollowError, FollowOperation};

use super::copier::{Copier, CopyError};

/// The revisions that may be missing before the source takes no more writes.
const LAG_MAX: i64 = 5000;

/// How long the source may be fenced before this cluster is asked to take writes; then it takes them again.
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Somebody asks for the cut-over.
pub(super) type CutOverRequest = oneshot::Sender<Result<CutOverReport, CutOverRefused>>;

/// What the cut-over did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CutOverReport {
    /// The source's last revision, and this cluster's first own one is behind it.
    pub(crate) revision: i64,
    /// Milliseconds in which neither of them took writes.
    pub(crate) pause_ms: u64,
}

/// Why the cut-over was not done. The source takes writes, this cluster follows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CutOverRefused {
    /// The keys are not the same.
    #[error(
        "the keys differ from the source's at revision {0}: stop the members, remove their data directories and begin again"
    )]
    Differs(i64),
    /// The source was compacted during the comparison.
    #[error("the source was compacted while the keys were compared: try again")]
    NotCompared,
    /// Too much is missing.
    #[error("{0} revisions of the source are not copied yet: try again")]
    Lags(i64),
    /// This member does not follow, or the source is not reached.
    #[error("{0}")]
    Failed(String),
}

impl Copier<'_> {
    /// Does the cut-over and answers who asked for it. Returns whether it is done.
    pub(super) async fn answer_cut_over(&mut self, to: CutOverRequest) -> Result<bool, CopyError> {
        let outcome = self.cut_over().await;
        let (answer, done) = match outcome {
            Ok(Ok(report)) => (Ok(report), Ok(true)),
            Ok(Err(refused)) => (Err(refused), Ok(false)),
            Err(error) => (Err(CutOverRefused::Failed(error.to_string())), Err(error)),
        };
        // who asked may have gone
        let _ = to.send(answer);
        if let Ok(true) = done {
            self.compare_after().await;
        }
        done
    }

    async fn cut_over(&mut self) -> Result<Result<CutOverReport, CutOverRefused>, CopyError> {
        self.sync().await?;
        self.sync_users(true).await?;
        match self.compare().await? {
            Some(true) => {}
            Some(false) => return Ok(Err(CutOverRefused::Differs(self.revision))),
            None => return Ok(Err(CutOverRefused::NotCompared)),
        }
        let there = self
            .session
            .revision()
            .await
            .map_err(|status| self.refused(status))?;
        if there - self.revision > LAG_MAX {
            return Ok(Err(CutOverRefused::Lags(there - self.revision)));
        }
        let begun = Instant::now();
        let revision = match self.fence().await {
            Ok(revision) => revision,
            Err(error) => {
                self.lift_fence().await;
                return Err(error);
            }
        };
        // From here on the source stays fenced unless it is certain that this cluster takes no writes.
        let cut_over = CutOver { revision };
        match self.propose(FollowOperation::CutOver(cut_over)).await {
            // an earlier proposal, whose answer was lost, has done it
            Ok(()) | Err(CopyError::Refused(FollowError::NotFollowing)) => {}
            Err(error @ CopyError::Refused(_)) => {
                self.lift_fence().await;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let pause_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            revision,
            pause_ms,
            "this cluster has taken over; the source takes no more writes"
        );
        self.handle.taken_over(revision);
        Ok(Ok(CutOverReport { revision, pause_ms }))
    }

    /// Has the source refuse writes, and copies what it has written last, all within [`FENCE_TIMEOUT`]. Returns the
    /// source's last revision.
    async fn fence(&mut self) -> Result<i64, CopyError> {
        let fenced = timeout(FENCE_TIMEOUT, async {
            let fenced = self.session.fence(AlarmAction::Activate).await;
            fenced.map_err(|status| self.refused(status))?;
            let last = self
                .session
                .revision()
                .await
                .map_err(|status| self.refused(status))?;
            self.copy_to(last).await?;
            self.sync_leases().await?;
            Ok(last)
        });
        let late = || Status::deadline_exceeded(format!("it was not copied in {FENCE_TIMEOUT:?}"));
        fenced.await.unwrap_or_else(|_| Err(self.refused(late())))
    }

    /// Lets the source take writes again. It may be fenced although it did not say so, and the member that was asked may
    /// be gone.
    async fn lift_fence(&self) {
        if let Err(status) = self.session.source.lift_fence().await {
            let status = status.message();
            tracing::error!(
                status,
                "failed to let the source take writes again: etcdctl alarm disarm does it"
            );
        }
    }
}
