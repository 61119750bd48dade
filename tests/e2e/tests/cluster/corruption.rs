//! A member whose state differs from the majority's is found, gets the CORRUPT alarm, and replaces its state with the leader's.
//!
//! `witan-planted alter` changes a value on a stopped member's disk and keeps the checksums valid.

use std::process::Command;

use serde_json::Value;
use witan_e2e::{
    Cluster, Server, assert_contains, binaries::planted, http, tool::CommandOutput, wait,
};

fn fill(cluster: &Cluster) {
    let member = cluster.member(0);
    member.answers(201, "PUT", "/v2/keys/two", "value=good-two");
    // The key is `three`, the value `good-three`.
    member.v3("kv/put", r#"{"key":"dGhyZWU=","value":"Z29vZC10aHJlZQ=="}"#);
    cluster.wait_equal();
    for member in cluster.members() {
        member.v3("maintenance/defragment", "{}");
    }
}

/// Stops a member and replaces a value on its disk. Panics if the disk does not contain `from`.
pub(crate) fn alter(member: &mut Server, from: &str, to: &str) {
    assert_eq!(member.terminate().code(), Some(0));
    let dir = member.dir().join("data");
    let mut alter = Command::new(planted());
    let said = CommandOutput::of(alter.arg("alter").arg(dir).args([from, to]));
    let done = said.stdout.starts_with("altered ") && !said.stdout.contains(" 0 ");
    assert!(done, "{}", said.all());
}

fn value_of_two(member: &Server) -> Value {
    let found = member.http("GET", "/v2/keys/two", "").json();
    found["node"]["value"].clone()
}

fn alarms(member: &Server) -> usize {
    let list = member.http("POST", "/v3/maintenance/alarm", r#"{"action":"GET"}"#);
    list.json()["alarms"].as_array().map_or(0, Vec::len)
}

const REBUILDS: &str = "witan_corruption_rebuilds_total";

#[test]
fn a_corrupt_member_is_rebuilt_before_it_serves() {
    let mut cluster = Cluster::start_with(3, &["--initial-corrupt-check"]);
    fill(&cluster);
    for (at, from, to) in [
        (cluster.follower(), "good-three", "baad-three"),
        // The corrupt leader becomes a follower of the new leader.
        (cluster.leader(), "good-two", "baad-two"),
    ] {
        alter(cluster.member_mut(at), from, to);
        cluster.member_mut(at).start_again();
        let member = cluster.member(at);
        member.wait_log(0, "rebuilt the state of this member");
        assert_eq!(value_of_two(member), "good-two");
        assert_eq!(member.metric(REBUILDS), Some(1.0));
        assert_eq!(alarms(member), 0, "the corrupt state was never served");
        cluster.wait_equal();
    }
    // An undamaged member starts normally.
    let follower = cluster.follower();
    cluster.member_mut(follower).kill9_and_start();
    let log = cluster.member(follower);
    log.wait_log(0, "initial corruption checking passed");
}

/// The leader raises the alarm before the member restarts. The member replaces its state before it checks for the alarm.
#[test]
fn a_member_rebuilt_at_startup_disarms_its_alarm() {
    let mut cluster = Cluster::start_with(3, &["--initial-corrupt-check"]);
    fill(&cluster);
    let (at, leader) = (cluster.follower(), cluster.leader());
    let id = cluster.member(at).status().id;
    alter(cluster.member_mut(at), "good-two", "baad-two");
    let raise = format!(r#"{{"action":"ACTIVATE","memberID":"{id}","alarm":"CORRUPT"}}"#);
    cluster.member(leader).v3("maintenance/alarm", &raise);
    cluster.member_mut(at).start_unhealthy_again();
    let member = cluster.member(at);
    assert_eq!(member.metric(REBUILDS), Some(1.0));
    wait::until_true("the alarm is disarmed", || alarms(member) == 0);
    member.v3("kv/put", r#"{"key":"Yg==","value":"Yg=="}"#);
    cluster.wait_equal();
}

#[test]
fn a_corrupt_member_is_found_alarmed_and_rebuilt() {
    let mut cluster = Cluster::start_with(3, &["--corrupt-check-time", "1s"]);
    fill(&cluster);
    let at = cluster.follower();
    // The comparisons raised no alarm.
    assert_eq!(alarms(cluster.member(at)), 0);
    alter(cluster.member_mut(at), "good-two", "baad-two");
    cluster.member_mut(at).start_again();
    let member = cluster.member(at);
    wait::until_true("it is rebuilt", || member.metric(REBUILDS) == Some(1.0));
    assert_eq!(value_of_two(member), "good-two");
    let leader = cluster.member(cluster.leader());
    leader.wait_log(0, "members differ; raising the CORRUPT alarm");
    wait::until_true("the alarm is disarmed again", || {
        cluster.members().iter().all(|member| alarms(member) == 0)
    });
    member.v3("kv/put", r#"{"key":"Yg==","value":"Yg=="}"#);
    let ready = member.http("GET", "/readyz?verbose", "");
    assert_contains(ready.text(), "[+]data_corruption ok");
    cluster.wait_equal();

    // The peer port answers at etcd's path.
    let address = format!("127.0.0.1:{}", member.peer_port());
    let asked = http::once(&address, "GET", "/members/hashkv", r#"{"revision":2}"#);
    assert_eq!(asked.status, 200, "{}", asked.text());
    let hash = member.v3("maintenance/hashkv", r#"{"revision":"2"}"#);
    let asked = asked.json();
    assert_eq!(asked["hash"], hash["hash"]);
    let revisions = [&asked["hash_revision"], &asked["compact_revision"]];
    assert_eq!(revisions, [2, -1]);
    assert!(asked["header"]["revision"].as_i64() >= Some(2), "{asked}");
    let asked = http::once(&address, "GET", "/members/hashkv", r#"{"revision":999}"#);
    let future = "mvcc: required revision is a future revision\n";
    assert_eq!((asked.status, asked.text().as_str()), (400, future));
    let probe = http::once(&address, "GET", "/raft/probing", "").json();
    assert_eq!(probe["OK"], true);
}

/// Checks that states are compared after compactions. The corrupt member leads and transfers leadership before it replaces its
/// state.
#[test]
fn states_are_compared_after_compactions() {
    let args = [
        "--compact-hash-check-enabled",
        "--compact-hash-check-time",
        "1s",
    ];
    let mut cluster = Cluster::start_with(3, &args);
    fill(&cluster);
    let at = cluster.follower();
    alter(cluster.member_mut(at), "good-three", "baad-three");
    cluster.member_mut(at).start_again();
    cluster.transfer_leadership(at);
    let member = cluster.member(at);
    member.v3("kv/compaction", r#"{"revision":"2"}"#);
    wait::until_true("it is rebuilt", || member.metric(REBUILDS) == Some(1.0));
    wait::until_true("the alarm is disarmed again", || alarms(member) == 0);
    assert_ne!(cluster.leader(), at);
    cluster.wait_equal();
}

#[test]
fn members_that_differ_without_a_majority_do_not_start() {
    let mut cluster = Cluster::start_with(2, &["--feature-gates", "InitialCorruptCheck=true"]);
    fill(&cluster);
    let at = cluster.follower();
    alter(cluster.member_mut(at), "good-two", "baad-two");
    cluster.member_mut(at).start_unready_again();
    assert_eq!(cluster.member_mut(at).wait_exit().code(), Some(36));
    let member = cluster.member(at);
    member.wait_log(0, "no majority with the leader agrees on one");
}
