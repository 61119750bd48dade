//! Data directories of etcd are adopted: Witan goes on with every acknowledged write, the same revisions, leases, users,
//! members and ids, and etcd can be started again on its files.
//!
//! `member` (one member, in every way to end), `cluster` (several), `kills` (an adoption that is killed), `export` (the way
//! back).

mod cluster;
mod export;
mod kills;
mod member;

use std::path::PathBuf;

use witan_e2e::{Kind, Server, grpc, tool::witan};

const ETCDS: [Kind; 3] = [Kind::Etcd34, Kind::Etcd36, Kind::Etcd37];

fn data(server: &Server) -> PathBuf {
    server.dir().join("data")
}

/// Adopts the data directory of a server that does not run; returns what the command said.
fn adopt(server: &Server) -> String {
    let (is_done, said) = try_adopt(server, &[]);
    assert!(is_done, "{said}");
    said
}

fn try_adopt(server: &Server, args: &[&str]) -> (bool, String) {
    offline("adopt", server, args)
}

/// Runs an offline command on the data of a server; returns whether it succeeded, and what it said.
fn offline(command: &str, server: &Server, args: &[&str]) -> (bool, String) {
    let data = data(server).display().to_string();
    let said = witan(&[&[command, "--data-dir", &data], args].concat());
    (said.code == Some(0), said.stdout + &said.stderr)
}

/// Starts Witan, with etcd's flags, from now on.
fn become_witan(etcd: &mut Server) {
    etcd.use_program(Kind::Witan.binary());
}

/// What must be the same before and after: keys at revisions, leases, members, users, roles, alarms.
fn observe(server: &Server, revisions: &[i64]) -> String {
    let mut seen = String::new();
    for revision in revisions {
        seen += &format!("{revision}: {:?}\n", grpc::hash_kv(server, *revision));
    }
    let lists: [&[&str]; 6] = [
        &["get", "", "--prefix", "-w", "fields"],
        &["lease", "list"],
        &["member", "list"],
        &["user", "list"],
        &["role", "list"],
        &["alarm", "list"],
    ];
    for args in lists {
        let said = server.etcdctl(args);
        // raft's term moves with each start
        let lines = said.lines().filter(|line| !line.contains("RaftTerm"));
        seen.extend(lines.map(|line| format!("{line}\n")));
    }
    for user in server.etcdctl(&["user", "list"]).lines() {
        seen += &server.etcdctl(&["user", "get", user]);
    }
    for role in server.etcdctl(&["role", "list"]).lines() {
        seen += &server.etcdctl(&["role", "get", role]);
    }
    seen
}
