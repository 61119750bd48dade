//! Real etcdctl, 3.4 and 3.6, on ours: what `watch` prints.

use witan_e2e::{Launch, Tool, tool::Following};

const TOOLS: [Tool; 3] = [Tool::Etcdctl34V3, Tool::Etcdctl36, Tool::Etcdctl37];

fn expect(watch: &mut Following, lines: &[&str]) {
    for line in lines {
        assert_eq!(watch.line().as_deref(), Some(*line));
    }
}

#[test]
fn a_prefix_from_an_old_revision_with_the_pairs_before() {
    for tool in TOOLS {
        let server = Launch::witan().start();
        server.etcdctl(&["put", "foo1", "a"]);
        server.etcdctl(&["put", "foo1", "b"]);
        server.etcdctl(&["put", "foo2", "c"]);
        let args = ["watch", "foo", "--prefix", "--rev", "3", "--prev-kv"];
        let mut watch = tool.follow(&server.url(), &args);
        expect(&mut watch, &["PUT", "foo1", "a", "foo1", "b"]);
        expect(&mut watch, &["PUT", "foo2", "c"]);
        server.etcdctl(&["del", "foo1"]);
        expect(&mut watch, &["DELETE", "foo1", "b", "foo1", ""]);
        server.etcdctl(&["put", "fop", "x"]);
        server.etcdctl(&["put", "foo3", "y"]);
        expect(&mut watch, &["PUT", "foo3", "y"]);
    }
}

#[test]
fn several_watches_typed_in() {
    for tool in TOOLS {
        let server = Launch::witan().start();
        server.etcdctl(&["put", "foo", "a"]);
        let mut watch = tool.follow(&server.url(), &["watch", "-i"]);
        watch.type_line("watch foo --rev 2");
        watch.type_line("watch bar baz --rev 2");
        expect(&mut watch, &["PUT", "foo", "a"]);
        server.etcdctl(&["put", "bay", "b"]);
        expect(&mut watch, &["PUT", "bay", "b"]);
    }
}

#[test]
fn a_command_runs_for_each_event() {
    for tool in TOOLS {
        let server = Launch::witan().start();
        server.etcdctl(&["put", "foo", "a"]);
        let script = "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE";
        let args = ["watch", "foo", "--rev", "2", "--", "sh", "-c", script];
        let mut watch = tool.follow(&server.url(), &args);
        expect(&mut watch, &["PUT", "foo", "a"]);
        expect(&mut watch, &[r#""PUT" "foo" "a""#]);
    }
}

#[test]
fn a_compacted_revision_ends_the_watch() {
    for tool in TOOLS {
        let server = Launch::witan().start();
        for value in ["a", "b", "c"] {
            server.etcdctl(&["put", "foo", value]);
        }
        server.etcdctl(&["compaction", "4"]);
        let said = tool.run(&server.url(), &["watch", "foo", "--rev", "2"]);
        let text = said.all();
        assert!(
            text.contains(
                "watch was canceled (etcdserver: mvcc: required revision has been compacted)"
            ),
            "{text}"
        );
    }
}

#[test]
fn a_quiet_watch_says_so() {
    let server = Launch::witan()
        .arg("--experimental-watch-progress-notify-interval=100ms")
        .start();
    let args = ["watch", "foo", "--progress-notify"];
    let mut watch = Tool::Etcdctl36.follow(&server.url(), &args);
    expect(&mut watch, &["progress notify: 1"]);
    server.etcdctl(&["put", "other", "a"]);
    while watch.line().as_deref() != Some("progress notify: 2") {}
}
