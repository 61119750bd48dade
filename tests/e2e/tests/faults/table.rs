//! Prints the table of pauses.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::schedule::{Fault, Outcome};

/// Maximum delay of the simulated network. With a longer delay, a row proves little about the members.
const LATE_MAX: Duration = Duration::from_millis(250);

/// Returns the table with a row for each fault. Omits outcomes during which this process was delayed by [`LATE_MAX`] or more.
pub(crate) fn table(server: &str, outcomes: &[Outcome]) -> String {
    let in_time = outcomes.iter().filter(|outcome| outcome.late < LATE_MAX);
    let in_time: Vec<&Outcome> = in_time.collect();
    let mut rows: BTreeMap<Fault, (Vec<Duration>, u64)> = BTreeMap::new();
    for outcome in &in_time {
        let (pauses, terms) = rows.entry(outcome.fault).or_default();
        pauses.push(outcome.pause);
        *terms += outcome.terms;
    }
    let mut text = format!(
        "\n{server}: longest time without an acknowledged write, in ms, and terms that began\n"
    );
    let _ = writeln!(
        text,
        "| {:<41} | count | median |  worst | terms |",
        "fault"
    );
    let _ = writeln!(text, "|{:-<43}|------:|-------:|-------:|------:|", "");
    for (fault, (pauses, terms)) in &mut rows {
        pauses.sort_unstable();
        let (median, worst) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
        let _ = writeln!(
            text,
            "| {:<41} | {:>5} | {:>6} | {:>6} | {terms:>5} |",
            fault.name(),
            pauses.len(),
            median.as_millis(),
            worst.as_millis()
        );
    }
    let busy = outcomes.len() - in_time.len();
    let _ = writeln!(
        text,
        "{busy} omitted: other programs used the processors for more than {LATE_MAX:?}"
    );
    text
}
