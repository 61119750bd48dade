//! Flags and environment variables of a running server. A supported flag's row in the flag table names a test of a running
//! server, which may be in another file.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixStream,
    process::Command,
};

use witan_e2e::{
    Kind, Launch, Server, Tool, assert_contains, http, ports, rows,
    tool::{CommandOutput, witan},
    wait,
};

/// Prepares a server with only the flags that select free ports.
fn quiet() -> Server {
    let mut server = Launch::witan().bare().prepare();
    let (client, peer) = (server.url(), server.peer_url());
    server.add_args(["--listen-client-urls", &client]);
    server.add_args(["--advertise-client-urls", &client]);
    server.add_args(["--listen-peer-urls", &peer]);
    server.add_args(["--initial-advertise-peer-urls", &peer]);
    server
}

#[test]
fn version_begins_like_etcds() {
    let out = witan(&["--version"]).succeeded();
    assert_eq!(out.lines().next(), Some("etcd Version: 3.7.3"), "{out}");
    assert!(out.contains("Witan"), "{out}");
}

#[test]
fn several_client_urls() {
    let second = format!("http://127.0.0.1:{}", ports::free());
    let mut server = Launch::witan().prepare();
    let client = server.url();
    server.add_args(["--listen-client-urls", &format!("{client},{second}")]);
    server.add_args(["--advertise-client-urls", &client]);
    server.start_again();
    for url in [&client, &second] {
        Tool::Etcdctl36.run(url, &["put", "k", "v"]).succeeded();
        let address = url.trim_start_matches("http://");
        assert_eq!(http::once(address, "GET", "/version", "").status, 200);
    }
}

#[test]
fn ipv6_listen_client_urls() {
    let address = format!("[::1]:{}", ports::free());
    drop(TcpListener::bind(&address).expect("the machine has the IPv6 loopback"));
    let mut server = Launch::witan().prepare();
    let (url, client) = (format!("http://{address}"), server.url());
    server.add_args(["--listen-client-urls", &format!("{url},{client}")]);
    server.add_args(["--advertise-client-urls", &url]);
    server.start_again();
    let put = http::once(&address, "PUT", "/v2/keys/six", "value=1");
    assert_eq!(put.status, 201);
    Tool::Etcdctl36.run(&url, &["put", "k", "v"]).succeeded();
}

#[test]
fn unix_listen_client_urls() {
    let mut server = Launch::witan().prepare();
    let socket = server.dir().join("client.sock");
    let urls = format!("{},unix://{}", server.url(), socket.display());
    server.add_args(["--listen-client-urls", &urls]);
    server.start_again();
    let mut stream = UnixStream::connect(&socket).expect("the socket is there");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("the timeout is set");
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: unix\r\nConnection: close\r\n\r\n")
        .expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // The socket file of a killed server does not prevent startup.
    server.kill9_and_start();
    UnixStream::connect(&socket).expect("the socket is there again");
    server.terminate();
    assert!(!socket.exists());
}

#[test]
fn separate_http_and_metrics_urls() {
    let (http_only, metrics) = (
        format!("127.0.0.1:{}", ports::free()),
        format!("127.0.0.1:{}", ports::free()),
    );
    let mut server = quiet();
    server.add_args(["--listen-client-http-urls", &format!("http://{http_only}")]);
    server.add_args(["--listen-metrics-urls", &format!("http://{metrics}")]);
    // The first port now serves only gRPC, so check readiness on the others.
    server.start_unready_again();
    wait::until_true("HTTP on its own port", || {
        http::try_once(&http_only, "GET", "/health", &[], b"").is_ok_and(|a| a.status == 200)
    });
    server.etcdctl(&["put", "k", "v"]);
    let put = http::once(&http_only, "PUT", "/v2/keys/k", "value=v");
    assert_eq!(put.status, 201);
    let refused = http::try_once(&server.address(), "GET", "/v2/keys/k", &[], b"");
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status >= 400));
    let scrape = http::once(&metrics, "GET", "/metrics", "");
    assert_eq!(scrape.status, 200);
    assert_contains(scrape.text(), "etcd_server_has_leader 1");
    let health = http::once(&metrics, "GET", "/health", "").json();
    assert_eq!(health["health"], "true");
    assert_eq!(http::once(&metrics, "GET", "/v2/keys/", "").status, 404);
}

