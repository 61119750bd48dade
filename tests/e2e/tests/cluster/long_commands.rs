//! While a command takes seconds, the leader sends heartbeats, answers keep-alives and keeps its leadership.

use std::time::{Duration, Instant};

use futures_util::stream;
use tokio::sync::watch;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    kv_client::KvClient, lease_client::LeaseClient, request_op::Request,
};
use witan_e2e::{Cluster, Writers, grpc, requests, wait, watching};

/// Number of keys of one command, which takes more than a second in a build without optimization.
const KEYS: usize = 80_000;

/// Maximum additional delay of a keep-alive on a busy machine.
const NOISE: Duration = Duration::from_secs(1);

const REVOKED: i64 = 7;
const RENEWED: i64 = 8;
const BATCH: usize = 8_000;
const WRITERS: usize = 4;
const WRITES: u64 = 100;

async fn fill(kv: &mut KvClient<Channel>, lease: i64) {
    for first in (0..KEYS).step_by(BATCH) {
        let keys = first..first + BATCH;
        let put = |key| PutRequest { lease, ..requests::put(format!("many/{key:07}"), "") };
        let txn = requests::txn(keys.map(|key| Request::RequestPut(put(key))));
        kv.txn(txn).await.expect("a transaction");
    }
}

/// Returns the terms of all members, which change at an election.
fn terms(cluster: &Cluster) -> Vec<u64> {
    let members = cluster.members().iter();
    members.map(|member| member.status().term).collect()
}

/// Returns the longest duration of a keep-alive until `end`. The leader's thread answers a keep-alive after a round of
/// heartbeats.
async fn longest_renewal(channel: Channel, end: watch::Receiver<bool>) -> Duration {
    let mut leases = LeaseClient::new(channel);
    let mut longest = Duration::ZERO;
    while !*end.borrow() {
        let request = LeaseKeepAliveRequest { id: RENEWED };
        let begun = Instant::now();
        let answers = leases.lease_keep_alive(stream::iter([request])).await;
        let answer = answers.expect("a stream").into_inner().message().await;
        let renewed = answer.expect("no error");
        assert!(renewed.is_some_and(|renewed| renewed.ttl > 0));
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// Runs a command. Fails if an election occurs, or if a keep-alive takes more than half of the command's time plus [`NOISE`].
/// Panics if the command fails.
async fn holds(
    cluster: &Cluster,
    writers: &Writers,
    what: &str,
    command: impl Future<Output = bool>,
) -> Result<(), String> {
    let channel = grpc::connect(&cluster.member(cluster.leader()).address()).await;
    writers.wait_more(WRITES);
    let before = terms(cluster);
    let (end, ends) = watch::channel(false);
    let renewals = tokio::spawn(longest_renewal(channel, ends));
    let begun = Instant::now();
    let done = command.await;
    let took = begun.elapsed();
    end.send_replace(true);
    let longest = renewals.await.expect("keep-alives");
    assert!(done, "{what} failed after {took:?}");
    writers.wait_more(WRITES);
    if terms(cluster) != before {
        return Err(format!("an election during {what}"));
    }
    if longest >= took / 2 + NOISE {
        return Err(format!("{what} took {took:?}, a keep-alive {longest:?}"));
    }
    Ok(())
}

#[test]
fn no_election_starts_while_a_long_command_is_applied() {
    wait::undisturbed(long_commands_do_not_delay_other_clients);
}

fn long_commands_do_not_delay_other_clients() -> Result<(), String> {
    let cluster = Cluster::start_with(3, &["--max-txn-ops", "10000"]);
    let leader = cluster.leader();
    let writers = Writers::start(WRITERS, &cluster.addresses());
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&cluster.member(leader).address()).await;
        let mut kv = KvClient::new(channel.clone());
        let mut leases = LeaseClient::new(channel.clone());

        for id in [REVOKED, RENEWED] {
            let grant = LeaseGrantRequest { id, ttl: 3600 };
            leases.lease_grant(grant).await.expect("a lease");
        }
        fill(&mut kv, 0).await;
        let all = requests::delete("many/", "many0");
        let deletion = async { kv.delete_range(all).await.is_ok() };
        holds(&cluster, &writers, "a deletion", deletion).await?;

        let compact = async {
            let revision = watching::put(&channel, "revision", "").await;
            let request = CompactionRequest { revision, physical: true };
            kv.compact(request).await.is_ok()
        };
        holds(&cluster, &writers, "a compaction", compact).await?;

        fill(&mut kv, REVOKED).await;
        let revoke = async {
            let request = LeaseRevokeRequest { id: REVOKED };
            leases.lease_revoke(request).await.is_ok()
        };
        holds(&cluster, &writers, "a revocation", revoke).await
    })?;
    writers.stop();
    cluster.wait_equal();
    Ok(())
}
