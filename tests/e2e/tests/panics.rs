//! A panic in a request ends only that request. A panic in the thread of the replica or of the disk ends the process. The
//! panics are planted in `witan-planted`, a build with a test hook that the shipped program lacks.

use std::{fs, path::PathBuf};

use futures_util::{StreamExt as _, stream};
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        AuthUserAddRequest, DefragmentRequest, HashRequest, LeaseKeepAliveRequest, PutRequest,
        SnapshotRequest, auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, request_op::Request as TxnOp,
        watch_client::WatchClient,
    },
    v3lockpb::{LockRequest, lock_client::LockClient},
};
use witan_e2e::{
    Kind, Launch, Server,
    binaries::planted,
    grpc,
    http::{Connection, Response},
    requests, wait, watching,
    websocket::{Frame, Socket},
};

/// Header with the place of a planted panic: the kind of contained work as in the counter's label, and the time.
const HEADER: &str = "witan-planted-panic";

/// Exit codes of a panic, and of a log that cannot be written.
const EXITS: (i32, i32) = (31, 29);

fn start() -> Server {
    Launch::witan().program(planted()).expect_panics().start()
}

/// Adds the header that plants a panic to a message.
fn at<T>(moment: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let moment = moment.parse().expect("a moment is ASCII");
    request.metadata_mut().insert(HEADER, moment);
    request
}

fn panics(server: &Server) -> u64 {
    let count = server.metric("witan_panics_total");
    count.map_or(0, |count| count as u64)
}

const KEY: &str = "key";

/// Size in bytes of a value that is counted in every budget.
const LARGE: usize = 300 << 10;

/// Runs a gRPC call that panics at a moment. Returns the number of messages, and the result.
async fn call(server: &Server, name: &str, moment: &str) -> (usize, Result<(), Status>) {
    let channel = grpc::connect(&server.address()).await;
    let mut messages = 0;
    let ended = match name {
        "range" | "put" | "small_put" | "delete" | "txn" | "range_stream" => {
            of_keys(channel, name, moment, &mut messages).await
        }
        "watch" | "keepalive" => of_streams(channel, name, moment, &mut messages).await,
        _ => of_jobs(channel, name, moment, &mut messages).await,
    };
    (messages, ended)
}

/// Counts the messages of a stream until its end.
async fn count<T>(mut answers: Streaming<T>, messages: &mut usize) -> Result<(), Status> {
    while answers.message().await?.is_some() {
        *messages += 1;
    }
    Ok(())
}

fn put(value: usize) -> PutRequest {
    requests::put(KEY, vec![b'v'; value])
}

async fn of_keys(
    channel: Channel,
    name: &str,
    moment: &str,
    messages: &mut usize,
) -> Result<(), Status> {
    let mut kv = KvClient::new(channel);
    let range = requests::range(KEY, "");
    match name {
        "range" => drop(kv.range(at(moment, range)).await?),
        "put" => drop(kv.put(at(moment, put(LARGE))).await?),
        "small_put" => drop(kv.put(at(moment, put(1))).await?),
        "delete" => {
            let delete = requests::delete("another", "");
            drop(kv.delete_range(at(moment, delete)).await?);
        }
        // This transaction reads enough keys to continue without its client.
        "txn" => {
            let all = requests::range(MANY, "many0");
            let both = [TxnOp::RequestRange(all), TxnOp::RequestPut(put(1))];
            drop(kv.txn(at(moment, requests::txn(both))).await?);
        }
        "range_stream" => {
            let parts = kv.range_stream(at(moment, range)).await?;
            count(parts.into_inner(), messages).await?;
        }
        other => panic!("no call {other}"),
    }
    Ok(())
}

/// Prefix of many keys. A transaction that counts them needs a permit.
const MANY: &str = "many/";

/// Puts keys below `MANY`: more than a command may touch on the replica's thread.
async fn put_many(server: &Server, keys: usize) {
    const TXN_OPS: usize = 128;
    let mut kv = KvClient::new(grpc::connect(&server.address()).await);
    for first in (0..keys).step_by(TXN_OPS) {
        let keys = (first..first + TXN_OPS).map(|n| format!("{MANY}{n:05}"));
        let puts = keys.map(|key| TxnOp::RequestPut(requests::put(key, "")));
        let written = kv.txn(requests::txn(puts)).await;
        written.expect("it is written");
    }
}

