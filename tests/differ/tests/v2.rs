//! A bounded number of sequences, and the scripts that were kept.

use witan_differ::{engine, v2::Keys};

/// Sequences that are the same in every run.
const SEEDS: [u64; 2] = [1, 2];
/// Their length: long enough that each of them fills the history.
const STEPS: usize = 800;

#[tokio::test]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    engine::verify(&[Keys], &SEEDS, STEPS).await;
}

#[tokio::test]
async fn kept_scripts_are_answered_as_etcd_answers_them() {
    engine::verify_kept(&[Keys]).await;
}
