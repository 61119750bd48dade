//! v2 users and roles that etcdctl 3.4 creates, with patterns. Watches whose caller loses access.

use witan_e2e::{Kind, Launch, Server, Tool, http::Connection, rows, wait};

#[test]
fn patterns_match_the_path_as_sent() {
    let said = [Kind::Witan, Kind::Etcd34].map(|kind| {
        let server = Launch::new(kind).start();
        let commands = "
            user add root:pw
            set /d/k 1
            set /f 1
            auth enable
            -u root:pw role revoke guest --path /* --readwrite
            -u root:pw role grant guest --path /d/* --read
            -u root:pw role grant guest --path /f --read
        ";
        for line in commands.trim().lines() {
            let args: Vec<&str> = line.split_whitespace().collect();
            Tool::Etcdctl34V2.run(&server.url(), &args).succeeded();
        }
        let plain = ["", "/", "/d", "/d/", "/d/k", "/d/k/", "/f", "/f/", "/x"];
        let recursive = ["/d/?recursive=true", "/d?recursive=true"];
        let status = |path: &str| server.http("GET", &format!("/v2/keys{path}"), "").status;
        let paths = plain.into_iter().chain(recursive);
        paths.map(|path| (path, status(path))).collect::<Vec<_>>()
    });
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains(&("/d/", 200)) && said[0].contains(&("/d", 401)));
}

#[test]
fn an_unknown_method_is_refused_with_the_methods_of_the_path() {
    let said = [Kind::Witan, Kind::Etcd34].map(|kind| {
        let server = Launch::new(kind).start();
        ["enable", "users", "users/a", "roles/a", "roles/a/b"].map(|path| {
            let answer = server.http("PATCH", &format!("/v2/auth/{path}"), "");
            let allowed = answer.header("Allow").map(str::to_owned);
            (path, answer.status, allowed)
        })
    });
    assert_eq!(said[0], said[1]);
}

const ROOT: &str = "Basic cm9vdDpy"; // root:r
const ALICE: &str = "Basic YWxpY2U6YQ=="; // alice:a

fn of_root(server: &Server, method: &str, target: &str, body: &str) {
    let done = server.http_as(Some(ROOT), method, target, body);
    assert!(done.status < 300, "{method} {target}: {}", done.text());
}

/// Starts a server with the users root and alice. A role lets alice read `/a*`, and the role `guest` has no permissions.
fn start() -> Server {
    let server = Launch::witan().arg("--bcrypt-cost=4").start();
    let calls = r#"
        users/root {"user":"root","password":"r"}
        roles/app {"role":"app","permissions":{"kv":{"read":["/a*"],"write":[]}}}
        users/alice {"user":"alice","password":"a","roles":["app"]}
        roles/guest {"role":"guest","permissions":{"kv":{"read":[],"write":[]}}}
    "#;
    for [target, body] in rows(calls) {
        of_root(&server, "PUT", &format!("/v2/auth/{target}"), body);
    }
    server
}

/// Opens a stream, and returns its connection after it is registered.
fn stream(server: &Server, by: Option<&str>) -> Connection {
    let mut connection = server.connect();
    let header = by.map(|value| ("Authorization", value));
    let target = "/v2/keys/a?wait=true&stream=true&recursive=true";
    let sent = connection.send("GET", target, header.as_slice(), b"");
    sent.expect("the request is sent");
    assert_eq!(connection.head("GET").expect("a head").status, 200);
    connection
}

fn next(stream: &mut Connection) -> Option<String> {
    let line = stream.chunk().expect("an event or the end");
    line.map(|line| String::from_utf8_lossy(&line).into_owned())
}

#[test]
fn a_watch_ends_when_its_caller_loses_permission() {
    let calls = r#"
        PUT /v2/auth/roles/app {"role":"app","revoke":{"kv":{"read":["/a*"]}}}
        PUT /v2/auth/users/alice {"user":"alice","revoke":["app"]}
        DELETE /v2/auth/users/alice -
        DELETE /v2/auth/roles/app -
    "#;
    for [method, target, body] in rows(calls) {
        let server = start();
        // The credentials of this watch are checked later, although authentication is not enabled yet.
        let mut early = stream(&server, Some(ALICE));
        let mut guest = stream(&server, None);
        of_root(&server, "PUT", "/v2/auth/enable", "");
        let mut late = stream(&server, Some(ALICE));
        of_root(&server, "PUT", "/v2/keys/a/k", "value=seen");
        assert_eq!(next(&mut guest), None, "the guest has no permission");
        for stream in [&mut early, &mut late] {
            let line = next(stream).expect("an event");
            assert!(line.contains("seen"), "{line}");
        }
        of_root(&server, method, target, body);
        of_root(&server, "PUT", "/v2/keys/a/k", "value=secret");
        for stream in [&mut early, &mut late] {
            assert_eq!(next(stream), None, "{method} {target} {body}");
        }
        wait::until_true("the watches are removed", || server.v2_watchers() == 0);
    }
}

#[test]
fn a_v1_watch_is_refused_when_its_caller_loses_permission() {
    let server = start();
    of_root(&server, "PUT", "/v2/auth/enable", "");
    let mut poll = server.connect();
    let header = [("Authorization", ALICE)];
    poll.send("GET", "/v1/watch/a", &header, b"")
        .expect("the request is sent");
    wait::until_true("the watch is registered", || server.v2_watchers() == 1);
    of_root(&server, "DELETE", "/v2/auth/users/alice", "");
    of_root(&server, "PUT", "/v2/keys/a", "value=secret");
    let refused = poll.response("GET").expect("an answer");
    assert_eq!(refused.status, 401, "{}", refused.text());
}
