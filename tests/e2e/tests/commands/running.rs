//! Commands that go on until they are stopped: `make-mirror` from etcd to Witan and back, `lock`,
//! `elect`.
//!
//! What does *not* live here: `watch` (`tests/v3_watch/etcdctl.rs`).

use witan_e2e::{Kind, Launch, Server, Tool, tool::Following, wait};

use super::mask;

const TOOLS: [Tool; 3] = [Tool::Etcdctl34V3, Tool::Etcdctl36, Tool::Etcdctl37];

/// Keys of before, keys of later, deletions, and a prefix that is renamed.
fn mirror(tool: Tool, name: &str, from: &Server, to: &Server) {
    let [prefix, copy] = [format!("{name}/"), format!("copy-{name}/")];
    let key = |key: &str| format!("{prefix}{key}");
    let becomes = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        let want: String = pairs
            .map(|(key, value)| format!("{copy}{key}\n{value}\n"))
            .collect();
        wait::until_true("the mirror", || {
            to.etcdctl(&["get", "--prefix", &copy]) == want
        });
    };
    let other = format!("other-{name}");
    from.etcdctl(&["put", &key("a"), "1"]);
    from.etcdctl(&["put", &other, "1"]);
    let args = ["make-mirror", "--prefix", &prefix, "--dest-prefix", &copy];
    let mirror = tool.follow(&from.url(), &[&args[..], &[&to.address()]].concat());
    becomes(&[("a", "1")]);
    from.etcdctl(&["put", &key("b"), "2"]);
    becomes(&[("a", "1"), ("b", "2")]);
    from.etcdctl(&["del", &key("a")]);
    becomes(&[("b", "2")]);
    from.etcdctl(&["put", &key("c"), "3"]);
    becomes(&[("b", "2"), ("c", "3")]);
    assert_eq!(to.etcdctl(&["get", &other]), "");
    drop(mirror);
}

#[test]
fn mirrors_from_etcd_and_to_etcd() {
    let servers = [Kind::Witan, Kind::Etcd37].map(|kind| Launch::new(kind).start());
    let [ours, theirs] = &servers;
    for tool in TOOLS {
        mirror(tool, &format!("to-ours-{tool:?}"), theirs, ours);
        mirror(tool, &format!("to-theirs-{tool:?}"), ours, theirs);
    }
}

/// The next line, with its id masked.
fn line(tool: &mut Following, server: &Server) -> String {
    let line = tool.line().expect("it goes on");
    mask::text(&line, &server.address()).trim_end().to_owned()
}

#[test]
fn a_lock_passes_on_when_its_holder_dies() {
    let server = Launch::witan().start();
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

#[test]
fn a_candidate_is_elected_when_the_leader_dies_and_observers_see_it() {
    let server = Launch::witan().start();
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
        for lease in server
            .etcdctl(&["get", "--prefix", &name, "--keys-only"])
            .lines()
        {
            if let Some((_, lease)) = lease.rsplit_once('/') {
                let key = format!("{name}/{lease}");
                let value = server.etcdctl(&["get", &key, "--print-value-only"]);
                if value.trim_end() == "one" {
                    server.etcdctl(&["lease", "revoke", lease]);
                }
            }
        }
        for want in [&key, "two"] {
            assert_eq!(line(&mut next, &server), want);
            assert_eq!(line(&mut observer, &server), want);
        }
    }
}
