//! Progress notifications, metrics of watches, and their end when the server stops. `server/crates/v3/src/watch/world_tests.rs`
//! tests that watchers do not miss events, and `tests/e2e/tests/faults` tests this under load.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, transport::Channel};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use witan_api::v3::etcdserverpb::WatchCreateRequest;
use witan_e2e::{
    Launch, Server, grpc, wait,
    watching::{Watching, create, from, key, put},
};

/// Maximum duration of an immediate stop on two busy cores.
const PROMPT: Duration = Duration::from_secs(8);

fn run<T>(server: &Server, scene: impl AsyncFnOnce(Channel) -> T) -> T {
    let address = server.address();
    grpc::runtime().block_on(async move { scene(grpc::connect(&address).await).await })
}

#[test]
fn an_idle_watcher_gets_progress_notifications() {
    let server = Launch::witan()
        .arg("--watch-progress-notify-interval=100ms")
        .start();
    run(&server, async |channel| {
        put(&channel, "a", "1").await;
        let request = WatchCreateRequest { progress_notify: true, ..key("a") };
        let mut stream = Watching::open(&channel, create(request)).await;
        stream.send(create(key("a"))).await;
        stream.next().await;
        stream.next().await;
        put(&channel, "other", "1").await;
        let mut told = 0;
        while told < 3 {
            let answer = stream.next().await;
            assert_eq!((answer.watch_id, answer.events.len()), (0, 0));
            told = answer.header.expect("a header").revision;
        }
    });
}

#[test]
fn open_streams_and_watchers_are_counted() {
    let server = Launch::witan().start();
    run(&server, async |channel| {
        put(&channel, "a", "1").await;
        let mut stream = Watching::open(&channel, create(key("a"))).await;
        stream.send(create(from("a", "b", 1))).await;
        for _ in 0..3 {
            stream.next().await;
        }
        put(&channel, "a", "2").await;
        for _ in 0..2 {
            stream.next().await;
        }
        let expect = [
            ("etcd_debugging_mvcc_watch_stream_total", 1.0),
            ("etcd_debugging_mvcc_watcher_total", 2.0),
            ("etcd_debugging_mvcc_slow_watcher_total", 0.0),
            ("etcd_debugging_mvcc_pending_events_total", 0.0),
            ("etcd_debugging_mvcc_events_total", 3.0),
            (
                r#"grpc_server_msg_sent_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#,
                5.0,
            ),
        ];
        for (name, value) in expect {
            assert_eq!(server.metric(name), Some(value), "{name}");
        }
    });
    wait::until_true("all is closed", || {
        let open = [
            "etcd_debugging_mvcc_watcher_total",
            "etcd_debugging_mvcc_watch_stream_total",
        ];
        open.map(|name| server.metric(name).expect("a series")) == [0.0; 2]
    });
}

#[test]
fn a_stop_ends_streams_immediately() {
    let mut server = Launch::witan().start();
    let begun = run(&server, async |channel| {
        let mut stream = Watching::open(&channel, create(key("a"))).await;
        stream.next().await;
        server.signal("TERM");
        let begun = std::time::Instant::now();
        let end = timeout(PROMPT, stream.try_next()).await.expect("an end");
        let status = end.expect_err("an end with a status");
        let seen = (status.code(), status.message());
        assert_eq!(seen, (Code::Unavailable, "etcdserver: server stopped"));
        begun
    });
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}

#[test]
fn a_stop_waits_for_no_stream() {
    let mut server = Launch::witan().start();
    let begun = run(&server, async |channel| {
        let mut unread = Watching::open(&channel, create(key("a"))).await;
        unread.next().await;
        // The values exceed the client's window.
        for _ in 0..4 {
            put(&channel, "a", vec![b'x'; 1 << 20]).await;
        }
        let asked = futures_util::stream::pending();
        let reflection = ServerReflectionClient::new(channel)
            .server_reflection_info(asked)
            .await
            .expect("a stream without requests");
        server.signal("TERM");
        let begun = std::time::Instant::now();
        server.wait_log(0, "stopped");
        drop((unread, reflection));
        begun
    });
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}
