//! Members that run on copies of their data directories. An older copy loses no acknowledged write, and a member or cluster
//! that moves to another disk needs no manual step.

use std::{fs, path::PathBuf};

use serde_json::json;
use witan_e2e::{Cluster, Server, Writers, folder, wait, writers::assert_all_there};

const WRITERS: usize = 4;

/// Number of acknowledged writes between two steps.
const WRITES: u64 = 100;

const COPIED: &str = "the data directory is a copy";
const UP_TO_DATE: &str = "the data directory was a copy";

/// Starts members that soon serve clients even without a leader.
fn three() -> Cluster {
    Cluster::start_with(3, &["--wait-cluster-ready-timeout", "100ms"])
}

fn spare(member: &Server) -> PathBuf {
    member.dir().join("spare")
}

/// Copies the data directory of a stopped member.
fn keep(member: &Server) {
    folder::copy(&member.dir().join("data"), &spare(member));
}

/// Replaces the data directory with the copy.
fn put_back(member: &Server) {
    let data = member.dir().join("data");
    fs::remove_dir_all(&data).expect("it is removed");
    folder::copy(&spare(member), &data);
    fs::remove_dir_all(spare(member)).expect("it is removed");
}

/// Puts `key` and returns the HTTP status.
fn put(member: &Server, key: &str) -> u16 {
    let body = json!({"key": key, "value": "YQ=="}).to_string();
    member.http("POST", "/v3/kv/put", &body).status
}

fn is_there(member: &Server, key: &str) -> bool {
    let body = json!({"key": key, "serializable": true}).to_string();
    let read = member.http("POST", "/v3/kv/range", &body);
    read.json()["count"] == "1"
}

fn shows(member: &Server, copied: u8) -> bool {
    let line = format!("\nwitan_data_directory_copied {copied}\n");
    member.http("GET", "/metrics", "").text().contains(&line)
}

/// One member has an acknowledged write. A second member acknowledged it and lost it, and the third never received it.
#[test]
fn an_older_copy_helps_to_elect_nobody_who_lacks_what_was_acknowledged() {
    let mut cluster = three();
    let holder = cluster.leader();
    let (behind, copied) = ((holder + 1) % 3, (holder + 2) % 3);
    assert_eq!(put(cluster.member(holder), "YmVmb3Jl"), 200);
    cluster.wait_equal();
    cluster.member_mut(copied).terminate();
    keep(cluster.member(copied));
    cluster.member_mut(copied).start_again();
    cluster.member_mut(behind).kill9();
    assert_eq!(put(cluster.member(holder), "YWNrZWQ="), 200);
    wait::until_true("both have it", || {
        [holder, copied]
            .iter()
            .all(|at| is_there(cluster.member(*at), "YWNrZWQ="))
    });
    cluster.member_mut(holder).kill9();
    cluster.member_mut(copied).kill9();
    put_back(cluster.member(copied));

    let skip_behind = cluster.member(behind).log().len();
    cluster.member_mut(behind).start_unready_again();
    // Start twice, because one start does not make the copy the member's own directory.
    for _ in 0..2 {
        let skip = cluster.member(copied).log().len();
        cluster.member_mut(copied).start_unready_again();
        for (at, skip) in [(behind, skip_behind), (copied, skip)] {
            let member = cluster.member(at);
            member.wait_log(skip, "serving client traffic");
            assert_ne!(put(member, "bGF0ZXI="), 200, "there is a leader");
        }
        cluster.member(copied).wait_log(skip, COPIED);
        assert!(shows(cluster.member(copied), 1) && shows(cluster.member(behind), 0));
        cluster.member_mut(copied).kill9();
    }

    let skip = cluster.member(copied).log().len();
    cluster.member_mut(copied).start_unready_again();
    cluster.member_mut(holder).start_again();
    cluster.leader();
    for at in [holder, behind, copied] {
        wait::until_true("it is there", || is_there(cluster.member(at), "YWNrZWQ="));
    }
    assert_eq!(put(cluster.member(copied), "bGF0ZXI="), 200);
    cluster.member(copied).wait_log(skip, UP_TO_DATE);
    assert!(shows(cluster.member(copied), 0));
    cluster.wait_equal();
    // The member votes again, and its next start finds no copy.
    let skip = cluster.member(copied).log().len();
    cluster.member_mut(copied).kill9();
    cluster.member_mut(copied).start_again();
    assert!(shows(cluster.member(copied), 0));
    assert!(
        !cluster.member(copied).log()[skip..]
            .iter()
            .any(|line| line.contains(COPIED))
    );
    let leader = cluster.leader();
    cluster.member_mut(leader).kill9();
    let rest = cluster.follower();
    assert_eq!(put(cluster.member(rest), "bW9yZQ=="), 200);
}

fn moves(member: &mut Server) {
    assert_eq!(member.terminate().code(), Some(0));
    keep(member);
    put_back(member);
}

#[test]
fn members_move_to_other_disks_one_by_one_and_then_all_at_once() {
    let mut cluster = three();
    let writers = Writers::start(WRITERS, &cluster.addresses());
    for at in 0..3 {
        writers.wait_more(WRITES);
        let member = cluster.member_mut(at);
        let skip = member.log().len();
        moves(member);
        member.start_again();
        member.wait_log(skip, UP_TO_DATE);
    }
    let written = writers.stop();
    (0..3).for_each(|at| moves(cluster.member_mut(at)));
    let skip = cluster.member(0).log().len();
    cluster.start_all();
    cluster.member(0).wait_log(skip, UP_TO_DATE);
    for member in cluster.members() {
        assert_all_there(member, &written);
    }
    cluster.wait_equal();
}
