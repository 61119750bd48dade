//! Stops work cleanly on SIGTERM and SIGINT, for example by aborting an upload.

use std::future::{self, Future};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::reason::BackupError;

/// A handle that shows whether the process should stop. The handle can be awaited any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Option<&'static str>>);

impl Stop {
    /// Creates a handle for SIGTERM and SIGINT, which no longer end the process.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, stop) = watch::channel(None);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            sender.send_replace(Some(name));
        });
        Ok(Self(stop))
    }

    /// Runs the work. If the process should stop first, drops the work and returns an error.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        tokio::select! {
            done = work => done,
            signal = self.signal() => {
                Err(BackupError::internal(format!("{signal} stopped the command before it finished")))
            }
        }
    }

    /// Waits until the process should stop. Returns the name of the signal.
    pub(crate) async fn signal(&self) -> &'static str {
        let mut signal = self.0.clone();
        let received = signal.wait_for(Option::is_some).await;
        match received.ok().and_then(|name| *name) {
            Some(name) => name,
            // The sender is dropped, so no stop can be requested.
            None => future::pending().await,
        }
    }

    /// Returns a `Stop` that a test triggers through the sender.
    #[cfg(test)]
    pub(crate) fn by_test() -> (watch::Sender<Option<&'static str>>, Self) {
        let (sender, stop) = watch::channel(None);
        (sender, Self(stop))
    }
}
