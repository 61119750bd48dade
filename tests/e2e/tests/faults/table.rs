//! The table of pauses.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::schedule::{Fault, Outcome};

/// A row for each fault.
pub(crate) fn table(server: &str, outcomes: &[Outcome]) -> String {
    let mut rows: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry(outcome.fault).or_default().push(outcome.pause);
    }
    let mut text = format!("\n{server}: longest time without an acknowledged write, in ms\n");
    let _ = writeln!(text, "| {:<41} | count | median |  worst |", "fault");
    let _ = writeln!(text, "|{:-<43}|------:|-------:|-------:|", "");
    for (fault, pauses) in &mut rows {
        pauses.sort_unstable();
        let (median, worst) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
        let _ = writeln!(
            text,
            "| {:<41} | {:>5} | {:>6} | {:>6} |",
            fault.name(),
            pauses.len(),
            median.as_millis(),
            worst.as_millis()
        );
    }
    text
}
