//! `make-mirror`, which goes on until it is stopped, from etcd to Witan and back.

use witan_e2e::{Kind, Launch, Server, Tool, wait};

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
    for tool in super::ALL {
        mirror(tool, &format!("to-ours-{tool:?}"), theirs, ours);
        mirror(tool, &format!("to-theirs-{tool:?}"), ours, theirs);
    }
}
