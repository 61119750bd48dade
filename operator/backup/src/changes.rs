//! `backup changes`: stores the changes since the last snapshot, again and again, so that a restore can go to any revision.
//!
//! `feed` receives the changes, `pending` holds them until they are stored, `segments` stores them as a log, and `tail` is its
//! end. `archive` joins them for one cluster. `archiver` follows the cluster from member to member: `history` shows whether a
//! member goes on from the log. `serve` reports the progress.

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

pub use serve::ChangesStatus;

use crate::{
    command::ChangesFlags,
    members::Members,
    reason::{BackupError, Reason},
    stop::Stop,
    store::Store,
};
use archiver::Archiver;

/// How long the work that goes on and the last segment may take each: together less than the 30 s that Kubernetes gives a pod
/// after SIGTERM.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// Stores changes as the flags say, until a signal. Only an error that does not pass by itself ends it before.
pub(crate) async fn run(flags: &ChangesFlags, stop: &Stop) -> Result<(), BackupError> {
    let members = Members::new(&flags.members.endpoints, &flags.members.client)?;
    let store = Store::create(&flags.to, &flags.s3)?;
    let (tell, status) = watch::channel(ChangesStatus::default());
    if let Some(on) = flags.listen {
        serve::serve(on, status).await?;
    }
    let mut archiver = Archiver::new(members, &store, stop, tell);
    // half of the time to wait, the other half for the store
    let mut ticks = interval(flags.every / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = tokio::select! {
            biased;
            signal = stop.asked() => {
                tracing::info!(signal, "storing the last changes");
                let last = in_time(archiver.store_all()).await;
                drop(in_time(archiver.end()).await);
                return last.inspect_err(|error| {
                    tracing::warn!(%error, "the last changes are not stored; the next process goes on with them");
                });
            }
            // before messages, of which there may always be one
            _ = ticks.tick() => None,
            event = archiver.next() => Some(event),
        };
        let outcome = {
            let mut step = pin!(async {
                match next {
                    Some(event) => archiver.handle(event).await,
                    None => archiver.look().await,
                }
            });
            tokio::select! {
                outcome = &mut step => outcome,
                _ = stop.asked() => in_time(&mut step).await,
            }
        };
        if let Err(error) = outcome {
            if is_final(error.reason) {
                return Err(error);
            }
            tracing::warn!(%error, "changes are not stored; trying again");
            archiver.failed(error.message);
        }
    }
}

/// Waits for the last work of a process that is to end, for [`LAST_TIMEOUT`] at most.
async fn in_time(work: impl Future<Output = Result<(), BackupError>>) -> Result<(), BackupError> {
    let late = |_| {
        BackupError::new(
            Reason::StoreUnreachable,
            "the store does not answer in time",
        )
    };
    timeout(LAST_TIMEOUT, work).await.map_err(late)?
}

/// Whether an error stays until somebody changes something outside of this process.
fn is_final(reason: Reason) -> bool {
    match reason {
        Reason::WrongCredentials
        | Reason::NoSuchBucket
        | Reason::AlreadyExists
        | Reason::ForeignFormat
        | Reason::LocalDisk
        | Reason::Internal => true,
        Reason::SourceUnreachable
        | Reason::SourceRefused
        | Reason::SnapshotBroken
        | Reason::StoreUnreachable
        | Reason::StoreFull
        | Reason::NotFound
        | Reason::BackupBroken
        | Reason::ChangesMissing => false,
    }
}
