//! Three members follow a cluster of three while clients write and members are killed.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use witan_e2e::{Cluster, Kind, Launch, Server, Tool, Writers, wait, writers};

use super::{cut_over, revision, run, same_hash, status, wait_copied};

/// Number of writes while no member is killed.
const WRITES: u64 = 6000;

const WRITERS: usize = 32;

/// Sends large transactions, deletions, expiring leases and compactions until `stop`. Ignores failed commands, because members
/// are killed in the meantime.
fn disturb(source: &[Server], stop: &AtomicBool) {
    let mut round = 0;
    while !stop.load(Relaxed) {
        let at = &source[round % source.len()].url();
        let tool = |args: &[&str]| Tool::Etcdctl37.run(at, args);
        let puts: String = (0..50)
            .map(|key| format!("put txn/{key} {round}\n"))
            .collect();
        Tool::Etcdctl37.run_with_input(at, &["txn"], &format!("\n{puts}del txn/x\n\n\n"));
        let granted = tool(&["lease", "grant", "2"]);
        if let Some(lease) = granted.stdout.split_whitespace().nth(1) {
            tool(&["put", &format!("lease/{round}"), "x", "--lease", lease]);
        }
        tool(&["del", "txn/1", "txn/3"]);
        if round % 5 == 4 {
            let said = tool(&["get", "k", "-w", "json"]);
            let revision = said.stdout.split("\"revision\":").nth(1);
            let revision = revision.and_then(|text| text.split(',').next()?.parse::<i64>().ok());
            if let Some(revision) = revision {
                tool(&["compact", &(revision - 200).to_string()]);
            }
        }
        round += 1;
    }
}

/// Adds two members, started without `--from`, to the cluster that follows.
pub(super) fn grow(cluster: &mut Cluster) {
    for _ in 0..2 {
        let present: Vec<usize> = (0..cluster.members().len()).collect();
        let at = cluster.prepare_joining(&present);
        let peer_url = cluster.member(at).peer_url();
        let name = format!("m{at}");
        wait::until_true("the member is added", || {
            let url = cluster.member(0).url();
            let said =
                Tool::Etcdctl37.run(&url, &["member", "add", &name, "--peer-urls", &peer_url]);
            said.code == Some(0)
        });
        cluster.member_mut(at).start_again();
    }
}

#[test]
fn three_members_replace_three_while_members_are_killed() {
    let mut source = Cluster::prepare_of(&Launch::new(Kind::Etcd37), "http", 3);
    source.start_all();
    let urls: Vec<String> = source.members().iter().map(Server::url).collect();
    let mut target = Cluster::prepare(1, &["--from", &urls.join(",")]);
    let writers = Writers::start(WRITERS, &source.addresses());
    writers.wait_more(200);
    target.start_all();
    grow(&mut target);
    for _ in 0..3 {
        writers.wait_more(500);
        target.member_mut(0).kill9();
        let leader = source.leader();
        source.member_mut(leader).kill9();
        writers.wait_more(200);
        target.member_mut(0).start_again();
        source.member_mut(leader).start_again();
        writers.wait_more(200);
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| disturb(source.members(), &stop));
        let begun = Instant::now();
        writers.wait_more(WRITES);
        println!("{WRITES} puts of {WRITERS} writers: {:?}", begun.elapsed());
        wait_copied(target.member(0), source.member(0));
        wait::within(Duration::from_secs(60), "the keys are compared", || {
            (status(target.member(0))["equal"].as_u64() >= Some(1)).then_some(())
        });
        let report = cut_over(target.member(0));
        println!("pause of the writers: {} ms", report["pauseMs"]);
        stop.store(true, Relaxed);
    });
    let written = writers.stop();
    let last = revision(source.member(0));
    writers::assert_all_there(target.member(0), &written);
    for member in target.members() {
        wait::until_true("the others have the key", || revision(member) >= last);
        same_hash(member, source.member(0), last);
    }
    assert_eq!(status(target.member(0))["different"], 0);
    let there = target.member(1).http("GET", "/follow", "");
    assert_eq!(there.status, 404);
    assert_eq!(there.json()["following"], false);
    let leader = target.leader();
    target.member_mut(leader).kill9();
    run(target.member(target.follower()), &["put", "after", "1"]);
}
