//! The report of a sequence: its coverage, the excused answers, and the differences between the two servers.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::coverage::{Coverage, Row};

/// Letters of an answer that a message shows.
const SHOWN_MAX: usize = 20_000;

/// In what the two differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Which step, from 0 on; as many as there are for what is looked at in the end.
    pub at: usize,
    /// The request.
    pub asked: String,
    /// The answer of etcd.
    pub etcd: String,
    /// The answer of Witan.
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

/// Why a sequence ended early.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The two differ.
    Differs(Difference),
    /// The machine was too slow to tell: so long did the steps take of which something expires.
    Slow(Duration),
}

impl Stop {
    /// The two answered this step differently.
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
    /// The cells of the table that it reached.
    pub coverage: Coverage,
    /// How often each deliberate difference showed, by its reason.
    pub excused: BTreeMap<String, u64>,
    /// In what the two differ; more than one only in a survey.
    pub differences: Vec<Difference>,
    /// See [`Stop::Slow`].
    pub slow: Option<Duration>,
    /// The sequence goes on after a difference.
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
    /// Nothing reached of this table yet.
    pub fn new(table: &'static [Row], survey: bool) -> Self {
        Self {
            coverage: Coverage::new(table),
            excused: BTreeMap::new(),
            differences: Vec::new(),
            slow: None,
            survey,
        }
    }

    /// Whether nothing differed.
    pub fn passed(&self) -> bool {
        self.differences.is_empty() && self.slow.is_none()
    }

    /// Notes a deliberate difference.
    pub fn excuse(&mut self, reason: &str, times: u64) {
        *self.excused.entry(reason.to_owned()).or_default() += times;
    }

    /// Keeps a difference in a survey.
    ///
    /// # Errors
    /// With the reason to stop, if the sequence has to end.
    pub fn differ(&mut self, stop: Stop) -> Result<(), Stop> {
        match stop {
            Stop::Differs(difference) if self.survey => self.differences.push(difference),
            Stop::Differs(_) | Stop::Slow(_) => return Err(stop),
        }
        Ok(())
    }

    /// Takes what another sequence reached and was excused in.
    pub fn add(&mut self, other: &Self) {
        self.coverage.add(&other.coverage);
        for (reason, times) in &other.excused {
            self.excuse(reason, *times);
        }
    }
}
