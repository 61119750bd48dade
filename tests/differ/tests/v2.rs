//! Compares the v2 keys API with etcd's: runs a bounded number of random sequences, and all kept scripts.

use witan_differ::{engine, v2::Keys};

/// Seeds of sequences that are the same in every run.
const SEEDS: [u64; 2] = [1, 2];
/// Number of steps in a sequence. Each sequence is long enough to fill the history.
const STEPS: usize = 800;

#[tokio::test]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    engine::verify(&[Keys], &SEEDS, STEPS).await;
}

#[tokio::test]
async fn kept_scripts_are_answered_as_etcd_answers_them() {
    engine::verify_kept(&[Keys]).await;
}
