//! `--force-new-cluster` on the only remaining member of three.

use std::path::Path;

use serde_json::{Value, json};
use witan_e2e::{Cluster, Writers, http, tool::witan, wait, writers::assert_all_there};

const WRITERS: usize = 4;
const WRITES: u64 = 200;

fn members(address: &str) -> Vec<Value> {
    let listed = http::once(address, "GET", "/v2/members", "").json();
    listed["members"].as_array().expect("a list").clone()
}

fn info(dir: &Path) -> Value {
    let said = witan(&["info", &dir.display().to_string(), "-w", "json"]);
    serde_json::from_str(&said.succeeded()).expect("JSON")
}

#[test]
fn a_member_continues_alone_after_the_others_are_lost() {
    let mut cluster = Cluster::start(3);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    // The leader has all acknowledged writes. Kill the others first, so that it cannot transfer leadership.
    let last = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|at| *at != last).collect();
    let before = members(&cluster.member(last).address());
    for at in &others {
        cluster.member_mut(*at).kill9();
    }
    cluster.member_mut(last).kill9();
    let written = writers.stop();
    // No other member's log may end after the leader's.
    let ends = |at: usize| {
        let found = info(&cluster.member(at).dir().join("data"));
        let number = |name: &str| found[name].as_u64().expect("a number");
        assert_ne!(found["name"], "", "{found}");
        assert!(number("keys") >= WRITES, "{found}");
        (number("term"), number("index"))
    };
    assert!(others.iter().all(|at| ends(*at) <= ends(last)));

    let flag = "--force-new-cluster";
    cluster.member_mut(last).add_args([flag]);
    cluster.member_mut(last).start_again();
    let address = cluster.member(last).address();
    let alone = members(&address);
    assert_eq!(alone.len(), 1, "{alone:?}");
    assert!(before.contains(&alone[0]), "the identity stays: {alone:?}");
    assert_all_there(cluster.member(last), &written);
    cluster
        .member(last)
        .answers(201, "PUT", "/v2/keys/a", "value=1");

    // The next start with the flag changes nothing.
    let ended = cluster.member_mut(last).terminate();
    assert_eq!(ended.code(), Some(0));
    cluster.member_mut(last).start_again();
    assert_eq!(members(&address), alone);
    assert_all_there(cluster.member(last), &written);

    // An old member is refused. It keeps trying, because only one of the two other members refuses it.
    let old = cluster.member_mut(others[0]);
    old.start_unready_again();
    old.wait_log(0, "removed");
    let refused = "witan_peer_refused_total{reason=\"removed\"}";
    wait::until_true("the member that is left refuses the old one", || {
        cluster.member(last).metric(refused) > Some(0.0)
    });
    assert_eq!(members(&address), alone);
    cluster
        .member(last)
        .answers(200, "PUT", "/v2/keys/a", "value=2");
}

/// Restarts the first member with the flag. Panics unless it exits and removes nothing, because member `other` runs.
fn assert_refused(cluster: &mut Cluster, other: usize) {
    let before = members(&cluster.member(other).address());
    assert!(before.len() > 1, "{before:?}");
    let own = cluster.member_mut(0);
    own.terminate();
    own.add_args(["--force-new-cluster"]);
    own.start_unready_again();
    assert_eq!(own.wait_exit().code(), Some(1));
    own.wait_log(0, "would remove the members running");
    assert_eq!(members(&cluster.member(other).address()), before);
}

#[test]
fn a_member_does_not_remove_members_that_run() {
    assert_refused(&mut Cluster::start(3), 1);
}

/// The first member's checkpoint does not contain the second member, which is only in the log.
#[test]
fn a_member_does_not_remove_a_member_that_joined_after_the_checkpoint() {
    let mut cluster = Cluster::start(1);
    let joined = cluster.prepare_joining(&[0]);
    let added = json!({"peerURLs": [cluster.member(joined).peer_url()]});
    cluster
        .member(0)
        .v3("cluster/member/add", &added.to_string());
    cluster.member_mut(joined).start_again();
    assert_refused(&mut cluster, joined);
}
