//! The readable record of a run. It is disabled in sweeps, so its lines are created lazily.

/// Collects lines if it is enabled.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<String>,
}

impl Trace {
    /// Creates a trace that keeps its lines if `on` is set and discards them otherwise.
    pub(crate) fn new(on: bool) -> Self {
        Self { lines: on.then(String::new) }
    }

    /// Adds the line that `make` returns, with the virtual time.
    pub(crate) fn line(&mut self, now: u64, make: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push_str(&format!("[{now:>6}] {}\n", make()));
        }
    }

    /// Takes all lines out of the trace.
    pub(crate) fn take(&mut self) -> String {
        self.lines.take().unwrap_or_default()
    }
}
