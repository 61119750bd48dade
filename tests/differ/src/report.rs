//! The report of a sequence: its coverage, the excused answers, and the differences between the two servers.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::coverage::{Coverage, Row};

/// Maximum number of characters of an answer in a message.
const SHOWN_MAX: usize = 20_000;

/// A difference between the two servers.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of the step, from 0. The final audit counts as a step after the last one.
    pub at: usize,
    /// The request.
    pub asked: String,
    /// etcd's answer.
    pub etcd: String,
    /// Witan's answer.
    pub witan: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.at, cut(&self.asked))?;
        writeln!(f, "  etcd   {}", cut(&self.etcd))?;
        writeln!(f, "  witan  {}", cut(&self.witan))
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// The reason why a sequence ended early.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The two servers differ.
    Differs(Difference),
    /// The machine was too slow for a result: the steps before an expiration took this long.
    Slow(Duration),
}

impl Stop {
    /// Creates the reason to stop at a step that the servers answered differently.
    pub fn differs(
        at: usize,
        asked: &impl ToString,
        etcd: &impl ToString,
        witan: &impl ToString,
    ) -> Self {
        Self::Differs(Difference {
            at,
            asked: asked.to_string(),
            etcd: etcd.to_string(),
            witan: witan.to_string(),
        })
    }
}

/// The results of one sequence.
#[derive(Clone, Debug)]
pub struct Report {
    /// The covered cells of the table.
    pub coverage: Coverage,
    /// Number of occurrences of each deliberate difference, by its reason.
    pub excused: BTreeMap<String, u64>,
    /// The differences. Only a survey has more than one.
    pub differences: Vec<Difference>,
    /// The duration in [`Stop::Slow`], if the sequence stopped for that reason.
    pub slow: Option<Duration>,
    /// Whether the sequence continues after a difference.
    pub survey: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            write!(f, "differs at {difference}")?;
        }
        match self.slow {
            Some(took) => write!(f, "too slow a machine to tell ({took:?})"),
            None if self.differences.is_empty() => write!(f, "no difference"),
            None => Ok(()),
        }
    }
}

impl Report {
    /// Creates an empty report for a table.
    pub fn new(table: &'static [Row], survey: bool) -> Self {
        Self {
            coverage: Coverage::new(table),
            excused: BTreeMap::new(),
            differences: Vec::new(),
            slow: None,
            survey,
        }
    }

    /// Returns whether all answers were equal.
    pub fn passed(&self) -> bool {
        self.differences.is_empty() && self.slow.is_none()
    }

    /// Records a deliberate difference that occurred `times` times.
    pub fn excuse(&mut self, reason: &str, times: u64) {
        *self.excused.entry(reason.to_owned()).or_default() += times;
    }

    /// Records a difference in a survey. Otherwise, or if the machine was too slow, returns the reason to stop.
    pub fn differ(&mut self, stop: Stop) -> Result<(), Stop> {
        match stop {
            Stop::Differs(difference) if self.survey => self.differences.push(difference),
            Stop::Differs(_) | Stop::Slow(_) => return Err(stop),
        }
        Ok(())
    }

    /// Adds the coverage and the excused differences of another sequence.
    pub fn add(&mut self, other: &Self) {
        self.coverage.add(&other.coverage);
        for (reason, times) in &other.excused {
            self.excuse(reason, *times);
        }
    }
}
