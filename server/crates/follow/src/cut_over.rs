//! The cut-over: the source refuses writes, its last writes are copied, and this cluster accepts writes.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use witan_machine::{follow::FollowError, member::MemberRegistry};

use super::{
    copier::Copier,
    error::CopyError,
    fence::{self, FenceCalls as _},
    status::{CutOverRefused, CutOverReport, CutOverRequest},
};

/// Maximum number of revisions that are missing before the source stops writes; when it is exceeded, the cut-over is refused.
const LAG_MAX: i64 = 5000;

/// Maximum time for which the source refuses writes before this cluster accepts them. After this time, the cut-over is
/// abandoned.
const CUT_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for abandoning a failed cut-over while its requester waits.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(5);

impl Copier<'_> {
    /// Runs the cut-over and sends its result to the requester. Returns whether the cut-over succeeded; after a success, first
    /// compares the keys again. If the requester has disconnected, makes no attempt and returns `false`. After an error, the
    /// source may refuse writes until the next session abandons the cut-over.
    pub(super) async fn answer_cut_over(
        &mut self,
        request: CutOverRequest,
    ) -> Result<bool, CopyError> {
        if request.is_closed() {
            return Ok(false);
        }
        let outcome = self.cut_over(&request).await;
        let (answer, done) = match outcome {
            Ok(Ok(report)) => (Ok(report), Ok(true)),
            Ok(Err(refused)) => (Err(refused), Ok(false)),
            Err(error) => {
                let mut reason = error.to_string();
                if self.calls.handle.status().fenced {
                    reason += "; the source refuses writes until this member has abandoned the cut-over (see `witan follow status`)";
                }
                (Err(CutOverRefused::Failed(reason)), Err(error))
            }
        };
        // The requester may have disconnected.
        let _ = request.send(answer);
        if let Ok(true) = done {
            self.compare_after_cut_over().await;
        }
        done
    }

    /// Runs the cut-over for `request`. The inner error is a refusal, which leaves the source unchanged; the outer error ends
    /// the session.
    async fn cut_over(
        &mut self,
        request: &CutOverRequest,
    ) -> Result<Result<CutOverReport, CutOverRefused>, CopyError> {
        self.sync().await?;
        if let Some(error) = &self.fenced_by {
            return Ok(Err(CutOverRefused::Failed(error.to_string())));
        }
        self.sync_users(true).await?;
        match self.compare().await? {
            Some(true) => {}
            Some(false) => return Ok(Err(CutOverRefused::Differs(self.revision))),
            None => return Ok(Err(CutOverRefused::NotCompared)),
        }
        let there = self.calls.revision().await?;
        if there - self.revision > LAG_MAX {
            return Ok(Err(CutOverRefused::Lags(there - self.revision)));
        }
        if let Some(quota) = self.calls.node.quota_bytes() {
            let used = self.calls.node.quota_used_bytes();
            if used >= quota {
                return Ok(Err(CutOverRefused::Quota { used, quota }));
            }
        }
        // In a source older than etcd 3.6, the fence would override a member's CORRUPT alarm.
        let recorded = self.calls.recorded().await?;
        let fences = self.calls.fences(&recorded).await?;
        if let Err(error) = fences.check_members() {
            return Ok(Err(CutOverRefused::Failed(error.to_string())));
        }
        let recorded = fence::begin(&self.calls).await?;
        if request.is_closed() {
            // Without a quorum, the requester can disconnect before the proposal is applied.
            return Ok(Err(CutOverRefused::Failed(
                "the requester has disconnected".to_owned(),
            )));
        }
        let begun = Instant::now();
        let taking = timeout(CUT_OVER_TIMEOUT, self.take_over(&recorded)).await;
        if let Err(error) = taking.unwrap_or(Err(CopyError::Late(CUT_OVER_TIMEOUT))) {
            // The cut-over may have succeeded even though its response was lost.
            match timeout(GIVE_UP_TIMEOUT, self.abandon()).await {
                Ok(Err(CopyError::Refused(FollowError::NotFollowing))) => {}
                // If the cut-over could not be abandoned, the next session tries again.
                Ok(_) | Err(_) => return Err(error),
            }
        }
        let revision = self.revision;
        let pause_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            revision,
            pause_ms,
            "this cluster has taken over; the source refuses writes"
        );
        self.calls.handle.update(|status| {
            status.following = false;
            status.guarding = true;
            status.copied(revision);
        });
        Ok(Ok(CutOverReport { revision, pause_ms }))
    }

    /// Makes the source refuse writes, copies its last writes and leases, and makes this cluster accept writes. Sets `fenced`
    /// in the status. Fails with `UsersChanged` if users or roles have changed since they were copied.
    async fn take_over(&mut self, recorded: &MemberRegistry) -> Result<(), CopyError> {
        self.calls.handle.update(|status| status.fenced = true);
        let calls = self.calls.clone();
        let copy = async |revision| {
            self.copy_to(revision).await?;
            self.sync_leases().await?;
            match self.users_changed().await? {
                Some((_, true)) => Err(CopyError::UsersChanged),
                Some((_, false)) | None => Ok(()),
            }
        };
        fence::take_over(&calls, recorded, copy).await.map(drop)
    }

    /// Abandons all attempts at a cut-over and lets the source accept writes again. Fails with `NotFollowing` if a cut-over has
    /// succeeded; the source then stays fenced. Clears `fenced` in the status and logs a warning.
    pub(super) async fn abandon(&self) -> Result<(), CopyError> {
        fence::abandon(&self.calls).await?;
        tracing::warn!("the cut-over was abandoned; the source accepts writes again");
        self.calls.handle.update(|status| status.fenced = false);
        Ok(())
    }
}
