//! Commands that go on until they are stopped: `make-mirror` from etcd to Witan and back, `lock`,
//! `elect`.
//!
//! What does *not* live here: `watch` (`tests/v3_watch/etcdctl.rs`).

use witan_e2e::{Kind, Launch, Server, Tool, tool::Following, wait};

use super::mask;

const TOOLS: [Tool; 2] = [Tool::Etcdctl34V3, Tool::Etcdctl36];

fn ctl(server: &Server, args: &[&str]) -> String {
    let said = Tool::Etcdctl36.run(&server.url(), args);
    assert_eq!(said.code, Some(0), "{}", said.all());
    said.stdout
}

/// Waits until a server has exactly these keys and values under a prefix.
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

/// The next line, with its id masked.
fn line(tool: &mut Following, server: &Server) -> String {
    let line = tool.line().expect("it goes on");
    mask::text(&line, &server.address()).trim_end().to_owned()
}

#[test]
fn a_lock_passes_on_when_its_holder_dies() {
    for kind in [Kind::Witan, Kind::Etcd36] {
        let server = Launch::new(kind).start();
        for tool in TOOLS {
            let name = format!("{tool:?}");
            let key = format!("{name}/ID");
            let mut first = tool.follow(&server.url(), &["lock", &name, "--ttl=1"]);
            assert_eq!(line(&mut first, &server), key);
            let mut second = tool.follow(&server.url(), &["lock", &name]);
            drop(first);
            assert_eq!(line(&mut second, &server), key);
        }
    }
}

#[test]
fn a_candidate_is_elected_when_the_leader_dies_and_observers_see_it() {
    for kind in [Kind::Witan, Kind::Etcd36] {
        let server = Launch::new(kind).start();
        for tool in TOOLS {
            let name = format!("{tool:?}");
            let key = format!("{name}/ID");
            let mut leader = tool.follow(&server.url(), &["elect", &name, "one"]);
            for want in [&key, "one"] {
                assert_eq!(line(&mut leader, &server), want);
            }
            let mut observer = tool.follow(&server.url(), &["elect", &name, "--listen"]);
            for want in [&key, "one"] {
                assert_eq!(line(&mut observer, &server), want);
            }
            let mut next = tool.follow(&server.url(), &["elect", &name, "two"]);
            // revoked, the leader's lease ends as with its death, and sooner
            for lease in ctl(&server, &["get", "--prefix", &name, "--keys-only"]).lines() {
                if let Some((_, lease)) = lease.rsplit_once('/') {
                    let value = ctl(
                        &server,
                        &["get", &format!("{name}/{lease}"), "--print-value-only"],
                    );
                    if value.trim_end() == "one" {
                        ctl(&server, &["lease", "revoke", lease]);
                    }
                }
            }
            for want in [&key, "two"] {
                assert_eq!(line(&mut next, &server), want);
                assert_eq!(line(&mut observer, &server), want);
            }
        }
    }
}
