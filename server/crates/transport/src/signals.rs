//! Handles SIGTERM and SIGINT: the first signal starts a graceful stop, and the second one ends the process.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};

/// Interval in which several signals are treated as one. Programs like `timeout` signal a process and then its entire process
/// group.
const SAME_REQUEST: Duration = Duration::from_millis(50);

/// The signal that stops the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl Signal {
    /// Returns the exit status that a shell reports for a process killed by this signal: 128 plus the signal number.
    fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }

    /// Returns the signal's name as etcd logs it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Interrupt => "interrupt",
        }
    }
}

/// Catches signals from now on. Fails if the signals cannot be caught. The future completes at the first signal. A later signal
/// ends the process immediately, with the exit status of that signal, unless less than `SAME_REQUEST` has passed since the
/// first.
pub fn first_signal() -> io::Result<impl Future<Output = Signal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    };
    Ok(async move {
        let first = next().await;
        let asked = Instant::now();
        actix_rt::spawn(async move {
            let mut second = next().await;
            while asked.elapsed() < SAME_REQUEST {
                second = next().await;
            }
            tracing::warn!(
                signal = second.name(),
                "received a second signal; exiting immediately"
            );
            std::process::exit(second.exit_code());
        });
        first
    })
}
