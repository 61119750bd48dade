//! A panic in a request ends only that request. A panic in the replica's thread or the log ends the process. The build
//! `witan-planted` has a test hook that causes the panics and that the shipped program lacks.

use std::fs;

use futures_util::{StreamExt as _, stream};
use tonic::{Code, Status, Streaming, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        AuthUserAddRequest, HashRequest, PutRequest, SnapshotRequest, auth_client::AuthClient,
        kv_client::KvClient, maintenance_client::MaintenanceClient, request_op::Request as TxnOp,
        watch_client::WatchClient,
    },
    v3lockpb::{LockRequest, lock_client::LockClient},
};
use witan_e2e::{
    Launch, Server, assert_contains,
    binaries::planted,
    grpc,
    http::{self, Connection},
    requests, wait, watching,
};

/// The environment variable with the name of the file that plants a panic.
const VARIABLE: &str = "WITAN_PLANTED_PANIC";

/// The file in the server's working directory.
const FILE: &str = "panic";

/// The exit codes after a panic, and after a failed write to the log.
const EXITS: (i32, i32) = (31, 29);

fn launch() -> Launch {
    Launch::witan()
        .program(planted())
        .env(VARIABLE, FILE)
        .expect_panics()
}

/// Plants a panic and replaces an earlier one that has not happened. `moment` names a boundary, a moment at the boundary, and
/// the occurrence at which to panic.
fn plant(server: &Server, moment: &str) {
    let new = server.dir().join("panic.new");
    fs::write(&new, moment).expect("the folder is writable");
    fs::rename(&new, server.dir().join(FILE)).expect("the folder is writable");
}

fn panics(server: &Server) -> u64 {
    let count = server.metric("witan_panics_total");
    count.map_or(0, |count| count as u64)
}

const KEY: &str = "key";

/// Size in bytes of a value that every budget must account for.
const LARGE: usize = 300 << 10;

/// Makes a gRPC call that panics at `moment`. Returns the number of received messages and the call's result.
async fn call(server: &Server, name: &str, moment: &str) -> (usize, Result<(), Status>) {
    let channel = grpc::connect(&server.address()).await;
    plant(server, moment);
    let mut messages = 0;
    let ended = match name {
        "put" | "txn" => of_keys(channel, name).await,
        "watch" => watch(channel, &mut messages).await,
        _ => of_jobs(channel, name, &mut messages).await,
    };
    (messages, ended)
}

async fn count<T>(mut answers: Streaming<T>, messages: &mut usize) -> Result<(), Status> {
    while answers.message().await?.is_some() {
        *messages += 1;
    }
    Ok(())
}

fn put(value: usize) -> PutRequest {
    requests::put(KEY, vec![b'v'; value])
}

async fn of_keys(channel: Channel, name: &str) -> Result<(), Status> {
    let mut kv = KvClient::new(channel);
    match name {
        "put" => drop(kv.put(put(LARGE)).await?),
        // This transaction reads so many keys that it continues without its client.
        "txn" => {
            let all = requests::range(MANY, "many0");
            let both = [TxnOp::RequestRange(all), TxnOp::RequestPut(put(1))];
            drop(kv.txn(requests::txn(both)).await?);
        }
        other => panic!("no call {other}"),
    }
    Ok(())
}

/// Prefix of the keys of that transaction, which needs a permit because there are so many.
const MANY: &str = "many/";

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

async fn watch(channel: Channel, messages: &mut usize) -> Result<(), Status> {
    let create = watching::create(watching::key(KEY));
    // Keep the request stream open.
    let requests = stream::iter([create]).chain(stream::pending());
    let mut client = WatchClient::new(channel.clone());
    let mut answers = client.watch(requests).await?.into_inner();
    while answers.message().await?.is_some() {
        *messages += 1;
        KvClient::new(channel.clone()).put(put(1)).await?;
    }
    Ok(())
}

async fn of_jobs(channel: Channel, name: &str, messages: &mut usize) -> Result<(), Status> {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    match name {
        "hash" => drop(maintenance.hash(HashRequest {}).await?),
        "snapshot" => {
            let chunks = maintenance.snapshot(SnapshotRequest {}).await?;
            count(chunks.into_inner(), messages).await?;
        }
        "user_add" => {
            let user = AuthUserAddRequest {
                name: "user".into(),
                password: "secret".into(),
                ..Default::default()
            };
            drop(AuthClient::new(channel).user_add(user).await?);
        }
        "lock" => {
            let lock = LockRequest { name: KEY.into(), lease: 0 };
            drop(LockClient::new(channel).lock(lock).await?);
        }
        other => panic!("no call {other}"),
    }
    Ok(())
}

