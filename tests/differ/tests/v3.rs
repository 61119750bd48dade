//! Compares the v3 key space, leases and users with etcd's: runs a bounded number of random sequences, and all kept scripts.

use witan_differ::{calls::Calls, engine, v3::Keys};

/// Seeds of sequences that are the same in every run. Together they cover every cell of the table.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Number of requests in a sequence.
const STEPS: usize = 1500;

#[tokio::test]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    engine::verify(&Keys::ALL, &SEEDS, STEPS).await;
}

#[tokio::test]
async fn random_calls_about_leases_are_answered_as_etcd_answers_them() {
    engine::verify(&[Calls::Leases], &[5, 20_261_120], 500).await;
}

#[tokio::test]
async fn random_calls_of_users_are_answered_as_etcd_answers_them() {
    engine::verify(&[Calls::Users], &[7, 20_261_120], 600).await;
}

#[tokio::test]
async fn kept_scripts_are_answered_as_etcd_answers_them() {
    engine::verify_kept(&Keys::ALL).await;
}
