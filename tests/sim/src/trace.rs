//! The readable record of a run. Off in sweeps, so lines are made by closures.

/// Collects lines when it is on.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<String>,
}

impl Trace {
    /// A trace that keeps its lines, or one that keeps nothing.
    pub fn new(on: bool) -> Self {
        Self { lines: on.then(String::new) }
    }

    /// Adds the line that `make` returns, with its virtual time.
    pub fn line(&mut self, now: u64, make: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push_str(&format!("[{now:>6}] {}\n", make()));
        }
    }

    /// All lines.
    pub fn take(&mut self) -> String {
        self.lines.take().unwrap_or_default()
    }
}
