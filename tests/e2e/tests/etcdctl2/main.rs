//! Real etcdctl 3.4 with `ETCDCTL_API=2`: every command says the same on our server as on etcd.

mod auth;

use witan_e2e::{Kind, Launch, Server, Tool, tool::Said, wait};

/// Both servers, fresh.
fn pair() -> [Server; 2] {
    [Launch::witan().start(), Launch::new(Kind::Etcd34).start()]
}

/// Blanks what differs between two servers by nature: addresses, ids that are computed from them,
/// the moment at which a key expires.
fn plain(server: &Server, text: &str) -> String {
    let text = text
        .replace(&server.url(), "CLIENT")
        .replace(&server.address(), "CLIENT")
        .replace(&server.peer_url(), "PEER");
    let text = match text.split_once("\"expiration\":\"") {
        Some((before, rest)) => {
            let after = rest.split_once('"').expect("a time ends").1;
            format!("{before}EXPIRATION{after}")
        }
        None => text,
    };
    let mut out = String::new();
    let mut hex = String::new();
    for c in text.chars().chain(Some('\n')) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            hex.push(c);
            continue;
        }
        // a member id has up to 16 digits and never fewer than this by luck
        out.push_str(if hex.len() >= 13 { "ID" } else { &hex });
        hex.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn run(server: &Server, args: &[&str]) -> Said {
    let said = Tool::Etcdctl34V2.run(&server.url(), args);
    Said {
        code: said.code,
        stdout: plain(server, &said.stdout),
        stderr: plain(server, &said.stderr),
    }
}

