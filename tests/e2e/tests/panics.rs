//! A panic in the work of one request ends that request and nothing else; one in the replica's
//! thread or the disk's ends the process. The panics are planted in `witan-planted`, a build with a
//! door that the program which ships does not have.

use std::{fs, path::PathBuf};

use futures_util::stream;
use tonic::{Code, Request, Status, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        AuthUserAddRequest, DefragmentRequest, DeleteRangeRequest, HashRequest,
        LeaseKeepAliveRequest, PutRequest, RangeRequest, SnapshotRequest, WatchCreateRequest,
        WatchRequest, auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
    v3lockpb::{LockRequest, lock_client::LockClient},
};
use witan_e2e::{
    Kind, Launch, Server,
    binaries::planted,
    grpc,
    http::{self, Connection, Response},
    wait,
    websocket::{Frame, Socket},
};

/// Names the place of a planted panic.
const HEADER: &str = "witan-planted-panic";

/// The exit codes of a panic, and of a log that cannot be written.
const EXITS: (i32, i32) = (31, 29);

fn start() -> Server {
    Launch::witan().program(planted()).expect_panics().start()
}

/// A message with the header that plants a panic at a place.
fn at<T>(place: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let place = place.parse().expect("a place is ASCII");
    request.metadata_mut().insert(HEADER, place);
    request
}

fn panics(server: &Server) -> u64 {
    let count = server.metric("witan_panics_total");
    count.map_or(0, |count| count as u64)
}

const KEY: &str = "key";

/// How a call over gRPC ends whose handler panics at this place.
async fn call(server: &Server, place: &'static str) -> Result<(), Status> {
    let channel = grpc::connect(&server.address()).await;
    match place {
        "range" | "put" | "delete" | "range_stream" => of_keys(channel, place).await,
        "watch.create" | "watch.event" | "keepalive" => of_streams(channel, place).await,
        other => of_jobs(channel, other).await,
    }
}

async fn of_keys(channel: Channel, place: &'static str) -> Result<(), Status> {
    let mut kv = KvClient::new(channel);
    let range = RangeRequest { key: KEY.into(), ..Default::default() };
    match place {
        "range" => drop(kv.range(at(place, range)).await?),
        "put" => {
            let put = PutRequest {
                key: KEY.into(),
                // so large that it is counted in every budget on its way
                value: vec![b'v'; 300 << 10].into(),
                ..Default::default()
            };
            drop(kv.put(at(place, put)).await?);
        }
        // through tonic's layers
        "delete" => {
            let delete = DeleteRangeRequest { key: "another".into(), ..Default::default() };
            drop(kv.delete_range(at(place, delete)).await?);
        }
        "range_stream" => {
            let mut parts = kv.range_stream(at(place, range)).await?.into_inner();
            while parts.message().await?.is_some() {}
        }
        other => panic!("no call for {other}"),
    }
    Ok(())
}

async fn of_streams(channel: Channel, place: &'static str) -> Result<(), Status> {
    match place {
        "watch.create" | "watch.event" => {
            let create = WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                    key: KEY.into(),
                    start_revision: 1,
                    ..Default::default()
                })),
            };
            // it never ends by itself
            let requests = stream::unfold(Some(create), async |create| match create {
                Some(create) => Some((create, None)),
                None => std::future::pending().await,
            });
            let mut client = WatchClient::new(channel);
            let mut answers = client.watch(at(place, requests)).await?.into_inner();
            while answers.message().await?.is_some() {}
        }
        "keepalive" => {
            let requests = stream::iter([LeaseKeepAliveRequest { id: 7 }]);
            let mut client = LeaseClient::new(channel);
            let mut answers = client
                .lease_keep_alive(at(place, requests))
                .await?
                .into_inner();
            while answers.message().await?.is_some() {}
        }
        other => panic!("no call for {other}"),
    }
    Ok(())
}

async fn of_jobs(channel: Channel, place: &'static str) -> Result<(), Status> {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    match place {
        "job" => drop(maintenance.hash(at(place, HashRequest {})).await?),
        "snapshot" => {
            let mut chunks = maintenance
                .snapshot(at(place, SnapshotRequest {}))
                .await?
                .into_inner();
            while chunks.message().await?.is_some() {}
        }
        "password" => {
            let user = AuthUserAddRequest {
                name: "user".into(),
                password: "secret".into(),
                ..Default::default()
            };
            drop(AuthClient::new(channel).user_add(at(place, user)).await?);
        }
        "lock" => {
            let lock = LockRequest { name: KEY.into(), lease: 0 };
            drop(LockClient::new(channel).lock(at(place, lock)).await?);
        }
        other => panic!("no call for {other}"),
    }
    Ok(())
}

