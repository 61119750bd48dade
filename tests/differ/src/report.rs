//! The report of a sequence: its coverage, the excused answers, and the difference between the two servers.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::coverage::{Coverage, Row};

/// Maximum number of characters of an answer in a message.
const SHOWN_MAX: usize = 20_000;

/// A difference between the two servers.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The step number, counted from 0. The final audit counts as a step after the last one.
    pub at: usize,
    /// The request.
    pub request: String,
    /// etcd's answer.
    pub etcd: String,
    /// Witan's answer.
    pub witan: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.at, cut(&self.request))?;
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
        request: &impl ToString,
        etcd: &impl ToString,
        witan: &impl ToString,
    ) -> Self {
        Self::Differs(Difference {
            at,
            request: request.to_string(),
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
    /// Number of occurrences of each deliberate difference; the key is the reason for the difference.
    pub excused: BTreeMap<String, u64>,
    /// The difference that ended the sequence, if any.
    pub difference: Option<Difference>,
    /// The duration in [`Stop::Slow`], if the sequence stopped for that reason.
    pub slow: Option<Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.difference, self.slow) {
            (Some(difference), _) => write!(f, "differs at {difference}"),
            (None, Some(took)) => write!(f, "the machine is too slow for a result ({took:?})"),
            (None, None) => write!(f, "no difference"),
        }
    }
}

impl Report {
    /// Creates an empty report for a table.
    pub fn new(table: &'static [Row]) -> Self {
        Self {
            coverage: Coverage::new(table),
            excused: BTreeMap::new(),
            difference: None,
            slow: None,
        }
    }

    /// Returns whether all answers were compared and equal.
    pub fn passed(&self) -> bool {
        self.difference.is_none() && self.slow.is_none()
    }

    /// Records a deliberate difference that occurred `times` times.
    pub fn excuse(&mut self, reason: &str, times: u64) {
        *self.excused.entry(reason.to_owned()).or_default() += times;
    }

    /// Adds the coverage and the excused differences of another sequence.
    pub fn add(&mut self, other: &Self) {
        self.coverage.add(&other.coverage);
        for (reason, times) in &other.excused {
            self.excuse(reason, *times);
        }
    }
}
