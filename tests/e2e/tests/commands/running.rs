//! Commands that go on until they are stopped: `make-mirror`, from etcd to Witan and back.
//!
//! What does *not* live here: `watch` (`tests/v3_watch/etcdctl.rs`).

use witan_e2e::{Kind, Launch, Server, Tool, wait};

const TOOLS: [Tool; 2] = [Tool::Etcdctl34V3, Tool::Etcdctl36];

fn ctl(server: &Server, args: &[&str]) -> String {
    let said = Tool::Etcdctl36.run(&server.url(), args);
    assert_eq!(said.code, Some(0), "{}", said.all());
    said.stdout
}

/// What a server has under a prefix becomes this.
fn becomes(server: &Server, prefix: &str, want: &str) {
    wait::until_true("the mirror", || {
        ctl(server, &["get", "--prefix", prefix]) == want
    });
}

/// Keys of before, keys of later, deletions, and a prefix that is renamed.
fn mirror(tool: Tool, from: &Server, to: &Server) {
    ctl(from, &["put", "m/a", "1"]);
    ctl(from, &["put", "other", "1"]);
    let args = ["make-mirror", "--prefix", "m/", "--dest-prefix", "copy/"];
    let mirror = tool.follow(&from.url(), &[&args[..], &[&to.address()]].concat());
    becomes(to, "copy/", "copy/a\n1\n");
    ctl(from, &["put", "m/b", "2"]);
    becomes(to, "copy/", "copy/a\n1\ncopy/b\n2\n");
    ctl(from, &["del", "m/a"]);
    becomes(to, "copy/", "copy/b\n2\n");
    ctl(from, &["put", "m/c", "3"]);
    becomes(to, "copy/", "copy/b\n2\ncopy/c\n3\n");
    assert_eq!(ctl(to, &["get", "other"]), "");
    drop(mirror);
}

#[test]
fn mirrors_from_etcd_and_to_etcd() {
    for tool in TOOLS {
        let servers = [Kind::Witan, Kind::Etcd36].map(|kind| Launch::new(kind).start());
        let [ours, theirs] = &servers;
        mirror(tool, theirs, ours);
        let servers = [Kind::Witan, Kind::Etcd36].map(|kind| Launch::new(kind).start());
        let [ours, theirs] = &servers;
        mirror(tool, ours, theirs);
    }
}
