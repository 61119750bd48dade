//! A bounded number of sequences of watches.

use witan_differ::{rng, watch};

/// Sequences that are the same in every run.
const SEEDS: [u64; 2] = [1, 2];
/// Their length.
const STEPS: usize = 500;

#[tokio::test]
async fn random_watches_hear_what_etcds_hear() {
    let seeds: Vec<u64> = SEEDS.into_iter().chain(rng::fresh_seeds()).collect();
    let mut said = Vec::new();
    let passed = watch::sweep(&seeds, STEPS, &mut said).await;
    println!("{}", String::from_utf8_lossy(&said));
    assert!(passed, "something differs or was not reached, see above");
}
