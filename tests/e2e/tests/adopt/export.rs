//! `witan export` creates a data directory from which etcd starts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use witan_e2e::{
    Cluster, Kind, Launch, Server, Tool, Writers, assert_contains, in_parallel, tool, wait, writers,
};

use super::{adopt, become_witan, data, member::write_all_kinds, observe, offline};

const ETCDS: [Kind; 2] = [Kind::Etcd36, Kind::Etcd37];

/// Runs `witan export` on a server's data. Returns whether it succeeded and its output.
fn try_export(server: &Server, to: &Path) -> (bool, String) {
    offline("export", server, &["--etcd", &to.display().to_string()])
}

fn export(server: &Server, to: &Path) -> String {
    let (is_done, said) = try_export(server, to);
    assert!(is_done, "{said}");
    said
}

/// Replaces a server's data with an exported directory and starts etcd on it.
fn become_etcd(server: &mut Server, kind: Kind, exported: &Path) {
    fs::remove_dir_all(data(server)).expect("a folder");
    fs::rename(exported, data(server)).expect("a folder");
    server.use_program(kind.binary());
    server.start_again();
}

/// Adopts etcd's data, changes it, and exports it to etcd.
#[test]
fn etcd_continues_with_the_writes_made_through_witan() {
    in_parallel(ETCDS, |kind| {
        let mut server = Launch::new(kind).start();
        write_all_kinds(&server);
        server.kill9();
        adopt(&server);
        become_witan(&mut server);
        server.start_again();
        server.etcdctl(&["put", "through", "witan"]);
        server.etcdctl(&["del", "a"]);
        server.etcdctl(&["compact", "8"]);
        server.etcdctl(&["lease", "grant", "900"]);
        server.etcdctl(&["user", "add", "carl:secret"]);
        let writers = Writers::start(8, &[server.address()]);
        writers.wait_more(300);
        server.kill9();
        let written = writers.stop();

        let exported = server.dir().join("exported");
        let said = export(&server, &exported);
        assert!(said.starts_with("exported "), "{said}");
        assert!(!said.contains("v2"), "{said}");
        let revisions = [0, 9, 20, 100];
        server.start_again();
        let before = observe(&server, &revisions);
        server.terminate();
        become_etcd(&mut server, kind, &exported);
        assert_eq!(observe(&server, &revisions), before);
        writers::assert_all_there(&server, &written);

        server.kill9();
        adopt(&server);
        become_witan(&mut server);
        server.start_again();
        assert_eq!(observe(&server, &revisions), before);
    });
}

/// Starts three members of Witan with etcd's flags.
fn cluster_of_witan(launch: &Launch) -> Cluster {
    let mut cluster = Cluster::prepare_of(launch, "http", 3);
    for at in 0..3 {
        become_witan(cluster.member_mut(at));
    }
    cluster.start_all();
    cluster
}

/// Exports all members. Returns the member whose log ends last, and its exported directory.
fn export_longest(cluster: &Cluster) -> (usize, PathBuf) {
    let path = |at: usize| cluster.member(at).dir().join("exported");
    let ends = [0, 1, 2].map(|at| {
        let said = export(cluster.member(at), &path(at));
        let (said, term) = said.trim_end().rsplit_once(" of term ").expect("a term");
        let (_, entry) = said.rsplit_once(" ends at entry ").expect("an entry");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        ((number(term), number(entry)), at)
    });
    let (_, longest) = ends.into_iter().max().expect("three members");
    (longest, path(longest))
}