/// gRPC calls, one for each boundary, and the moment at which each panics.
const CALLS: [(&str, &str); 7] = [
    ("put", "grpc item 1"),
    ("watch", "grpc_stream item 2"),
    ("hash", "job call 1"),
    // The first job contains this one, which creates the chunks.
    ("snapshot", "job call 2"),
    // Work that continues without its client.
    ("txn", "job item 1"),
    ("lock", "job poll 1"),
    // Work in a separate task, because hashing a password takes a long time.
    ("user_add", "job poll 1"),
];

const CODE: &str = r#""code":13"#;

/// HTTP/1 requests: the moment at which each panics, method, target, body, and a string in the response.
const REQUESTS: [(&str, &str, &str, &str, &str); 2] = [
    ("http item 1", "PUT", "/v2/keys/foo", "value=bar", ""),
    ("gateway item 1", "POST", "/v3/kv/put", PUT, CODE),
];

const PUT: &str = r#"{"key":"a2V5"}"#;

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
fn a_panic_ends_only_its_request() {
    let mut server = launch().start();
    works(&server);
    let runtime = grpc::runtime();
    runtime.block_on(put_many(&server, 2048));
    let before = open(&server);
    let mut count = 0;
    for (name, moment) in CALLS {
        let (messages, ended) = runtime.block_on(call(&server, name, moment));
        let status = ended.expect_err(name);
        assert_eq!(status.code(), Code::Internal, "{name} {moment}: {status:?}");
        assert_eq!(messages > 0, name == "watch", "{name} {moment}");
        count += 1;
    }
    for (moment, method, target, body, expect) in REQUESTS {
        plant(&server, moment);
        let answer = server.http(method, target, body);
        let text = answer.text();
        assert_eq!(answer.status, 500, "{moment} {method} {target}: {text}");
        assert_contains(&text, "internal error");
        assert_contains(&text, expect);
        count += 1;
    }
    plant(&server, "http item 1");
    let peer_port = format!("127.0.0.1:{}", server.peer_port());
    let answer = http::once(&peer_port, "GET", "/members", "");
    assert_eq!(answer.status, 500, "{}", answer.text());
    count += 1 + streams(&server);
    wait::until_true("nothing is open", || open(&server) == before);
    // No connection ended because of a request.
    assert!(has_panicked_connections(&server, 0.0));
    // Every connection is polled at least once. An older connection may panic instead of this one.
    plant(&server, "connection poll 1");
    if let Ok(mut connection) = Connection::open(&server.address()) {
        let _ = connection.send("GET", "/version", &[], b"");
        let _ = connection.head("GET");
    }
    wait::until_true("it panics", || has_panicked_connections(&server, 1.0));
    assert!(server.runs(), "{}", server.tail());
    assert_eq!(panics(&server), count + 1);
    let told = server.wait_log(0, "planted: grpc item");
    let place = "server/crates/base/src/panics/planted.rs:";
    assert_contains(&told, r#""handler":"grpc""#);
    assert_contains(&told, place);
    works(&server);
}

fn has_panicked_connections(server: &Server, count: f64) -> bool {
    server.metric("witan_panics_total{handler=\"connection\"}") == Some(count)
}

/// Causes panics in responses that have begun. The last line of the response contains the error, or the response has no end.
/// Returns the number of panics.
fn streams(server: &Server) -> u64 {
    // Item 1 is the creation of the watch. Item 2 is the event.
    let create = r#"{"create_request":{"key":"a2V5","start_revision":"1"}}"#;
    plant(server, "gateway_stream item 2");
    let text = server.http("POST", "/v3/watch", create).text();
    let last = text.lines().last().expect("a line");
    assert!(last.contains(CODE), "{last}");
    assert_eq!(text.lines().count(), 2, "{text}");
    // A v2 stream, whose response begins before the event.
    plant(server, "http_stream item 2");
    let target = "/v2/keys/?wait=true&stream=true&recursive=true";
    let mut connection = server.send("GET", target, "");
    assert_eq!(connection.head("GET").expect("a head").status, 200);
    server.http("PUT", "/v2/keys/event", "value=1");
    assert!(connection.chunk().is_ok(), "an event before");
    server.http("PUT", "/v2/keys/event", "value=2");
    assert!(connection.chunk().is_err(), "the answer has no end");
    2
}

#[test]
fn a_panic_of_the_replica_or_the_log_ends_the_process() {
    let mut server = launch().prepare();
    plant(&server, "thread replica 1");
    server.start_unready_again();
    assert_eq!(server.wait_exit().code(), Some(EXITS.0));
    server.start_again();
    works(&server);
    plant(&server, "library replica 1");
    let put = grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        KvClient::new(channel).put(put(1)).await
    });
    assert!(put.is_err(), "the write is not acknowledged");
    assert_eq!(server.wait_exit().code(), Some(EXITS.1));
}
