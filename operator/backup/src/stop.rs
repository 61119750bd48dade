//! SIGTERM and SIGINT: work ends in order, an upload is aborted.

use std::future::{self, Future};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::reason::BackupError;

/// Tells whether the process is to end. It can be asked any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Option<&'static str>>);

impl Stop {
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (asked, stop) = watch::channel(None);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            asked.send_replace(Some(name));
        });
        Ok(Self(stop))
    }

    /// Does the work; drops it when the process is to end.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        tokio::select! {
            done = work => done,
            signal = self.asked() => {
                Err(BackupError::internal(format!("{signal} ended the work before it was done")))
            }
        }
    }

    /// Completes when the process is to end, with the name of the signal.
    pub(crate) async fn asked(&self) -> &'static str {
        let mut asked = self.0.clone();
        let named = asked
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|name| *name);
        match named {
            Some(name) => name,
            // nobody can ask any more
            None => future::pending().await,
        }
    }

    /// Makes one that a test ends.
    #[cfg(test)]
    pub(crate) fn by_test() -> (watch::Sender<Option<&'static str>>, Self) {
        let (asked, stop) = watch::channel(None);
        (asked, Self(stop))
    }
}
