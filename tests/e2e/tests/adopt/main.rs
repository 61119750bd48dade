//! Adopts data directories of etcd. Witan must have every acknowledged write, and the same revisions, leases, users, members
//! and ids, and etcd must still start on its files.
//!
//! `member` (one member, killed or stopped), `cluster` (several), `kills` (killed adoptions), `export` (back to etcd).

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

fn adopt(server: &Server) -> String {
    let (is_done, said) = try_adopt(server, &[]);
    assert!(is_done, "{said}");
    said
}

fn try_adopt(server: &Server, args: &[&str]) -> (bool, String) {
    offline("adopt", server, args)
}

/// Runs an offline command on a server's data. Returns whether it succeeded and its output.
fn offline(command: &str, server: &Server, args: &[&str]) -> (bool, String) {
    let data = data(server).display().to_string();
    let said = witan(&[&[command, "--data-dir", &data], args].concat());
    (said.code == Some(0), said.stdout + &said.stderr)
}

/// Makes the next start and all later starts run Witan with etcd's flags.
fn become_witan(etcd: &mut Server) {
    etcd.use_program(Kind::Witan.binary());
}

/// Returns what an adoption must preserve: keys at these revisions, leases, members, users, roles, alarms.
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
        // Each start can change raft's term.
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
