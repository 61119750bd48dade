//! A member that was stopped for longer than the others keep their log receives the leader's state.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use witan_e2e::{
    Cluster, Server, Writers, grpc, wait,
    watching::{Watching, create, key},
    writers::assert_all_there,
};

const WRITERS: usize = 4;
const WRITES: u64 = 100;
const FILLER_BYTES: usize = 1 << 20;

/// Number of values to write first. The test doubles this number until the log no longer contains the member's position.
const FILLERS: usize = 96;
const FILLERS_MAX: usize = 768;

/// Time after which a leader no longer keeps its log for a silent member: more than an election timeout (1 s).
const FORGOTTEN: Duration = Duration::from_secs(2);

const FILLER_KEYS: usize = 48;
const RECEIVED: &str = "etcd_network_snapshot_receive_success";

fn fill(member: &Server, count: usize) {
    let value = STANDARD.encode(vec![b'f'; FILLER_BYTES]);
    for number in 0..count {
        let key = STANDARD.encode(format!("filler/{}", number % FILLER_KEYS));
        let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        member.v3("kv/put", &body);
    }
}

/// Returns a member's state other than v3 keys: users and the v2 tree.
fn users_and_tree(member: &Server) -> [String; 2] {
    let users = member.v3("auth/user/list", "{}");
    let tree = member.http("GET", "/v2/keys/?recursive=true&sorted=true", "");
    [users["users"].to_string(), tree.json()["node"].to_string()]
}

/// Returns the number of keys with the lease in a member's own state.
fn leased(member: &Server) -> String {
    let key = STANDARD.encode("leased");
    let body = format!(r#"{{"key":"{key}","serializable":true}}"#);
    let answer = member.v3("kv/range", &body);
    answer["count"].as_str().unwrap_or("0").to_owned()
}

/// Writes a v2 key, a lease with a key, and a user.
fn furnish(member: &Server) {
    member.answers(201, "PUT", "/v2/keys/dir/leaf", "value=v2");
    member.v3("lease/grant", r#"{"ID":"77","TTL":"3600"}"#);
    let user = r#"{"name":"alice","password":"secret"}"#;
    member.v3("auth/user/add", user);
    let key = STANDARD.encode("leased");
    let body = format!(r#"{{"key":"{key}","value":"{key}","lease":"77"}}"#);
    member.v3("kv/put", &body);
}

/// Starts a cluster, kills a follower, and writes so much that the other members drop its position from their logs. Returns the
/// cluster and the follower's position in it.
fn cluster_that_left_one_behind() -> (Cluster, usize) {
    let mut cluster = Cluster::start(3);
    let lagging = cluster.follower();
    fill(cluster.member(lagging), 2);
    cluster.member_mut(lagging).kill9();
    furnish(cluster.member(cluster.leader()));
    wait::wall_time(FORGOTTEN);
    fill(cluster.member(cluster.leader()), FILLERS);
    (cluster, lagging)
}

/// Waits until the member has received a snapshot. If it has received none, writes more entries and tries again.
fn assert_snapshot(cluster: &mut Cluster, lagging: usize) {
    let mut fillers = FILLERS;
    loop {
        cluster.wait_equal();
        if cluster.member(lagging).metric(RECEIVED) >= Some(1.0) {
            return;
        }
        fillers *= 2;
        assert!(fillers <= FILLERS_MAX, "the log still has the position");
        cluster.member_mut(lagging).kill9();
        fill(cluster.member(cluster.leader()), fillers);
        cluster.member_mut(lagging).start_again();
    }
}

#[test]
fn a_member_that_lags_too_far_gets_the_state_during_writes() {
    let (mut cluster, lagging) = cluster_that_left_one_behind();
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    cluster.member_mut(lagging).start_again();
    writers.wait_more(WRITES);
    let written = writers.stop();
    assert_snapshot(&mut cluster, lagging);
    assert_all_there(cluster.member(lagging), &written);
    let leader = cluster.leader();
    let [ours, theirs] = [lagging, leader].map(|at| users_and_tree(cluster.member(at)));
    assert_eq!(ours, theirs);
    let sent = |name: &str| {
        let series = format!("etcd_network_snapshot_send_{name}");
        cluster.member(leader).metric(&series).unwrap_or_default()
    };
    assert!(sent("success") >= 1.0 && sent("inflights_total") == 0.0);
    // After a kill, the member starts from the snapshot and the log after it.
    for _ in 0..2 {
        cluster.member_mut(lagging).kill9_and_start();
        cluster.wait_equal();
    }
    let furnished = users_and_tree(cluster.member(lagging));
    assert_eq!(furnished, users_and_tree(cluster.member(leader)));
    assert!(furnished[0].contains("alice") && furnished[1].contains("/dir/leaf"));
    // The snapshot contains the lease of the key.
    assert_eq!(leased(cluster.member(lagging)), "1");
    cluster.member(leader).v3("lease/revoke", r#"{"ID":"77"}"#);
    wait::until_true("the key ends", || leased(cluster.member(lagging)) == "0");
    cluster.wait_equal();
}

const CHANGES: usize = 40;

#[test]
fn a_watch_at_a_member_that_gets_a_snapshot_misses_nothing() {
    let cluster = Cluster::start(3);
    let lagging = cluster.follower();
    let runtime = grpc::runtime();
    let mut events = runtime.block_on(async {
        let channel = grpc::connect(&cluster.member(lagging).address()).await;
        let mut events = Watching::open(&channel, create(key("watched"))).await;
        assert!(events.next().await.created);
        events
    });
    cluster.member(lagging).signal("STOP");
    let leader = cluster.member(running_leader(&cluster, lagging));
    wait::wall_time(FORGOTTEN);
    let key = STANDARD.encode("watched");
    for number in 0..CHANGES {
        let value = STANDARD.encode(number.to_string());
        let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        leader.v3("kv/put", &body);
        fill(leader, FILLERS / CHANGES + 1);
    }
    cluster.member(lagging).signal("CONT");
    let seen: Vec<String> = runtime.block_on(async {
        let mut seen = Vec::new();
        while seen.len() < CHANGES {
            let answer = events.next().await;
            assert!(!answer.canceled, "{answer:?}");
            let pairs = answer.events.into_iter().filter_map(|event| event.kv);
            seen.extend(pairs.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()));
        }
        seen
    });
    let expected: Vec<String> = (0..CHANGES).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    cluster.wait_equal();
    assert!(cluster.member(lagging).metric(RECEIVED) >= Some(1.0));
}

fn running_leader(cluster: &Cluster, stopped: usize) -> usize {
    let others = (0..cluster.members().len()).filter(|at| *at != stopped);
    let said = wait::until("a leader that runs", || {
        let mut statuses = others
            .clone()
            .filter_map(|at| Some((at, witan_e2e::cluster::status(cluster.member(at))?)));
        statuses.find(|(_, status)| status.id == status.leader)
    });
    said.0
}
