//! Members of several releases. The leader asks all members for their version and decides the cluster version. Differences
//! between clocks are detected.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use witan_e2e::{Cluster, Server, http, wait};

/// Maximum length of the request line in bytes. A stream of another kind has no lines.
const LINE_BYTES_MAX: u64 = 256;

const AHEAD: &str = "5 seconds";

/// A program on a member's peer port that reports a version and ends every stream.
struct OtherRelease(Arc<Mutex<String>>);

impl OtherRelease {
    /// Starts the program in place of `member`. The program reads the cluster's id from `another` member.
    fn start(member: &Server, another: &Server) -> Self {
        let another = format!("127.0.0.1:{}", another.peer_port());
        let listener = TcpListener::bind(("127.0.0.1", member.peer_port())).expect("a free port");
        let version = Arc::new(Mutex::new("3.5.21".to_owned()));
        let said = version.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let version = said.lock().expect("no panic").clone();
                let another = another.clone();
                // The other side may have closed the connection.
                thread::spawn(move || drop(answer(stream, &another, &version)));
            }
        });
        Self(version)
    }

    fn runs(&self, version: &str) {
        *self.0.lock().expect("no panic") = version.to_owned();
    }
}

fn answer(mut stream: TcpStream, another: &str, version: &str) -> std::io::Result<()> {
    let mut line = String::new();
    let mut head = BufReader::new(stream.try_clone()?.take(LINE_BYTES_MAX));
    head.read_line(&mut line)?;
    let body = match line.split(' ').nth(1) {
        Some("/version") => format!("{{\"etcdserver\":\"{version}\"}}"),
        Some("/raft/probing") => probe(),
        Some(_) | None => return Ok(()),
    };
    let members = http::try_once(another, "GET", "/members", &[], b"")?;
    let id = members.header("X-Etcd-Cluster-Id").unwrap_or_default();
    let head = format!("HTTP/1.0 200 OK\r\nX-Etcd-Cluster-Id: {id}");
    write!(stream, "{head}\r\n\r\n{body}")
}

fn probe() -> String {
    let date = Command::new("date")
        .args(["-u", "-d", AHEAD, "+%Y-%m-%dT%H:%M:%S.%NZ"])
        .output()
        .expect("date runs");
    let ahead = String::from_utf8(date.stdout).expect("text");
    format!("{{\"OK\":true,\"Now\":\"{}\"}}", ahead.trim())
}

/// Starts two members and the other program, which first reports version 3.5.21. Waits until the cluster version is 3.5.0.
fn start_with_other_release() -> (Cluster, OtherRelease) {
    let mut cluster = Cluster::prepare(3, &[]);
    let other = OtherRelease::start(cluster.member(2), cluster.member(0));
    for at in [0, 1] {
        cluster.member_mut(at).start_unready_again();
    }
    for at in [0, 1] {
        cluster.member_mut(at).wait_ready();
    }
    for member in &cluster.members()[..2] {
        member.wait_cluster_version("3.5.0");
    }
    (cluster, other)
}

fn clocks(member: &Server) -> Vec<f64> {
    let page = member.http("GET", "/metrics", "").text();
    let lines = page.lines();
    let shown = lines.filter(|line| line.starts_with("witan_peer_clock_difference_seconds{"));
    let values = shown.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok());
    values.collect()
}

#[test]
fn the_cluster_has_the_lowest_version_of_its_members() {
    let (cluster, other) = start_with_other_release();
    let found = cluster.member(0).wait_log(0, "the release of a peer");
    assert!(found.contains("unknown"), "only etcd's version: {found}");
    other.runs("3.6.4");
    for member in &cluster.members()[..2] {
        member.wait_cluster_version("3.6.0");
        // A check of the clock takes a while on a busy machine.
        wait::until_true("one of the other clocks is ahead", || {
            let clocks = clocks(member);
            let near = |seconds: f64| {
                let near = clocks.iter().filter(|s| (**s - seconds).abs() < 1.0);
                near.count()
            };
            (near(0.0), near(5.0)) == (1, 1)
        });
        member.wait_log(0, "the clock of a peer differs");
    }
}

/// Members refuse unknown values in the log, because a later release may give them a meaning. A value that a client sends must
/// therefore not stop the others.
#[test]
fn unknown_values_of_clients_do_not_reach_the_log() {
    let cluster = Cluster::start(3);
    let member = cluster.member(cluster.follower());
    let put = r#"{"key":"aw==","value":"dg=="}"#;
    member.v3("kv/put", put);
    // As in etcd, an unknown relation holds, and both sides of an unknown target are equal.
    for (result, target, holds) in [(99, 3, true), (99, 99, true), (0, 99, true), (1, 99, false)] {
        let compare = format!(r#"{{"key":"aw==","result":{result},"target":{target}}}"#);
        let txn = format!(r#"{{"compare":[{compare}],"success":[{{"requestPut":{put}}}]}}"#);
        let answer = member.v3("kv/txn", &txn);
        let succeeded = answer["succeeded"].as_bool().unwrap_or_default();
        assert_eq!(succeeded, holds, "{compare}: {answer}");
    }
    member.v3("auth/role/add", r#"{"name":"r"}"#);
    let grant = r#"{"name":"r","perm":{"permType":99,"key":"aw=="}}"#;
    let refused = member.answers(400, "POST", "/v3/auth/role/grant", grant);
    let text = refused.text();
    assert!(text.contains("invalid auth management"), "{text}");
    let alarm = r#"{"action":"ACTIVATE","alarm":99}"#;
    let raised = member.v3("maintenance/alarm", alarm);
    assert!(raised["alarms"].is_null(), "{raised}");
    cluster.wait_equal();
}