fn flags_in(help: &str) -> Vec<&str> {
    help.lines()
        .filter_map(|line| line.strip_prefix("  --"))
        .map(|line| line.split_whitespace().next().unwrap_or_default())
        .collect()
}

#[test]
fn every_flag_of_etcd_is_known() {
    let ours = witan(&["--help"]).stdout;
    let ours = flags_in(&ours);
    for theirs in [Kind::Etcd34, Kind::Etcd36, Kind::Etcd37] {
        let said = CommandOutput::of(Command::new(theirs.binary()).arg("--help"));
        let said = said.stdout + &said.stderr;
        let theirs = flags_in(&said);
        assert!(theirs.len() >= 80, "a help text: {said}");
        let missing: Vec<_> = theirs.iter().filter(|flag| !ours.contains(flag)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn name_and_data_dir() {
    let mut server = quiet();
    let peer = server.peer_url();
    server.add_args(["--name", "called"]);
    server.add_args(["--initial-cluster", &format!("called={peer}")]);
    server.start_again();
    assert!(server.dir().join("called.etcd").is_dir());
    server.http("PUT", "/v2/keys/kept", "value=1");
    server.terminate();
    // The same data in another directory is the same member.
    let moved = server.dir().join("moved");
    fs::rename(server.dir().join("called.etcd"), &moved).expect("nobody holds it");
    server.add_args(["--data-dir", &moved.display().to_string()]);
    server.start_again();
    server.answers(200, "GET", "/v2/keys/kept", "");
    assert!(!server.dir().join("called.etcd").exists());
}

#[test]
fn the_raft_log_in_a_separate_directory() {
    let get = |server: &Server, key| server.http("GET", key, "").status;
    let mut plain = Launch::witan().start();
    let with_flag = |flag| Launch::witan().dir(plain.dir().to_owned()).arg(flag);
    let (placed, second) = (with_flag("--wal-dir=wal"), with_flag("--wal-dir=second"));
    plain.http("PUT", "/v2/keys/one", "value=1");
    plain.kill9();
    // Move the directory.
    let mut placed = placed.start();
    let moved = placed.dir().join("wal/log").read_dir().expect("a folder");
    assert!(moved.count() > 0 && get(&placed, "/v2/keys/one") == 200);
    placed.http("PUT", "/v2/keys/two", "value=1");
    placed.kill9();
    // A start without the flag finds the moved log.
    plain.start_again();
    assert_eq!(get(&plain, "/v2/keys/two"), 200);
    plain.terminate();
    let mut second = second.start_unready();
    assert_eq!(second.wait_exit().code(), Some(39), "{}", second.tail());
    assert_contains(second.tail(), "Set the flag to its previous value");
}

#[test]
fn open_files_are_raised_to_the_hard_limit() {
    let server = Launch::witan().files_soft(256).start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("procfs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line");
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
}

#[test]
fn a_new_member_must_fit_its_initial_cluster() {
    let refusals = r#"
        --initial-cluster=other=http://127.0.0.1:1 couldn't find local name \"default\" in the initial cluster configuration
        --initial-cluster=default=http://127.0.0.1:1 --initial-cluster has default=http://127.0.0.1:1 but missing from
        --initial-cluster-state=existing could not retrieve cluster information from the given URLs
    "#;
    for [arg, text] in rows(refusals) {
        let mut server = quiet();
        server.add_args([arg]);
        server.start_unready_again();
        assert!(!server.wait_exit().success());
        server.wait_log(0, text);
        // The failed start must leave no files, so that a correct start can follow.
        assert!(!server.dir().join("default.etcd").exists());
    }
}