/// Runs the lines of a script on both servers and compares what was said after each.
fn same(script: &[&[&str]]) {
    let [ours, theirs] = pair();
    let mut differences = Vec::new();
    for args in script {
        let (mut got, mut want) = (run(&ours, args), run(&theirs, args));
        if args.contains(&"ls") && !args.contains(&"--sort") {
            // etcd lists in the order of a hash map
            for said in [&mut got, &mut want] {
                let mut lines: Vec<&str> = said.stdout.lines().collect();
                lines.sort_unstable();
                said.stdout = lines.join("\n");
            }
        }
        if got != want {
            let args = args.join(" ");
            differences.push(format!("{args}\ngot {}\nwant {}", got.all(), want.all()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

const CONDITIONS: &[&[&str]] = &[
    &["set", "/message", "Hello world"],
    &["get", "/message"],
    &["-o", "extended", "get", "/message"],
    &["-o", "json", "get", "/message"],
    &["get", "--quorum", "/message"],
    &[
        "set",
        "--swap-with-value",
        "Hello world",
        "/message",
        "Hello etcd",
    ],
    &["set", "--swap-with-value", "wrong", "/message", "no"],
    &["set", "--swap-with-index", "99999", "/message", "no"],
    &["get", "/missing"],
    &["-o", "json", "set", "/json", "1"],
    &["-o", "json", "set", "/json", "2"],
    &["set", "/with space", "ü % + &"],
    &["get", "/with space"],
    &["set", "--ttl", "100", "/ttl", "x"],
    &["get", "/ttl"],
];

const OTHER_COMMANDS: &[&[&str]] = &[
    &["mk", "/new", "1"],
    &["mk", "/new", "2"],
    &["update", "/new", "3"],
    &["update", "/none", "3"],
    &["-o", "json", "update", "/new", "4"],
    &["mk", "--in-order", "/queue", "a"],
    &["mk", "--in-order", "/queue", "b"],
    &["ls", "--sort", "/queue"],
    &["-o", "json", "mk", "--ttl", "100", "/timed", "x"],
    &["rm", "--with-value", "wrong", "/new"],
    &["rm", "--with-index", "99999", "/new"],
    &["rm", "--with-value", "4", "/new"],
    &["rm", "/new"],
    &["rm", "/queue"],
    &["rm", "--recursive", "/queue"],
    &["ls", "/"],
];

const DIRECTORIES: &[&[&str]] = &[
    &["mkdir", "/dir"],
    &["mkdir", "/dir"],
    &["get", "/dir"],
    &["-o", "json", "get", "/dir"],
    &["set", "/dir", "x"],
    &["set", "/dir/a", "1"],
    &["set", "/dir/b/c", "2"],
    &["set", "/dir/_hidden", "3"],
    &["ls"],
    &["ls", "/dir"],
    &["ls", "--recursive", "/dir"],
    &["ls", "--sort", "--recursive", "-p", "/"],
    &["ls", "/dir/a"],
    &["ls", "/nothing"],
    &["-o", "json", "ls", "--sort", "--recursive", "/dir"],
    &["rmdir", "/dir"],
    &["rm", "--dir", "/dir/b"],
    &["rm", "--recursive", "/dir/b"],
    &["setdir", "--ttl", "100", "/dir"],
    &["setdir", "/fresh"],
    &["updatedir", "--ttl", "100", "/dir"],
    &["updatedir", "/none"],
    &["rmdir", "/fresh"],
    &["rmdir", "/fresh"],
    &["rm", "/dir"],
    &["rm", "--recursive", "/dir"],
    &["rm", "/"],
];

#[test]
fn keys_directories_members_and_health() {
    let members: &[&[&str]] = &[&["member", "list"], &["cluster-health"]];
    same(&[CONDITIONS, OTHER_COMMANDS, DIRECTORIES, members].concat());
}

/// Waits until the server counts a watcher, so that the next change reaches it.
fn watched(server: &Server) {
    wait::until_true("a watcher is registered", || server.v2_watchers() > 0);
}

#[test]
fn watches_say_the_same() {
    let said = pair().map(|server| {
        (
            watch_one(&server),
            exec_watch(&server),
            watch_the_past(&server),
        )
    });
    assert_eq!(said[0], said[1]);
    let (one, executed, _) = &said[0];
    assert_eq!(*one, (Some(0), vec!["changed".into()]));
    assert!(executed[0].starts_with("set /e/a 1 "), "{executed:?}");
}

/// A change, and the end.
fn watch_one(server: &Server) -> (Option<i32>, Vec<String>) {
    let watch = Tool::Etcdctl34V2.follow(&server.url(), &["watch", "/w"]);
    watched(server);
    run(server, &["set", "/w", "changed"]);
    watch.end()
}

/// A command for each change.
fn exec_watch(server: &Server) -> Vec<String> {
    let script = "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE \
                  $ETCD_WATCH_MODIFIED_INDEX";
    let args = ["exec-watch", "--recursive", "/e", "--", "sh", "-c", script];
    let mut watch = Tool::Etcdctl34V2.follow(&server.url(), &args);
    let mut lines = Vec::new();
    for args in [
        ["set", "/e/a", "1"],
        ["set", "/e/a", "2"],
        ["rm", "/e/a", ""],
    ] {
        watched(server);
        let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        run(server, &args);
        lines.push(watch.line().expect("it runs on"));
    }
    lines
}

/// Below a directory, and from an index on.
fn watch_the_past(server: &Server) -> (Vec<Option<String>>, Said) {
    run(server, &["set", "/d/a", "1"]);
    run(server, &["set", "/d/b", "2"]);
    let first = server.http("GET", "/v2/keys/d/a", "").json()["node"]["modifiedIndex"]
        .as_u64()
        .expect("an index");
    let index = (first - 1).to_string();
    let args = [
        "watch",
        "--recursive",
        "--forever",
        "--after-index",
        &index,
        "/d",
    ];
    let mut watch = Tool::Etcdctl34V2.follow(&server.url(), &args);
    let lines = (0..4).map(|_| watch.line()).collect();
    let args = ["-o", "json", "watch", "--after-index", &index, "/d/a"];
    (lines, run(server, &args))
}