/// Only the members' disks are left. The member whose log ends last has all acknowledged writes, and new members join it.
#[test]
fn one_member_of_a_cluster_is_exported_and_others_join_it() {
    for kind in ETCDS {
        let mut cluster = cluster_of_witan(&Launch::new(kind));
        let writers = Writers::start(16, &cluster.addresses());
        writers.wait_more(400);
        for at in 0..3 {
            cluster.member_mut(at).kill9();
        }
        let written = writers.stop();
        let (longest, path) = export_longest(&cluster);
        become_etcd(cluster.member_mut(longest), kind, &path);
        let member = cluster.member(longest);
        writers::assert_all_there(member, &written);
        let members = member.etcdctl(&["member", "list"]);
        assert_eq!(members.lines().count(), 1, "{members}");

        // Change the members in each way, and check that etcd can replay these entries.
        let id = members.split(',').next().expect("an id").to_owned();
        let peer_url = member.peer_url();
        member.etcdctl(&["member", "update", &id, "--peer-urls", &peer_url]);
        let joining = cluster.prepare_joining_of(&Launch::new(kind), "http", &[longest]);
        let (name, peer_url) = (format!("m{joining}"), cluster.member(joining).peer_url());
        let add = [
            "member",
            "add",
            &name,
            "--learner",
            "--peer-urls",
            &peer_url,
        ];
        cluster.member(longest).etcdctl(&add);
        cluster.member(longest).etcdctl(&["put", "after", "1"]);
        cluster.member_mut(longest).kill9_and_start();
        cluster.member_mut(joining).start_unready_again();
        let member = cluster.member(longest);
        let members = member.etcdctl(&["member", "list"]);
        let learner = members.lines().find(|line| line.ends_with("true"));
        let id = learner.and_then(|line| line.split(',').next());
        let id = id.expect("a learner").to_owned();
        wait::until_true("the learner is promoted", || {
            let said = Tool::Etcdctl36.run(&member.url(), &["member", "promote", &id]);
            said.code == Some(0)
        });
        cluster.member_mut(joining).wait_ready();
        cluster.member(joining).etcdctl(&["put", "after", "2"]);
        writers::assert_all_there(cluster.member(joining), &written);
    }
}

/// An isolated member has the highest term after many elections but lacks later writes.
#[test]
fn the_log_that_ends_last_need_not_have_the_highest_term() {
    let mut cluster = cluster_of_witan(&Launch::new(Kind::Etcd37).arg("--pre-vote=false"));
    let leader = cluster.leader();
    let alone = cluster.follower();
    let others: Vec<usize> = (0..3).filter(|at| *at != alone).collect();
    for at in &others {
        cluster.member_mut(*at).kill9();
    }
    let term = |member: &Server| -> u64 {
        let status = member.v3("maintenance/status", "{}");
        let term = status["raftTerm"].as_str().unwrap_or_default();
        term.parse().unwrap_or_default()
    };
    wait::until_true("its elections fail", || term(cluster.member(alone)) > 6);
    cluster.member_mut(alone).kill9();
    for at in &others {
        cluster.member_mut(*at).start_unready_again();
    }
    for at in &others {
        cluster.member_mut(*at).wait_ready();
    }
    assert!(term(cluster.member(leader)) < 6);
    cluster
        .member(leader)
        .etcdctl(&["put", "acknowledged", "1"]);
    for at in &others {
        cluster.member_mut(*at).kill9();
    }
    let (longest, path) = export_longest(&cluster);
    assert_ne!(longest, alone);
    become_etcd(cluster.member_mut(longest), Kind::Etcd37, &path);
    let got = cluster.member(longest).etcdctl(&["get", "acknowledged"]);
    assert_eq!(got, "acknowledged\n1\n");
}

/// The export removes the other members without a log entry, so a log without entries ends at the index of the state.
#[test]
fn a_log_without_entries_ends_where_the_state_does() {
    let mut server = Launch::witan().start();
    let saved = server.dir().join("saved").display().to_string();
    server.etcdctl(&["snapshot", "save", &saved]);
    server.terminate();
    fs::remove_dir_all(data(&server)).expect("a folder");
    let cluster = "m1=http://127.0.0.1:1,m2=http://127.0.0.1:2,m3=http://127.0.0.1:3";
    let program = Command::new(Kind::Witan.binary());
    tool::restore(program, &saved, &data(&server), ["m1", cluster], &[]).succeeded();
    let said = export(&server, &server.dir().join("exported"));
    assert_contains(&said, "its log ends at entry 1 of term 1\n");
}

#[test]
fn an_impossible_export_is_refused_and_writes_nothing() {
    let mut server = Launch::witan().start();
    let to = server.dir().join("exported");
    let refused = |server: &Server, to: &Path, why: &str| {
        let (is_done, said) = try_export(server, to);
        assert!(!is_done && said.contains(why), "{said}");
    };
    refused(&server, &to, "in use");
    server.http("PUT", "/v2/keys/a", "value=1");
    server.terminate();
    refused(&server, server.dir(), "it already exists");
    let inside = data(&server).join("exported");
    refused(&server, &inside, "inside the member's data directory");
    let missing = server.dir().join("no").join("folder");
    refused(&server, &missing, "No such file");
    assert!([&to, &inside, &missing].iter().all(|path| !path.exists()));
    let said = export(&server, &to);
    assert!(said.contains("v2 keys were not exported"), "{said}");
    fs::remove_dir_all(data(&server)).expect("a folder");
    refused(&server, &server.dir().join("other"), "no member data");
}