const CALLS: [&str; 11] = [
    "range",
    "put",
    "delete",
    "range_stream",
    "watch.create",
    "watch.event",
    "keepalive",
    "job",
    "snapshot",
    "password",
    "lock",
];

/// Requests over HTTP/1, each with the place where it panics, and what its answer holds.
const REQUESTS: [(&str, &str, &str, &str, &str); 16] = [
    ("v1", "GET", "/v1/keys/foo", "", ""),
    ("v2", "GET", "/v2/keys/foo", "", ""),
    ("v2", "PUT", "/v2/keys/foo", "value=bar", ""),
    ("v2", "GET", "/v2/keys/foo?wait=true", "", ""),
    ("discovery", "GET", "/new", "", ""),
    (
        "discovery",
        "PUT",
        "/e77afb997af5a84983baa98fd42cf12f/1",
        "value=a=http://b:1",
        "",
    ),
    ("ops", "GET", "/version", "", ""),
    ("ops", "GET", "/metrics", "", ""),
    (
        "gateway",
        "POST",
        "/v3/kv/put",
        r#"{"key":"a2V5"}"#,
        r#""code":13"#,
    ),
    (
        "put",
        "POST",
        "/v3/kv/put",
        r#"{"key":"a2V5"}"#,
        r#""code":13"#,
    ),
    (
        "range",
        "POST",
        "/v3beta/kv/range",
        r#"{"key":"a2V5"}"#,
        r#""code":13"#,
    ),
    ("gateway", "POST", "/v3/watch", "{}", r#""code":13"#),
    ("job", "POST", "/v3/maintenance/hash", "{}", r#""code":13"#),
    (
        "password",
        "POST",
        "/v3/auth/user/add",
        r#"{"name":"u","password":"p"}"#,
        r#""code":13"#,
    ),
    (
        "lock",
        "POST",
        "/v3/lock/lock",
        r#"{"name":"a2V5"}"#,
        r#""code":13"#,
    ),
    (
        "range",
        "POST",
        "/v3/kv/range?encoding=utf8",
        r#"{"key":"a"}"#,
        r#""code":13"#,
    ),
];

fn ask(server: &Server, place: &str, method: &str, target: &str, body: &str) -> Response {
    let headers = [(HEADER, place)];
    http::try_once(&server.address(), method, target, &headers, body.as_bytes())
        .unwrap_or_else(|error| panic!("{place} {method} {target}: {error}"))
}

/// What is open, in the words of `/metrics`.
fn open(server: &Server) -> Vec<String> {
    const NAMES: [&str; 4] = [
        "etcd_debugging_mvcc_watch_stream_total ",
        "etcd_debugging_mvcc_watcher_total ",
        "etcd_debugging_store_watchers ",
        "etcd_server_proposals_pending ",
    ];
    let metrics = server.http("GET", "/metrics", "").text();
    let lines = metrics.lines();
    let open = lines.filter(|line| NAMES.iter().any(|name| line.starts_with(name)));
    open.map(str::to_owned).collect()
}

fn works(server: &Server) {
    let put = server.http("POST", "/v3/kv/put", r#"{"key":"a2V5","value":"dg=="}"#);
    assert_eq!(put.status, 200, "{}", put.text());
    let get = server.http("GET", "/v2/keys/", "");
    assert_eq!(get.status, 200, "{}", get.text());
}

#[test]
fn a_panic_ends_its_request_alone() {
    let mut server = start();
    works(&server);
    let runtime = grpc::runtime();
    let mut count = 0;
    for place in CALLS {
        let ended = runtime.block_on(call(&server, place));
        let status = ended.expect_err(place);
        assert_eq!(status.code(), Code::Internal, "{place}: {status:?}");
        count += 1;
    }
    for (place, method, target, body, expect) in REQUESTS {
        let answer = ask(&server, place, method, target, body);
        let text = answer.text();
        assert_eq!(answer.status, 500, "{place} {method} {target}: {text}");
        assert!(
            text.contains("internal error") && text.contains(expect),
            "{place}: {text}"
        );
        count += 1;
    }
    count += streams(&server);
    assert!(server.runs(), "{}", server.tail());
    assert_eq!(panics(&server), count);
    let told = server.wait_log(0, "planted: put");
    assert!(told.contains("server/crates/v3/src/kv/put.rs:"), "{told}");
    works(&server);
}

/// Panics after the answer has begun: its last line says so, or its end does not come.
fn streams(server: &Server) -> u64 {
    // lines of the gateway
    let create = r#"{"create_request":{"key":"a2V5","start_revision":"1"}}"#;
    for place in ["gateway.stream", "watch.event"] {
        let answer = ask(server, place, "POST", "/v3/watch", create);
        let last = answer.text().lines().last().map(str::to_owned);
        let last = last.expect("a line");
        assert!(last.contains(r#""code":13"#), "{place}: {last}");
        let header = format!("{HEADER}: {place}");
        let mut socket = Socket::open(&server.address(), "/v3/watch", &[&header]);
        socket.send(create).expect("it is sent");
        while let Ok(Frame::Text(text)) = socket.receive() {
            if text.contains(r#""code":13"#) {
                break;
            }
        }
    }
    for (place, path) in [("gateway", "/v3/kv/range"), ("websocket", "/v3/kv/range")] {
        let header = format!("{HEADER}: {place}");
        let mut socket = Socket::open(&server.address(), path, &[&header]);
        socket.send("{}").expect("it is sent");
        let end = socket.receive();
        let told = matches!(&end, Ok(Frame::Text(text)) if text.contains("internal error"));
        assert!(told || end.is_err(), "{place}: {end:?}");
    }
    // a stream of v2, whose answer has begun before the event
    let mut connection = Connection::open(&server.address()).expect("it listens");
    let target = "/v2/keys/?wait=true&stream=true&recursive=true";
    connection
        .send("GET", target, &[(HEADER, "v2.event")], b"")
        .expect("it is sent");
    assert_eq!(connection.head("GET").expect("a head").status, 200);
    server.http("PUT", "/v2/keys/event", "value=1");
    assert!(connection.chunk().is_err(), "the answer has no end");
    7
}

/// Nothing that a panicking request held is lost: places, budgets, watchers, connections.
#[test]
fn a_thousand_panics_leave_nothing_behind() {
    const ROUNDS: usize = 1000;
    let mut server = start();
    works(&server);
    let runtime = grpc::runtime();
    let before = open(&server);
    for round in 0..ROUNDS {
        // hashing passwords takes long
        let place = CALLS[round % (CALLS.len() - 2)];
        let ended = runtime.block_on(call(&server, place));
        assert_eq!(ended.expect_err(place).code(), Code::Internal, "{place}");
    }
    for round in 0..ROUNDS {
        let (place, method, target, body, _) = REQUESTS[round % 10];
        assert_eq!(ask(&server, place, method, target, body).status, 500);
    }
    wait::until_true("nothing is open", || open(&server) == before);
    assert!(server.runs(), "{}", server.tail());
    assert!(panics(&server) >= 2 * ROUNDS as u64);
    // as many large requests as the budgets have room for still pass
    let value = "dmFs".repeat(100 << 10);
    let put = format!(r#"{{"key":"a2V5","value":"{value}"}}"#);
    for _ in 0..8 {
        assert_eq!(server.http("POST", "/v3/kv/put", &put).status, 200);
    }
    works(&server);
}

#[test]
fn a_panic_of_the_replica_or_the_disk_ends_the_process() {
    for (place, exit) in [
        ("thread replica", EXITS.0),
        ("thread checkpoint", EXITS.0),
        ("thread log", EXITS.1),
    ] {
        let mut server = start();
        let address = server.address();
        grpc::runtime().block_on(async {
            let channel = grpc::connect(&address).await;
            let mut maintenance = MaintenanceClient::new(channel.clone());
            // whichever is served before the end
            let _ = maintenance
                .defragment(at(place, DefragmentRequest {}))
                .await;
            if place == "thread log" {
                let put = PutRequest { key: KEY.into(), ..Default::default() };
                let _ = KvClient::new(channel).put(put).await;
            }
        });
        assert_eq!(server.wait_exit().code(), Some(exit), "{place}");
    }
}

/// The door is not in what ships, and this test would see it.
#[test]
fn the_program_that_ships_has_no_door() {
    let has_door = |path: PathBuf| {
        let program = fs::read(path).expect("it can be read");
        let name = HEADER.as_bytes();
        program.windows(name.len()).any(|bytes| bytes == name)
    };
    assert!(has_door(planted()));
    assert!(!has_door(Kind::Witan.binary()));
    let server = Launch::witan().start();
    assert_eq!(ask(&server, "ops", "GET", "/version", "").status, 200);
    assert_eq!(panics(&server), 0);
}
