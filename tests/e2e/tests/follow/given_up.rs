//! Abandoned cut-overs. The source and this cluster must never accept writes at the same time.

use witan_e2e::{Cluster, Kind, Launch, assert_contains, in_parallel, wait};

use super::{
    ETCDS, alarm, alarms, ask_cut_over, cluster::grow, cut_over, follow, no_cut_over, refuses, run,
    source, status, wait_copied,
};

/// Before etcd 3.6, a NOSPACE alarm raised after CORRUPT replaces it, and deletions are accepted again.
#[test]
fn a_source_that_runs_out_of_space_stays_fenced() {
    in_parallel(ETCDS, |kind| {
        let source = source(kind);
        let member = follow(&source);
        cut_over(&member);
        assert_eq!(status(&member)["fenced"], true);
        alarm(&source, "ACTIVATE", "7", "NOSPACE");
        alarm(&source, "DEACTIVATE", "7", "NOSPACE");
        refuses(&source, &["del", "a"], "corrupt");
    });
}

/// The cluster may have copied damaged data. In a source older than etcd 3.6, the fence would also override the alarm, and the
/// source would accept deletions.
#[test]
fn a_cut_over_is_refused_while_the_source_has_the_corrupt_alarm() {
    in_parallel(ETCDS, |kind| {
        let source = source(kind);
        let member = follow(&source);
        wait_copied(&member, &source);
        let own = source.v3("cluster/member/list", "{}")["members"][0]["ID"].clone();
        let own = own.as_str().expect("an id");
        alarm(&source, "ACTIVATE", own, "CORRUPT");
        let message = no_cut_over(&member, 503);
        assert!(message.contains("has the CORRUPT alarm"), "{message}");
        assert_eq!(alarms(&source), [own]);
        refuses(&source, &["del", "a"], "corrupt");
        assert_eq!(status(&member)["fenced"], false);
        assert_eq!(member.metric("witan_follow_source_fenced"), Some(0.0));
        alarm(&source, "DEACTIVATE", own, "CORRUPT");
        run(&source, &["put", "a", "2"]);
        cut_over(&member);
        assert_eq!(member.metric("witan_follow_source_fenced"), Some(1.0));
    });
}

/// Without a refusal, the first put after the cut-over would raise an alarm, and neither cluster would accept writes.
#[test]
fn a_cluster_whose_quota_is_used_up_does_not_take_over() {
    let source = Launch::new(Kind::Etcd37).start();
    for key in ["a", "b", "c"] {
        run(&source, &["put", key, &"x".repeat(100_000)]);
    }
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &source.url(), "--quota-backend-bytes=200000"]);
    member.start_again();
    let refused = no_cut_over(&member, 409);
    assert_contains(&refused, "--quota-backend-bytes allows only 200000");
    assert_eq!(status(&member)["fenced"], false);
    run(&source, &["put", "a", "1"]);
    wait_copied(&member, &source);
    member.kill9();
    member.add_args(["--quota-backend-bytes=0"]);
    member.start_again();
    cut_over(&member);
    run(&member, &["put", "a", "2"]);
}

/// The source continues, and the cut-over succeeds when there is a quorum again.
#[test]
fn a_cluster_without_a_quorum_does_not_take_over() {
    let source = source(Kind::Etcd37);
    let mut target = Cluster::prepare(1, &["--from", &source.url()]);
    target.start_all();
    grow(&mut target);
    wait_copied(target.member(0), &source);
    for at in [1, 2] {
        target.member(at).signal("STOP");
    }
    let refused = ask_cut_over(target.member(0));
    assert_ne!(refused.status, 200, "{}", refused.text());
    run(&source, &["put", "a", "2"]);
    assert_eq!(status(target.member(0))["fenced"], false);
    for at in [1, 2] {
        target.member(at).signal("CONT");
    }
    wait::until_true("it takes over", || {
        ask_cut_over(target.member(0)).status == 200
    });
    let value = run(target.member(0), &["get", "a", "--print-value-only"]);
    assert_eq!(value.trim(), "2");
}
