//! SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Which signal asked for the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl Signal {
    /// The exit status that a shell shows for a process that this signal ended.
    fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }

    /// As etcd's log names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Interrupt => "interrupt",
        }
    }
}

/// Resolves at the first signal. From then on a second one ends the process at once, so whoever
/// is impatient need not reach for SIGKILL.
pub async fn first_signal() -> io::Result<Signal> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    };
    let first = next().await;
    actix_rt::spawn(async move {
        let second = next().await;
        tracing::warn!(signal = second.name(), "second signal, exiting at once");
        std::process::exit(second.exit_code());
    });
    Ok(first)
}
