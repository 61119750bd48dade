//! Progress of long offline commands.

use std::io::{self, IsTerminal as _, Write as _};

/// A progress bar on standard error. Dropping it erases the bar.
pub(super) struct ProgressBar {
    shown: bool,
    total: u64,
    step: &'static str,
    done: u64,
    percent: u64,
}

impl ProgressBar {
    /// Creates a bar that is shown only if standard error is a terminal.
    pub(super) fn new() -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            total: 1,
            step: "",
            done: 0,
            percent: 0,
        }
    }

    /// Starts a step that processes `total` bytes and draws an empty bar.
    pub(super) fn begin(&mut self, step: &'static str, total: u64) {
        (self.step, self.total, self.done, self.percent) = (step, total.max(1), 0, 0);
        self.draw();
    }

    /// Adds processed bytes. Redraws the bar if the percentage has changed.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let percent = (self.done * 100 / self.total).min(100);
        if percent != self.percent {
            self.percent = percent;
            self.draw();
        }
    }

    /// Prints the bar over the previous one.
    fn draw(&self) {
        if self.shown {
            let full = (self.percent / 4) as usize;
            let bar = format!("{:<25}", "#".repeat(full));
            // Ignore the error, because the terminal may be closed.
            let _ = write!(
                io::stderr(),
                "\r{:<8} [{bar}] {:>3} %",
                self.step,
                self.percent
            );
        }
    }

    /// Erases the bar.
    pub(super) fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.end();
    }
}
