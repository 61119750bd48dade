//! A cut-over that is not done, and what keeps the source from taking writes beside this cluster.

use serde_json::{Value, json};
use witan_e2e::{Cluster, Kind, Launch, Server, Tool, wait};

use super::{ETCDS, cluster::grow, cut_over, follow, refuses, run, status, wait_copied};

/// The id of the member that the alarms of a fence name, as JSON has it.
const FENCE: &str = "375431389550";

fn alarm(etcd: &Server, action: &str, member: &str, alarm: &str) -> Value {
    let asked = json!({ "action": action, "memberID": member, "alarm": alarm });
    etcd.v3("maintenance/alarm", &asked.to_string())
}

/// Before 3.6, an alarm NOSPACE that is raised behind an alarm CORRUPT takes its place, and deletions are taken again.
#[test]
fn a_source_that_runs_out_of_space_stays_fenced() {
    for kind in ETCDS {
        let source = Launch::new(kind).start();
        run(&source, &["put", "a", "1"]);
        let member = follow(&source);
        cut_over(&member);
        assert_eq!(status(&member)["fenced"], true);
        alarm(&source, "ACTIVATE", "7", "NOSPACE");
        alarm(&source, "DEACTIVATE", "7", "NOSPACE");
        refuses(&source, &["del", "a"], "corrupt");
    }
}

/// A member that is killed during a cut-over leaves the source fenced.
#[test]
fn a_fence_that_a_killed_member_left_is_lifted() {
    let source = Launch::new(Kind::Etcd37).start();
    run(&source, &["put", "a", "1"]);
    let mut member = follow(&source);
    wait_copied(&member, &source);
    member.kill9();
    for kind in ["NOSPACE", "CORRUPT"] {
        alarm(&source, "ACTIVATE", FENCE, kind);
    }
    let refused = Tool::Etcdctl37.run(&source.url(), &["put", "a", "2"]);
    assert_ne!(refused.code, Some(0), "{}", refused.all());
    member.start_again();
    wait::until_true("the source takes writes", || {
        Tool::Etcdctl37.run(&source.url(), &["put", "a", "2"]).code == Some(0)
    });
    wait::until_true("it is shown", || status(&member)["fenced"] == false);
    assert_eq!(member.metric("witan_follow_source_fenced"), Some(0.0));
    let alarms = alarm(&source, "GET", "0", "NONE");
    assert!(alarms.get("alarms").is_none(), "{alarms}");
    cut_over(&member);
    assert_eq!(member.metric("witan_follow_source_fenced"), Some(1.0));
}

/// After the cut-over the first put would raise an alarm, and neither cluster would take writes.
#[test]
fn a_cluster_whose_quota_is_used_up_does_not_take_over() {
    let source = Launch::new(Kind::Etcd37).start();
    for key in ["a", "b", "c"] {
        run(&source, &["put", key, &"x".repeat(100_000)]);
    }
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &source.url(), "--quota-backend-bytes=200000"]);
    member.start_again();
    let refused = member.answers(409, "POST", "/follow/cut-over", "");
    assert!(
        refused
            .text()
            .contains("--quota-backend-bytes allows 200000"),
        "{}",
        refused.text()
    );
    assert_eq!(status(&member)["fenced"], false);
    run(&source, &["put", "a", "1"]);
    wait_copied(&member, &source);
    member.kill9();
    member.add_args(["--quota-backend-bytes=0"]);
    member.start_again();
    cut_over(&member);
    run(&member, &["put", "a", "2"]);
}

/// The source goes on, and the cut-over is done once there is a quorum again.
#[test]
fn a_cluster_without_a_quorum_does_not_take_over() {
    let source = Launch::new(Kind::Etcd37).start();
    run(&source, &["put", "a", "1"]);
    let mut target = Cluster::prepare(1, &["--from", &source.url()]);
    target.start_all();
    grow(&mut target);
    wait_copied(target.member(0), &source);
    for at in [1, 2] {
        target.member(at).signal("STOP");
    }
    let refused = target.member(0).http("POST", "/follow/cut-over", "");
    assert_ne!(refused.status, 200, "{}", refused.text());
    run(&source, &["put", "a", "2"]);
    assert_eq!(status(target.member(0))["fenced"], false);
    for at in [1, 2] {
        target.member(at).signal("CONT");
    }
    wait::until_true("it takes over", || {
        target.member(0).http("POST", "/follow/cut-over", "").status == 200
    });
    assert_eq!(
        run(target.member(0), &["get", "a", "--print-value-only"]).trim(),
        "2"
    );
}
