//! v3's key space beside etcd: a bounded number of sequences, and the kept scripts.

use witan_differ::{rng, script, v3};

/// Sequences that are the same in every run, and together reach every cell of the table.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Requests in each.
const STEPS: usize = 1500;

#[tokio::test]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    let seeds: Vec<u64> = SEEDS.into_iter().chain(rng::fresh_seeds()).collect();
    let mut report = String::new();
    let passed = v3::check(&seeds, STEPS, &mut |text| report.push_str(text)).await;
    assert!(passed, "{report}");
}

#[tokio::test]
async fn kept_scripts_are_answered_as_etcd_answered() {
    for (path, script) in script::kept("v3") {
        let differences = v3::differences(&script).await;
        assert!(
            differences.is_empty(),
            "{}\n{}",
            path.display(),
            differences.join("\n")
        );
    }
}
