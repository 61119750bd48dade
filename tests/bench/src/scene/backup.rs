//! Takes a snapshot of a million keys, as `etcdctl snapshot save` does, and discards it.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{SnapshotRequest, maintenance_client::MaintenanceClient};
use witan_e2e::{Server, grpc, process};

use crate::{load, verb::Verb};

const KEYS: u64 = 1_000_000;

pub(super) async fn play(server: &Server) -> String {
    load::fill(&server.address(), Verb::Put, KEYS).await;
    let mut client = MaintenanceClient::new(grpc::connect(&server.address()).await);
    let before = process::cpu(server.pid());
    let begun = Instant::now();
    let mut parts = client
        .snapshot(SnapshotRequest {})
        .await
        .expect("a snapshot")
        .into_inner();
    let mut bytes = 0;
    while let Some(part) = parts.message().await.expect("a whole snapshot") {
        bytes += part.blob.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let spent = process::cpu(server.pid()).saturating_sub(before);
    let mib = bytes as f64 / f64::from(1 << 20);
    format!(
        "{mib:.0} | {:.0} | {:.2} |",
        mib / seconds,
        spent.as_secs_f64()
    )
}
