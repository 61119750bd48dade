//! No result depends on which values are in memory and which only on disk.

use witan_sim::{residency::run_with_percent, scenario::Scenario, world::Verdict};

/// Seeds with members adopted from etcd, with requests that read values, and with neither. The state of adopted members fills
/// some blocks.
const SEEDS: [u64; 6] = [1, 9, 17, 27, 31, 42];

/// Returns the trace without the counts at its end.
fn events(verdict: &Verdict) -> &str {
    let end = verdict.trace.rfind("] end: ");
    &verdict.trace[..end.expect("the trace ends with counts")]
}

#[test]
fn a_run_does_not_depend_on_the_values_in_memory() {
    let mut cold_reads = [0, 0];
    for seed in SEEDS {
        let scenario = Scenario::new(seed, None);
        let verdicts = [0, 100].map(|percent| run_with_percent(scenario, percent));
        for (verdict, sum) in verdicts.iter().zip(&mut cold_reads) {
            assert_eq!(verdict.violation, None, "seed {seed}");
            *sum += verdict.counts.cold_reads;
        }
        let [warm, cold] = &verdicts;
        assert!(events(warm) == events(cold), "seed {seed}: the runs differ");
    }
    let [warm, cold] = cold_reads;
    assert!(cold > 3 * warm.max(30), "{warm} and {cold} cold reads");
}
