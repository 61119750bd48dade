//! Adds and removes members while clients write. Changes that would lose the quorum are refused.

use serde_json::json;
use witan_e2e::{Cluster, Tool, Writers, assert_contains, http, writers::assert_all_there};

/// Exit code of a removed member.
const REMOVED: i32 = 34;

const WRITERS: usize = 4;
const WRITES: u64 = 100;

/// Prepares a member that joins the members `present`. The first of them adds it. Returns its position.
fn add_joining(cluster: &mut Cluster, present: &[usize], learner: bool) -> usize {
    let at = cluster.prepare_joining(present);
    let peer_url = cluster.member(at).peer_url();
    let body = json!({ "peerURLs": [peer_url], "isLearner": learner });
    cluster.member(present[0]).change_members("add", &body);
    at
}

#[test]
fn a_member_joins_a_running_cluster_and_leaves_it() {
    let mut cluster = Cluster::start(1);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    for joining in 1..3 {
        let present: Vec<usize> = (0..joining).collect();
        let at = add_joining(&mut cluster, &present, false);
        // The harness passes `--initial-cluster-state existing` to joining members.
        cluster.member_mut(at).start_again();
        writers.wait_more(WRITES);
    }
    cluster.member(0).wait_log(0, "added member");
    let mut written = writers.stop();
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    let leader = cluster.leader();
    let through = (leader + 1) % 3;
    let id = cluster.member(leader).status().id;
    let body = json!({ "ID": id.to_string() });
    cluster.member(through).change_members("remove", &body);
    let code = cluster.member_mut(leader).wait_exit().code();
    assert_eq!(code, Some(REMOVED));
    cluster.member(through).wait_log(0, "removed member");
    writers.wait_more(WRITES);
    written.extend(writers.stop());
    assert_all_there(cluster.member(through), &written);
    // The removed member cannot restart under its old id.
    cluster.member_mut(leader).start_unready_again();
    let code = cluster.member_mut(leader).wait_exit().code();
    assert_eq!(code, Some(REMOVED));
}

#[test]
fn a_joining_member_retries_while_no_member_answers() {
    let mut cluster = Cluster::start(1);
    let at = add_joining(&mut cluster, &[0], true);
    // A starting member answers before it has applied its log. Write a checkpoint, so that its state contains the addition.
    cluster.member(0).v3("maintenance/defragment", "{}");
    cluster.member_mut(0).kill9();
    let joining = cluster.member_mut(at);
    joining.start_unready_again();
    joining.wait_log(0, "no member of the cluster answers; retrying");
    cluster.member_mut(0).start_again();
    cluster.member_mut(at).wait_ready();
}

#[test]
fn additions_are_refused_while_a_member_has_not_started() {
    let cluster = Cluster::start(2);
    let leader = cluster.member(cluster.leader());
    leader.change_members("add", &json!({ "peerURLs": ["http://127.0.0.1:1"] }));
    let second = Tool::Etcdctl36.run(
        &leader.url(),
        &["member", "add", "b", "--peer-urls=http://127.0.0.1:2"],
    );
    assert_contains(second.all(), "not enough started members");
    let body = json!({"peerURLs": ["http://127.0.0.1:2"]}).to_string();
    let second = leader.http_with(&http::JSON, "POST", "/v2/members", &body);
    assert_eq!(second.status, 500, "{}", second.text());
    let list = leader.http("GET", "/v2/members", "").json();
    let members = list["members"].as_array().expect("a list");
    let unstarted = members
        .iter()
        .find(|m| m["name"] == "")
        .expect("it is listed");
    let id = unstarted["id"].as_str().expect("an id");
    leader.answers(204, "DELETE", &format!("/v2/members/{id}"), "");
    leader.answers(410, "DELETE", &format!("/v2/members/{id}"), "");
    // Without the check, an addition needs no healthy members.
    let mut cluster = Cluster::start_with(3, &["--strict-reconfig-check=false"]);
    let follower = cluster.follower();
    cluster.member_mut(follower).kill9();
    let leader = cluster.member(cluster.leader());
    leader.etcdctl(&["member", "add", "b", "--peer-urls=http://127.0.0.1:2"]);
}