async fn of_streams(
    channel: Channel,
    name: &str,
    moment: &str,
    messages: &mut usize,
) -> Result<(), Status> {
    match name {
        "watch" => {
            let create = watching::create(watching::key(KEY));
            // The stream does not end by itself.
            let requests = stream::iter([create]).chain(stream::pending());
            let mut client = WatchClient::new(channel.clone());
            let mut answers = client.watch(at(moment, requests)).await?.into_inner();
            while answers.message().await?.is_some() {
                *messages += 1;
                // This put causes the next event.
                KvClient::new(channel.clone()).put(put(1)).await?;
            }
        }
        "keepalive" => {
            let requests = stream::iter([LeaseKeepAliveRequest { id: 7 }]);
            let mut client = LeaseClient::new(channel);
            let answers = client.lease_keep_alive(at(moment, requests)).await?;
            count(answers.into_inner(), messages).await?;
        }
        other => panic!("no call {other}"),
    }
    Ok(())
}

async fn of_jobs(
    channel: Channel,
    name: &str,
    moment: &str,
    messages: &mut usize,
) -> Result<(), Status> {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    match name {
        "hash" => drop(maintenance.hash(at(moment, HashRequest {})).await?),
        "snapshot" => {
            let chunks = maintenance.snapshot(at(moment, SnapshotRequest {})).await?;
            count(chunks.into_inner(), messages).await?;
        }
        "user_add" => {
            let user = AuthUserAddRequest {
                name: "user".into(),
                password: "secret".into(),
                ..Default::default()
            };
            drop(AuthClient::new(channel).user_add(at(moment, user)).await?);
        }
        "lock" => {
            let lock = LockRequest { name: KEY.into(), lease: 0 };
            drop(LockClient::new(channel).lock(at(moment, lock)).await?);
        }
        other => panic!("no call {other}"),
    }
    Ok(())
}

/// The gRPC calls, each with the moment at which it panics. At the first poll of a unary call, its handler has started; its
/// first item is its result.
const CALLS: [(&str, &str); 17] = [
    ("range", "grpc poll 1"),
    ("range", "grpc item 1"),
    // The put waits for the replica.
    ("put", "grpc poll 1"),
    ("put", "grpc poll 2"),
    ("put", "grpc item 1"),
    ("delete", "grpc item 1"),
    ("txn", "job poll 1"),
    ("txn", "job item 1"),
    ("range_stream", "grpc_stream item 1"),
    ("watch", "grpc poll 1"),
    ("watch", "grpc_stream item 1"),
    // The second item is an event.
    ("watch", "grpc_stream item 2"),
    ("keepalive", "grpc_stream item 1"),
    ("hash", "job call 1"),
    // The first call also surrounds the chunks and ends them.
    ("snapshot", "job call 2"),
    ("user_add", "job call 1"),
    ("lock", "job poll 1"),
];

/// The code in the JSON gateway's answer.
const CODE: &str = r#""code":13"#;

/// The HTTP/1 requests, each with the moment at which it panics, and a part of its answer.
const REQUESTS: [(&str, &str, &str, &str, &str); 17] = [
    ("http poll 1", "GET", "/v1/keys/foo", "", ""),
    ("http item 1", "GET", "/v2/keys/foo", "", ""),
    ("http item 1", "PUT", "/v2/keys/foo", "value=bar", ""),
    // The request waits for an event.
    ("http poll 1", "GET", "/v2/keys/foo?wait=true", "", ""),
    ("http poll 1", "GET", "/new", "", ""),
    (
        "http item 1",
        "PUT",
        "/e77afb997af5a84983baa98fd42cf12f/1",
        "value=a=http://b:1",
        "",
    ),
    ("http poll 1", "GET", "/version", "", ""),
    ("http item 1", "GET", "/metrics", "", ""),
    ("gateway poll 1", "POST", "/v3/kv/put", PUT, CODE),
    ("gateway item 1", "POST", "/v3/kv/put", PUT, CODE),
    ("gateway item 1", "POST", "/v3beta/kv/range", PUT, CODE),
    (
        "gateway item 1",
        "POST",
        "/v3/watch",
        r#"{"create_request":{"key":"YQ=="}}"#,
        CODE,
    ),
    ("job call 1", "POST", "/v3/maintenance/hash", "{}", CODE),
    (
        "job call 1",
        "POST",
        "/v3/auth/user/add",
        r#"{"name":"u","password":"p"}"#,
        CODE,
    ),
    (
        "job poll 1",
        "POST",
        "/v3/lock/lock",
        r#"{"name":"a2V5"}"#,
        CODE,
    ),
    (
        "gateway item 1",
        "POST",
        "/v3/kv/range?encoding=utf8",
        r#"{"key":"a"}"#,
        CODE,
    ),
    // This request panics outside of the gateway.
    ("http item 1", "POST", "/v3/kv/put", PUT, ""),
];

