//! A single member follows a single etcd: copied data and refusals.

use std::{fs, time::Duration};

use witan_e2e::{Kind, Launch, Server, Tool, assert_contains, in_parallel, wait};

use super::{
    ETCDS, cut_over, follow, no_cut_over, refuses, revision, run, same_hash, source, status,
    wait_copied,
};

fn etcd(kind: Kind) -> Server {
    Launch::new(kind).start()
}

fn grant(server: &Server, seconds: &str) -> String {
    let said = run(server, &["lease", "grant", seconds]);
    let id = said.split_whitespace().nth(1);
    id.expect("lease ID granted").to_owned()
}

fn list(server: &Server, args: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = run(server, args).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn write_all_kinds(etcd: &Server, round: &str) {
    for key in ["a", "b", "c"] {
        run(etcd, &["put", key, round]);
        run(etcd, &["put", key, "\u{1}binary \u{fffd}"]);
    }
    let lease = grant(etcd, "600");
    let key = format!("leased{round}");
    run(etcd, &["put", &key, "x", "--lease", &lease]);
    let ended = grant(etcd, "600");
    let key = format!("ended{round}");
    run(etcd, &["put", &key, "x", "--lease", &ended]);
    run(etcd, &["lease", "revoke", &ended]);
    grant(etcd, "700");
    run(etcd, &["del", "c"]);
    let txn = "value(\"b\") != \"1\"\n\nput t1 1\nput t2 2\ndel b\n\nput t3 3\n\n";
    let said = Tool::Etcdctl37.run_with_input(&etcd.url(), &["txn"], txn);
    assert!(said.stdout.contains("SUCCESS"), "{}", said.all());
    // etcd does not compare a deletion of all later keys with the puts in the same transaction, so `z` changes twice.
    run(etcd, &["put", "z", round]);
    let twice = "\n\ndel y --from-key\nput z again\n\n\n";
    let said = Tool::Etcdctl37.run_with_input(&etcd.url(), &["txn"], twice);
    assert!(said.stdout.contains("SUCCESS"), "{}", said.all());
    run(etcd, &["put", "compacted", round]);
    let compacted = revision(etcd) - 2;
    run(etcd, &["compact", &compacted.to_string()]);
    run(etcd, &["role", "add", &format!("reader{round}")]);
    run(etcd, &["user", "add", &format!("anne{round}:secret")]);
}

#[test]
fn a_cluster_follows_etcd_and_takes_its_place() {
    in_parallel(ETCDS, |kind| {
        let source = etcd(kind);
        write_all_kinds(&source, "1");
        let member = follow(&source);
        write_all_kinds(&source, "2");
        wait_copied(&member, &source);
        assert_eq!(run(&member, &["get", "leased2"]), "leased2\nx\n");
        refuses(&member, &["put", "own", "1"], "follows another one");
        refuses(&member, &["lease", "grant", "60"], "follows another one");
        member.answers(500, "PUT", "/v2/keys/own", "value=1");

        let report = cut_over(&member);
        let last = revision(&source);
        assert_eq!(report["revision"].as_i64(), Some(last));
        same_hash(&member, &source, last);
        for args in [["lease", "list"], ["user", "list"], ["role", "list"]] {
            assert_eq!(list(&member, &args), list(&source, &args), "{args:?}");
        }
        refuses(&source, &["put", "late", "1"], "corrupt");
        wait::until_true("the keys are compared after the cut-over", || {
            status(&member)["lastEqualRevision"].as_i64() == Some(last)
        });
        assert_eq!(status(&member)["different"], 0);
        run(&member, &["put", "own", "1"]);
        assert_eq!(revision(&member), last + 1);
        // A watcher of the source resumes here after its last event.
        let args = ["watch", "", "--prefix", "--rev", &last.to_string()];
        let mut watch = Tool::Etcdctl37.follow(&member.url(), &args);
        let lines: Vec<String> = (0..6).map_while(|_| watch.line()).collect();
        drop(watch);
        assert_eq!(lines, ["PUT", "compacted", "2", "PUT", "own", "1"]);
        member.require_users(&["root:root"]);
        run(&member, &["put", "x", "1", "--user", "root:root"]);
        let [wrong, right] = ["anne2:wrong", "anne2:secret"];
        let args = ["get", "a", "--user", wrong];
        refuses(&member, &args, "authentication failed");
        refuses(&member, &["get", "a", "--user", right], "permission denied");
    });
}

/// Until the cut-over, leases end only at the source. After it, each lease has its full TTL.
#[test]
fn leases_end_at_the_source_and_continue_after_the_cut_over() {
    let source = etcd(Kind::Etcd37);
    let short = grant(&source, "3");
    run(&source, &["put", "short", "x", "--lease", &short]);
    let long = grant(&source, "600");
    run(&source, &["put", "long", "x", "--lease", &long]);
    let mut member = follow(&source);
    assert_eq!(run(&member, &["get", "short"]), "short\nx\n");
    member.kill9();
    wait::until_true("the lease has ended at the source", || {
        run(&source, &["get", "short"]).is_empty()
    });
    member.start_again();
    wait_copied(&member, &source);
    assert_eq!(run(&member, &["get", "short"]), "");
    wait::until_true("the expired lease is removed", || {
        list(&member, &["lease", "list"]) == list(&source, &["lease", "list"])
    });
    cut_over(&member);
    let left = run(&member, &["lease", "timetolive", &long]);
    assert_contains(&left, "granted with TTL(600s), remaining(");
    let own = grant(&member, "2");
    run(&member, &["put", "own", "x", "--lease", &own]);
    wait::until_true("a lease ends", || run(&member, &["get", "own"]).is_empty());
}

#[test]
fn a_lost_source_is_retried_and_not_cut_over() {
    let mut source = source(Kind::Etcd37);
    let member = follow(&source);
    wait_copied(&member, &source);
    source.kill9();
    wait::until_true("an error is shown", || status(&member)["error"].is_string());
    assert_eq!(member.metric("witan_follow_connected"), Some(0.0));
    no_cut_over(&member, 503);
    assert_eq!(run(&member, &["get", "a"]), "a\n1\n");
    source.start_again();
    run(&source, &["put", "a", "2"]);
    wait_copied(&member, &source);
    assert_eq!(run(&member, &["get", "a"]), "a\n2\n");
    assert_eq!(member.metric("witan_follow_connected"), Some(1.0));
}

#[test]
fn a_source_that_cannot_be_followed_is_reported_at_startup() {
    let source = etcd(Kind::Etcd37);
    let peers = "default=http://127.0.0.1:1,m1=http://127.0.0.1:2";
    let nobody = "http://127.0.0.1:1";
    for (args, said) in [
        (&["--from", nobody][..], "sent no snapshot"),
        (
            &["--from", &source.url(), "--initial-cluster", peers],
            "begins with one member",
        ),
        (&["--from", "ftp://x"], "must be HOST:PORT or URLs"),
    ] {
        let mut member = Launch::witan().prepare();
        member.add_args(args.iter().copied());
        member.start_unready_again();
        let ended = member.wait_exit();
        assert_eq!(ended.code(), Some(1), "{args:?}");
        member.wait_log(0, said);
    }
}

/// The deletion has more writes than an entry for several revisions may have, and more bytes than one message of the source's
/// watch.
#[test]
fn a_deletion_of_many_keys_stays_one_revision() {
    let source = etcd(Kind::Etcd37);
    let member = follow(&source);
    let puts: String = (0..100)
        .map(|at| format!("put many/{at:0600} x\n"))
        .collect();
    for round in 0..30 {
        let puts = puts.replace("many/", &format!("many/{round}/"));
        let said =
            Tool::Etcdctl37.run_with_input(&source.url(), &["txn"], &format!("\n{puts}\n\n"));
        assert!(said.stdout.contains("SUCCESS"), "{}", said.all());
    }
    assert_eq!(run(&source, &["del", "many/", "--prefix"]), "3000\n");
    wait_copied(&member, &source);
    let last = revision(&source);
    same_hash(&member, &source, last);
    wait::within(Duration::from_secs(60), "the keys are compared", || {
        (status(&member)["lastEqualRevision"].as_i64() == Some(last)).then_some(())
    });
}

/// Without a check, the other cluster's revisions would continue the copied ones.
#[test]
fn another_cluster_at_the_same_address_is_not_copied() {
    let mut source = source(Kind::Etcd37);
    let member = follow(&source);
    wait_copied(&member, &source);
    source.kill9();
    fs::remove_dir_all(source.dir().join("data")).expect("it has data");
    source.add_args(["--initial-cluster-token=another"]);
    source.start_again();
    for value in ["2", "3", "4"] {
        run(&source, &["put", "b", value]);
    }
    wait::until_true("it is noticed", || {
        let error = status(&member)["error"].to_string();
        error.contains("is a member of cluster") && error.contains("of the followed cluster")
    });
    assert_eq!(revision(&member), 2);
    no_cut_over(&member, 503);
    run(&source, &["put", "b", "5"]);
}
