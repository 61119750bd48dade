//! `backup changes` continuously stores the changes since the last snapshot, so that any revision can be restored.
//!
//! `feed` receives the changes, `pending` buffers them, `segments` stores them as a log, and `tail` is the end of that log.
//! `archive` combines these modules for one cluster. `archiver` reads from one member, and from the next one after a failure.
//! `history` checks that a member's history matches the log. `serve` reports the progress.

mod archive;
mod archiver;
mod feed;
pub(crate) mod history;
mod pending;
pub(crate) mod segments;
mod serve;
mod tail;

use std::{pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use witan_api::backup::ChangesStatus;

use crate::{
    command::ChangesFlags,
    members::Members,
    reason::{BackupError, Reason},
    stop::Stop,
    store::Store,
};
use archiver::Archiver;

/// Time limit for each step after a signal: finishing the current work, storing the last segments, and waiting for a backup.
/// Kubernetes grants 30 s after SIGTERM.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// Stores changes until a signal arrives. Fails with an error that a retry cannot fix, or if the last changes cannot be
/// stored.
pub(crate) async fn run(flags: &ChangesFlags, stop: &Stop) -> Result<(), BackupError> {
    let members = Members::new(&flags.members.endpoints, &flags.members.client)?;
    let store = Store::create(&flags.to, &flags.s3)?;
    let (tell, status) = watch::channel(ChangesStatus::default());
    if let Some(on) = flags.listen {
        serve::serve(on, status).await?;
    }
    let mut archiver = Archiver::new(members, &store, stop, tell);
    // Tick at half of `every`; the other half is left for storing the changes.
    let mut ticks = interval(flags.every / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = tokio::select! {
            biased;
            signal = stop.signal() => {
                tracing::info!(signal, "storing the last changes");
                let last = in_time(archiver.store_all()).await;
                drop(in_time(archiver.wait_for_backup()).await);
                return last.inspect_err(|error| {
                    tracing::warn!(%error, "failed to store the last changes; the next process will store them");
                });
            }
            // Ticks take precedence over messages, because a message may always be ready.
            _ = ticks.tick() => None,
            event = archiver.next() => Some(event),
        };
        let outcome = {
            let mut step = pin!(async {
                match next {
                    Some(event) => archiver.handle(event).await,
                    None => archiver.tick().await,
                }
            });
            tokio::select! {
                outcome = &mut step => outcome,
                _ = stop.signal() => in_time(&mut step).await,
            }
        };
        if let Err(error) = outcome {
            if is_final(error.reason) {
                return Err(error);
            }
            tracing::warn!(%error, "failed to store changes; retrying");
            archiver.report_failure(error.message);
        }
    }
}

/// Waits for `work` after a signal, before the process ends. Fails after [`LAST_TIMEOUT`].
async fn in_time(work: impl Future<Output = Result<(), BackupError>>) -> Result<(), BackupError> {
    let late = |_| BackupError::new(Reason::StoreUnreachable, "timed out waiting for the store");
    timeout(LAST_TIMEOUT, work).await.map_err(late)?
}

/// Returns whether retrying is useless until someone fixes the cause of an error.
fn is_final(reason: Reason) -> bool {
    [
        Reason::WrongCredentials,
        Reason::NoSuchBucket,
        Reason::AlreadyExists,
        Reason::ForeignFormat,
        Reason::LocalDisk,
        Reason::Internal,
    ]
    .contains(&reason)
}
