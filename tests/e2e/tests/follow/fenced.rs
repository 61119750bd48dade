//! A fence belongs to the attempt that raised it. No other attempt lowers it, no other cluster starts to follow while it is
//! raised, and a member checks it after the cut-over.

use std::fs;

use witan_e2e::{Cluster, Kind, Launch, Server, Tool, http, in_parallel, tool::witan, wait};

use super::{
    alarm, alarms, ask_cut_over, cluster::grow, cluster_id, cut_over, follow, no_cut_over, refuses,
    run, source, status, wait_copied,
};

const KINDS: [Kind; 2] = [Kind::Etcd34, Kind::Etcd37];

fn wait_fenced(source: &Server) -> Vec<String> {
    wait::until_true("the source is fenced", || {
        let refused = Tool::Etcdctl37.run(&source.url(), &["del", "x"]);
        refused.stderr.contains("corrupt")
    });
    alarms(source)
}

/// The first follower is like a rehearsal or a forgotten attempt.
#[test]
fn a_second_follower_neither_lowers_a_fence_nor_cuts_over() {
    in_parallel(KINDS, |kind| {
        let source = source(kind);
        let [first, second] = [follow(&source), follow(&source)];
        assert_ne!(cluster_id(&first), cluster_id(&second));
        for member in [&first, &second] {
            wait_copied(member, &source);
        }
        cut_over(&first);
        let fence = alarms(&source);
        assert_eq!(fence, [(cluster_id(&first) >> 32 << 32 | 1).to_string()]);
        wait::until_true("the second cluster detects the fence", || {
            let error = status(&second)["error"].to_string();
            error.contains("fenced by the cut-over of another cluster") && error.contains(&fence[0])
        });
        let message = no_cut_over(&second, 503);
        assert!(message.contains("of another cluster"), "{message}");
        // The second cluster checks the source two more times.
        for value in ["2", "3"] {
            refuses(&source, &["put", "a", value], "corrupt");
            let compared = status(&second)["equal"].as_u64();
            wait::until_true("it compares again", || {
                status(&second)["equal"].as_u64() > compared
            });
        }
        assert_eq!(alarms(&source), fence);
        run(&first, &["put", "a", "2"]);
        let mut third = Launch::witan().prepare();
        third.add_args(["--from", &source.url()]);
        third.start_unready_again();
        assert_eq!(third.wait_exit().code(), Some(1));
        third.wait_log(0, "fenced by the cut-over of another cluster");
    });
}

/// The member's systemd unit still passes `--from`, as the documents permit.
#[test]
fn a_first_member_that_has_lost_its_disk_does_not_start_over() {
    let source = source(Kind::Etcd34);
    let mut target = Cluster::prepare(1, &["--from", &source.url()]);
    target.start_all();
    grow(&mut target);
    wait_copied(target.member(0), &source);
    cut_over(target.member(0));
    let fence = alarms(&source);
    let first = target.member_mut(0);
    first.kill9();
    fs::remove_dir_all(first.dir().join("data")).expect("it has data");
    first.start_unready_again();
    assert_eq!(first.wait_exit().code(), Some(1));
    first.wait_log(0, "fenced by the cut-over of another cluster");
    assert_eq!(alarms(&source), fence);
    run(target.member(1), &["put", "k", "new"]);

    // No member checks the source after an operator opens it. The other members refuse the new cluster, whose id differs.
    run(&source, &["alarm", "disarm"]);
    let first = target.member_mut(0);
    first.start_again();
    let ids = [0, 1, 2].map(|at| cluster_id(target.member(at)));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[1], ids[2]);
    run(target.member(1), &["put", "k", "newer"]);
    for at in [1, 2] {
        let value = run(target.member(at), &["get", "k", "--print-value-only"]);
        assert_eq!(value.trim(), "newer");
    }
    assert_eq!(run(target.member(0), &["get", "k"]), "");
    refuses(target.member(0), &["put", "k", "1"], "follows another one");
}

/// A script or a delayed request may disarm an alarm.
#[test]
fn a_removed_fence_is_raised_again_until_the_source_is_declared_gone() {
    in_parallel(KINDS, |kind| {
        let source = source(kind);
        let mut member = follow(&source);
        wait_copied(&member, &source);
        let gone = ["follow", "source-gone", "--endpoint", &member.url()].map(str::to_owned);
        let gone = || witan(&gone.each_ref().map(String::as_str));
        assert!(gone().all().contains("cut over first"), "{}", gone().all());
        cut_over(&member);
        let first = alarms(&source);
        run(&source, &["alarm", "disarm"]);
        let second = wait_fenced(&source);
        assert!(!second.is_empty() && second != first, "{second:?}");
        wait::until_true("it is shown", || {
            status(&member)["raisedAgain"].as_u64() >= Some(1)
        });
        let counted = member.metric("witan_follow_fence_raised_again_total");
        assert!(counted >= Some(1.0), "{counted:?}");
        assert_eq!(member.metric("witan_follow_guarding"), Some(1.0));

        // The cluster's state contains the fence, and CORRUPT alone is not a complete fence.
        member.kill9();
        alarm(&source, "DEACTIVATE", &second[0], "CORRUPT");
        assert_eq!(run(&source, &["del", "a"]), "1\n");
        member.start_again();
        wait_fenced(&source);
        wait::until_true("the status shows the removed fence", || {
            let status = status(&member);
            status["guarding"] == true && status["lag"].as_u64() >= Some(1)
        });
        member.wait_log(0, "the source has accepted writes after the cut-over");

        assert_eq!(gone().stdout, "the source is no longer checked\n");
        wait::until_true("not guarding", || status(&member)["guarding"] == false);
        run(&source, &["alarm", "disarm"]);
        run(&source, &["put", "a", "2"]);
        member.kill9_and_start();
        wait::until_true("not guarding", || status(&member)["guarding"] == false);
        run(&source, &["put", "a", "3"]);
    });
}

/// A page must not use the member's privileges at the source.
#[test]
fn a_page_of_another_origin_cannot_cut_over() {
    let source = source(Kind::Etcd37);
    let member = follow(&source);
    wait_copied(&member, &source);
    let post =
        |path: &str, headers: &[(&str, &str)]| member.http_with(headers, "POST", path, "").status;
    let json = http::JSON[0];
    for path in ["/follow/cut-over", "/follow/source-gone"] {
        for origin in ["http://evil.example", "null"] {
            assert_eq!(post(path, &[json, ("Origin", origin)]), 403);
        }
        assert_eq!(post(path, &[json, ("Sec-Fetch-Site", "cross-site")]), 403);
        for kind in ["text/plain", http::FORM, "multipart/form-data"] {
            assert_eq!(post(path, &[("Content-Type", kind)]), 415);
        }
        assert_eq!(post(path, &[]), 415);
    }
    run(&source, &["put", "a", "2"]);
    assert_eq!(ask_cut_over(&member).status, 200);
}
