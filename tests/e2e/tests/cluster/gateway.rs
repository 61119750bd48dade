//! `witan gateway start` in front of members.

use std::net::TcpListener;

use witan_e2e::{
    Cluster, Launch, Server, assert_contains,
    cluster::status,
    http::{Connection, JSON},
    ports,
    tool::witan,
    wait,
};

/// A put of the key `a`.
const PUT: &str = r#"{"key":"YQ==","value":"MQ=="}"#;

fn gateway(endpoints: &[String], retry_delay: &str) -> Server {
    let mut gateway = Launch::witan().bare().prepare();
    let address = gateway.address();
    gateway.add_args(["gateway", "start", "--listen-addr", &address]);
    gateway.add_args(["--endpoints", &endpoints.join(",")]);
    gateway.add_args(["--retry-delay", retry_delay]);
    gateway.start_unready_again();
    gateway.wait_log(0, "ready to proxy client requests");
    gateway
}

/// Returns the id of the member to which a connection leads.
fn member_of(connection: &mut Connection) -> u64 {
    let target = "/v3/maintenance/status";
    let answer = connection.request("POST", target, &JSON, b"{}");
    let json = answer.expect("a member answers").json();
    let id = json["header"]["member_id"].as_str();
    id.and_then(|id| id.parse().ok()).expect("a number")
}

fn lines(gateway: &Server, needle: &str) -> Vec<String> {
    let mut lines = gateway.log();
    lines.retain(|line| line.contains(needle));
    lines
}

#[test]
fn new_connections_go_to_the_members_that_run() {
    let mut cluster = Cluster::start(3);
    let gateway = gateway(&cluster.addresses(), "200ms");
    gateway.etcdctl(&["put", "a", "1"]);
    let mut connection = gateway.connect();
    let used = member_of(&mut connection);
    assert_eq!(member_of(&mut connection), used, "the member changed");
    let mut members = cluster.members().iter();
    let killed = members.position(|member| member.status().id == used);
    let killed = killed.expect("the connection leads to a member");
    cluster.member_mut(killed).kill9();
    assert!(connection.closed(), "the connection ends with its member");
    wait::until_true("the gateway accepts writes", || {
        gateway.http("POST", "/v3/kv/put", PUT).status == 200
    });
    // Every third connection would lead to the killed member.
    for _ in 0..6 {
        gateway.v3("kv/put", PUT);
        assert_ne!(gateway.status().id, used);
    }
    gateway.wait_log(0, "stay inactive for another interval");
    let address = cluster.member(killed).address();
    let deactivated = lines(&gateway, "deactivated endpoint");
    assert_eq!(deactivated.len(), 1, "{deactivated:?}");
    assert!(deactivated[0].contains(&address), "{deactivated:?}");
    assert!(lines(&gateway, "\"activated\"").is_empty());
    cluster.member_mut(killed).start_again();
    let activated = gateway.wait_log(0, "\"activated\"");
    assert!(activated.contains(&address), "{activated}");
    wait::until_true("the member gets connections again", || {
        status(&gateway).is_some_and(|status| status.id == used)
    });
}

#[test]
fn a_connection_ends_if_no_member_runs_or_the_gateway_stops() {
    let mut member = Launch::witan().start();
    let mut gateway = gateway(&[member.address()], "100ms");
    member.kill9();
    let mut connection = gateway.connect();
    assert!(connection.closed());
    gateway.wait_log(0, "no connection to an endpoint could be opened");
    member.start_again();
    wait::until_true("the member is used again", || status(&gateway).is_some());
    let mut connection = gateway.connect();
    member_of(&mut connection);
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(connection.closed());
    assert!(status(&gateway).is_none() && status(&member).is_some());
}

#[test]
fn a_gateway_that_cannot_start_reports_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = (taken.local_addr().expect("it is bound").to_string(), taken);
    let free = format!("127.0.0.1:{}", ports::free());
    let cases: [(&[&str], &str); 3] = [
        (&["--listen-addr", &taken.0], "cannot listen on"),
        (
            &["--listen-addr", &free, "--endpoints", &free],
            "the address of the gateway itself",
        ),
        (
            &[
                "--discovery-srv=example.test",
                "--trusted-ca-file=/no/such/file",
            ],
            "/no/such/file",
        ),
    ];
    for (flags, reason) in cases {
        let said = witan(&[["gateway", "start"].as_slice(), flags].concat());
        assert_eq!(said.code, Some(1), "{flags:?}: {}", said.all());
        assert!(said.stderr.contains(reason), "{flags:?}: {}", said.all());
    }
    let said = witan(&["grpc-proxy", "start", "--endpoints=127.0.0.1:2379"]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert_contains(&said.stderr, "Witan has no grpc-proxy");
}