/// A put and a range in JSON.
const PUT: &str = r#"{"key":"a2V5"}"#;

fn ask(server: &Server, moment: &str, method: &str, target: &str, body: &str) -> Response {
    server.http_with(&[(HEADER, moment)], method, target, body)
}

/// Returns the lines of `/metrics` about open resources.
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
    server.v3("kv/put", r#"{"key":"a2V5","value":"dg=="}"#);
    server.answers(200, "GET", "/v2/keys/", "");
}

#[test]
fn a_panic_ends_its_request_alone() {
    let mut server = start();
    works(&server);
    let runtime = grpc::runtime();
    runtime.block_on(put_many(&server, 2048));
    let mut count = 0;
    for (name, moment) in CALLS {
        let (messages, ended) = runtime.block_on(call(&server, name, moment));
        let status = ended.expect_err(name);
        assert_eq!(status.code(), Code::Internal, "{name} {moment}: {status:?}");
        assert_eq!(messages > 0, moment.ends_with("item 2"), "{name} {moment}");
        count += 1;
    }
    for (moment, method, target, body, expect) in REQUESTS {
        let answer = ask(&server, moment, method, target, body);
        let text = answer.text();
        assert_eq!(answer.status, 500, "{moment} {method} {target}: {text}");
        assert!(
            text.contains("internal error") && text.contains(expect),
            "{moment} {method} {target}: {text}"
        );
        count += 1;
    }
    count += streams(&server);
    assert!(server.runs(), "{}", server.tail());
    assert_eq!(panics(&server), count);
    // No connection ended because of a request.
    let metrics = server.http("GET", "/metrics", "").text();
    assert!(metrics.contains("witan_panics_total{handler=\"connection\"} 0\n"));
    let told = server.wait_log(0, "planted: grpc poll");
    let place = "server/crates/base/src/panics/planted.rs:";
    assert!(
        told.contains(r#""handler":"grpc""#) && told.contains(place),
        "{told}"
    );
    works(&server);
}

/// Tests panics after the answer has started: its last line reports the panic, or its end does not arrive. Returns their
/// number.
fn streams(server: &Server) -> u64 {
    // The gateway's lines are the creation of the watch and the event.
    let create = r#"{"create_request":{"key":"a2V5","start_revision":"1"}}"#;
    for (moment, lines) in [("gateway_stream item 1", 1), ("gateway_stream item 2", 2)] {
        let answer = ask(server, moment, "POST", "/v3/watch", create);
        let text = answer.text();
        let last = text.lines().last().expect("a line");
        assert!(last.contains(CODE), "{moment}: {last}");
        assert_eq!(text.lines().count(), lines, "{moment}: {text}");
        let mut socket = socket(server, moment, "/v3/watch");
        socket.send(create).expect("it is sent");
        while let Ok(Frame::Text(text)) = socket.receive() {
            if text.contains(CODE) {
                break;
            }
        }
    }
    for moment in ["gateway poll 1", "http_stream item 1"] {
        let mut socket = socket(server, moment, "/v3/kv/range");
        socket.send("{}").expect("it is sent");
        let end = socket.receive();
        let told = matches!(&end, Ok(Frame::Text(text)) if text.contains("internal error"));
        assert!(told || end.is_err(), "{moment}: {end:?}");
    }
    // A v2 stream has started its answer before the event.
    let mut connection = Connection::open(&server.address()).expect("it listens");
    let target = "/v2/keys/?wait=true&stream=true&recursive=true";
    connection
        .send("GET", target, &[(HEADER, "http_stream item 2")], b"")
        .expect("it is sent");
    assert_eq!(connection.head("GET").expect("a head").status, 200);
    server.http("PUT", "/v2/keys/event", "value=1");
    assert!(connection.chunk().is_ok(), "an event before");
    server.http("PUT", "/v2/keys/event", "value=2");
    assert!(connection.chunk().is_err(), "the answer has no end");
    7
}

fn socket(server: &Server, moment: &str, path: &str) -> Socket {
    let header = format!("{HEADER}: {moment}");
    Socket::open(&server.address(), path, &[&header])
}

/// A call may panic at any poll, also while its handler waits for the replica.
#[test]
fn a_call_may_panic_at_any_poll() {
    let mut server = start();
    let runtime = grpc::runtime();
    for name in ["small_put", "put", "range", "delete", "hash"] {
        let mut revisions = vec![runtime.block_on(next_revision(&server))];
        for poll in 1.. {
            let moment = format!("grpc poll {poll}");
            let (_, ended) = runtime.block_on(call(&server, name, &moment));
            let Err(status) = ended else { break };
            assert_eq!(status.code(), Code::Internal, "{name} {moment}: {status:?}");
            revisions.push(runtime.block_on(next_revision(&server)));
        }
        let written = revisions.windows(2).map(|pair| pair[1] - pair[0] > 1);
        let written: Vec<bool> = written.collect();
        assert!(!written.is_empty(), "{name} was polled");
        // The first poll proposes the write, the second one gets its result.
        let twice = written.starts_with(&[true, true]);
        assert!(twice || name != "small_put", "{name}: {written:?}");
    }
    assert!(server.runs(), "{}", server.tail());
}

/// Writes and returns the revision. It increases by 1, or more if a panicking call has written.
async fn next_revision(server: &Server) -> i64 {
    let channel = grpc::connect(&server.address()).await;
    watching::put(&channel, KEY, "v").await
}

/// A panicking request frees everything that it held: places, budgets, watchers, connections.
#[test]
fn a_thousand_panics_leave_nothing_behind() {
    const ROUNDS: usize = 1000;
    let mut server = start();
    works(&server);
    let runtime = grpc::runtime();
    runtime.block_on(put_many(&server, 2048));
    let before = open(&server);
    for round in 0..ROUNDS {
        // Hashing passwords takes long, so those calls are omitted.
        let (name, moment) = CALLS[round % (CALLS.len() - 2)];
        let (_, ended) = runtime.block_on(call(&server, name, moment));
        assert_eq!(
            ended.expect_err(name).code(),
            Code::Internal,
            "{name} {moment}"
        );
    }
    for round in 0..ROUNDS {
        let (moment, method, target, body, _) = REQUESTS[round % 10];
        assert_eq!(ask(&server, moment, method, target, body).status, 500);
    }
    wait::until_true("nothing is open", || open(&server) == before);
    assert!(server.runs(), "{}", server.tail());
    assert!(panics(&server) >= 2 * ROUNDS as u64);
    // The budgets still permit as many large requests as before.
    let value = "dmFs".repeat(100 << 10);
    let put = format!(r#"{{"key":"a2V5","value":"{value}"}}"#);
    for _ in 0..8 {
        server.v3("kv/put", &put);
    }
    works(&server);
}

#[test]
fn a_panic_of_the_replica_or_the_disk_ends_the_process() {
    for (thread, exit) in [
        ("thread replica", EXITS.0),
        ("thread executor", EXITS.0),
        ("thread checkpoint", EXITS.0),
        ("thread log", EXITS.1),
    ] {
        let mut server = start();
        grpc::runtime().block_on(async {
            let mut keys = requests::delete(KEY, "");
            if thread == "thread executor" {
                put_many(&server, 8192).await;
                keys = requests::delete(MANY, "many0");
            }
            let channel = grpc::connect(&server.address()).await;
            let mut maintenance = MaintenanceClient::new(channel.clone());
            // Either call may be served before the end.
            let _ = maintenance
                .defragment(at(thread, DefragmentRequest {}))
                .await;
            if ["thread executor", "thread log"].contains(&thread) {
                let _ = KvClient::new(channel).delete_range(keys).await;
            }
        });
        assert_eq!(server.wait_exit().code(), Some(exit), "{thread}");
    }
}

/// The shipped program has no test hook, and this test would detect one.
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
    assert_eq!(
        ask(&server, "http poll 1", "GET", "/version", "").status,
        200
    );
    assert_eq!(panics(&server), 0);
}
