//! Damage on the disk of a running member. The scrub finds it, and the member replaces its checkpoint without a restart.

use std::fs;

use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Cluster, Launch, Server, grpc, requests, wait, watching};

/// Number of keys. Their values take several runs, and the scrub reads a run in 8 s.
const KEYS: usize = 24;
const VALUE_BYTES: usize = 1 << 20;
const DAMAGED: &str = "witan_scrub_damaged_runs_total";

#[test]
fn a_leader_with_damaged_files_gets_the_state_of_another_leader() {
    let mut cluster = filled(3);
    let at = cluster.follower();
    restart_with_checkpoint(cluster.member_mut(at));
    cluster.transfer_leadership(at);
    let member = cluster.member(at);
    damage_all_runs(member);
    member.wait_log(0, "replaced the damaged checkpoint of this member");
    assert!(member.metric(DAMAGED) > Some(0.0), "it has restarted");
    assert_ne!(cluster.leader(), at);
    check_disk(cluster.member_mut(at));
}

#[test]
fn a_sole_member_rewrites_damaged_files_from_memory() {
    let mut cluster = filled(1);
    restart_with_checkpoint(cluster.member_mut(0));
    let member = cluster.member(0);
    let commits = || member.metric("etcd_disk_backend_commit_duration_seconds_count");
    let before = commits();
    damage_all_runs(member);
    wait::until_true("the next checkpoint", || commits() > before);
    assert!(member.metric(DAMAGED) > Some(0.0), "it has restarted");
    check_disk(cluster.member_mut(0));
}

fn filled(members: usize) -> Cluster {
    let launch = Launch::witan().without_fsync();
    let mut cluster = Cluster::prepare_of(&launch, "http", members);
    cluster.start_all();
    let address = cluster.member(0).address();
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&address).await;
        for at in 0..KEYS {
            watching::put(&channel, &key(at), value(at)).await;
        }
    });
    cluster.wait_equal();
    cluster
}

/// Writes a member's checkpoint and restarts the member, because the first pass of the scrub starts with the process.
fn restart_with_checkpoint(member: &mut Server) {
    member.v3("maintenance/defragment", "{}");
    member.kill9_and_start();
}

fn key(at: usize) -> String {
    format!("k{at:02}")
}

fn value(at: usize) -> Vec<u8> {
    vec![u8::try_from(at).expect("there are few keys"); VALUE_BYTES]
}

/// Kills and restarts a member and checks that it has all values. The start or a read fails if the checkpoint is damaged.
fn check_disk(member: &mut Server) {
    member.kill9_and_start();
    grpc::runtime().block_on(async {
        let mut kv = KvClient::new(grpc::connect(&member.address()).await);
        for at in 0..KEYS {
            let found = kv.range(requests::range(key(at), "")).await;
            let found = found.expect("a get").into_inner().kvs;
            assert_eq!(found.len(), 1, "{}", key(at));
            assert!(found[0].value == value(at), "{}: another value", key(at));
        }
    });
}

/// Flips a bit in the middle of each run of the checkpoint. Panics if there are only a few runs.
fn damage_all_runs(server: &Server) {
    let folder = server.dir().join("data/member/checkpoint");
    let mut runs = 0;
    for entry in fs::read_dir(folder).expect("the checkpoint exists") {
        let path = entry.expect("it is listed").path();
        if path.extension().is_some_and(|suffix| suffix == "run") {
            let mut bytes = fs::read(&path).expect("the run exists");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).expect("the run is writable");
            runs += 1;
        }
    }
    assert!(runs > 2, "{runs} runs");
}
