//! Runs a bounded number of sequences of watches.

use witan_differ::{engine, watch::Watches};

/// Seeds of sequences that are the same in every run.
const SEEDS: [u64; 2] = [1, 2];
const STEPS: usize = 500;

#[tokio::test]
async fn random_watches_receive_the_events_that_etcds_receive() {
    engine::verify(&[Watches], &SEEDS, STEPS).await;
}
