//! The status of following and the channel for cut-over requests.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use witan_base::sync::Mutex;

use super::{error::CopyError, fence::Guarded, metrics::FollowMetrics, seed::SnapshotFolder};

/// This member's progress in following its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowStatus {
    /// Whether this cluster still follows the source; `false` after the cut-over.
    pub following: bool,
    /// The client URLs of the source's members.
    pub source: Vec<String>,
    /// The endpoint of the current session, or `None` while the source is unreachable.
    pub endpoint: Option<String>,
    /// The last copied revision.
    pub revision: i64,
    /// The source's last known revision.
    pub source_revision: i64,
    /// Number of revisions that are not copied yet. After the cut-over, the number of revisions that only the source has.
    pub lag: i64,
    /// Number of comparisons with equal hashes since this member started.
    pub equal: u64,
    /// Number of comparisons with different hashes since this member started.
    pub different: u64,
    /// Revision of the last comparison with equal hashes; 0 if there was none.
    pub last_equal_revision: i64,
    /// Whether a running, finished or failed cut-over, of this or another cluster, makes the source refuse writes.
    pub fenced: bool,
    /// Whether this member checks the fence: from the cut-over until an operator declares the source gone.
    pub guarding: bool,
    /// Number of times that this member has raised the fence again, since it started.
    pub raised_again: u64,
    /// The reason why following is interrupted, or why a cut-over is impossible.
    pub error: Option<String>,
}

impl FollowStatus {
    /// Records that this cluster has copied all revisions up to `revision`.
    pub(super) fn copied(&mut self, revision: i64) {
        self.revision = revision;
        self.source_revision = self.source_revision.max(revision);
    }
}

/// A request for a cut-over: the sender for its result.
pub(super) type CutOverRequest = oneshot::Sender<Result<CutOverReport, CutOverRefused>>;

/// The result of a cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CutOverReport {
    /// The last revision of the source. The next write to this cluster gets the following revision.
    pub revision: i64,
    /// Time in milliseconds during which neither cluster accepted writes.
    pub pause_ms: u64,
}

/// The reason why a cut-over did not take place. A cluster that followed the source still follows it, unless an attempt with an
/// unknown result takes effect. The source accepts writes unless the status reports that it is fenced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum CutOverRefused {
    #[error(
        "the keys differ from the source's keys at revision {0}; stop this cluster's members, remove their data directories, \
         and start over"
    )]
    Differs(i64),
    #[error("the source was compacted while the keys were being compared; try again")]
    NotCompared,
    #[error("{0} revisions of the source are not copied yet; try again")]
    Lags(i64),
    #[error(
        "the keys take {used} bytes, but --quota-backend-bytes allows only {quota}; start the members with a larger quota first"
    )]
    Quota { used: u64, quota: u64 },
    /// This member does not follow, the source is unreachable, or the attempt failed.
    #[error("{0}")]
    Failed(String),
}

/// The status and the requests of the task that follows the source, shared with other tasks.
#[derive(Clone, Debug)]
pub struct FollowHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: Mutex<FollowStatus>,
    metrics: FollowMetrics,
    requests: mpsc::Sender<CutOverRequest>,
    folder: SnapshotFolder,
}

impl FollowHandle {
    /// Creates the handle of a member that follows `source`, and the receiver of its cut-over requests.
    pub(super) fn new(
        source: &[String],
        folder: SnapshotFolder,
        metrics: FollowMetrics,
    ) -> (Self, mpsc::Receiver<CutOverRequest>) {
        // Only one cut-over runs at a time. The channel holds one request that waits until the running cut-over ends.
        let (requests, taken) = mpsc::channel(1);
        let status = FollowStatus {
            following: true,
            source: source.to_vec(),
            ..FollowStatus::default()
        };
        let inner = Inner { status: Mutex::new(status), metrics, requests, folder };
        (Self(Arc::new(inner)), taken)
    }

    /// Returns a copy of the status.
    pub fn status(&self) -> FollowStatus {
        self.0.status.lock().clone()
    }

    pub(super) fn folder(&self) -> &SnapshotFolder {
        &self.0.folder
    }

    /// Changes the status, recomputes its lag and updates the metrics.
    pub(super) fn update(&self, change: impl FnOnce(&mut FollowStatus)) {
        let mut status = self.0.status.lock();
        change(&mut status);
        status.lag = (status.source_revision - status.revision).max(0);
        self.0.metrics.show(&status);
    }

    /// Records, counts and logs whether the keys were equal to the source's keys at `revision`.
    pub(super) fn compared(&self, revision: i64, equal: bool) {
        if equal {
            tracing::debug!(revision, "the keys are equal to the source's keys");
        } else {
            tracing::error!(revision, "the keys differ from the source's keys");
        }
        self.update(|status| {
            if equal {
                status.equal += 1;
                status.last_equal_revision = revision;
            } else {
                status.different += 1;
            }
        });
        self.0.metrics.compared(equal);
    }

    /// Records an error that ended the session and forgets the endpoint. Logs the error unless it repeats the last one.
    pub(super) fn failed(&self, error: &CopyError) {
        let text = error.to_string();
        let before = self.status();
        if before.error.as_deref() != Some(&text) {
            tracing::warn!(error = text, "failed to follow the source; retrying");
        }
        self.update(|status| {
            status.endpoint = None;
            status.error = Some(text);
        });
    }

    /// Requests the cut-over and waits for its result, after a running cut-over if there is one. Fails immediately if this
    /// cluster no longer follows, following is interrupted, or another request is waiting.
    pub async fn cut_over(&self) -> Result<CutOverReport, CutOverRefused> {
        let gone = || CutOverRefused::Failed("this cluster follows no source".to_owned());
        let status = self.status();
        if !status.following {
            return Err(gone());
        }
        if let Some(error) = status.error {
            return Err(CutOverRefused::Failed(error));
        }
        let (to, answer) = oneshot::channel();
        match self.0.requests.try_send(to) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(CutOverRefused::Failed("a cut-over is running".to_owned()));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(gone()),
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Records the result of a check after the cut-over and the source's revision. `cut_over` is the revision of the cut-over.
    /// Logs an error if the source has accepted writes that were not reported yet.
    pub(super) fn guarded(&self, cut_over: i64, (found, revision): (Guarded, i64)) {
        let before = self.status();
        if found == Guarded::RaisedAgain {
            self.0.metrics.raised_again();
            tracing::warn!("the fence of the source was removed; raised a new fence");
        }
        if revision > cut_over && before.source_revision < revision {
            tracing::error!(
                cut_over,
                revision,
                "the source has accepted writes after the cut-over; this cluster lacks these writes"
            );
        }
        self.update(|status| {
            status.following = false;
            status.guarding = found != Guarded::Ended;
            status.fenced = status.guarding;
            status.raised_again += u64::from(found == Guarded::RaisedAgain);
            status.error = None;
            status.revision = cut_over;
            status.source_revision = status.source_revision.max(revision);
        });
    }
}
