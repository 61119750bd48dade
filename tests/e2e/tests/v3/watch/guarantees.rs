//! The guarantees of watches: no event is missed or repeated, even by slow clients and under compaction. Also tests limits and
//! metrics. `linear` and `faults` test watchers that read past revisions under load.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;
use tonic::{Code, transport::Channel};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use witan_api::v3::etcdserverpb::{WatchCreateRequest, WatchResponse};
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

/// Returns the key and the revision of each event.
fn seen(answer: &WatchResponse) -> Vec<(String, i64)> {
    let kvs = answer.events.iter().filter_map(|event| event.kv.as_ref());
    kvs.map(|kv| {
        (
            String::from_utf8_lossy(&kv.key).into_owned(),
            kv.mod_revision,
        )
    })
    .collect()
}

/// A watcher that starts while other clients write receives every change after the revision at which it was created.
#[test]
fn watchers_that_begin_under_load_miss_nothing() {
    const WRITERS: usize = 4;
    const PUTS: usize = 200;
    let server = Launch::witan().start();
    run(&server, async |channel| {
        let writers = (0..WRITERS).map(|writer| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let name = format!("k{writer}");
                let mut written = Vec::new();
                for _ in 0..PUTS {
                    written.push((put(&channel, &name, "v").await, name.clone()));
                }
                written
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut watches = Vec::new();
        for n in 0..40 {
            let (first, end) = [("k0", ""), ("k1", "k3"), ("k", "l")][n % 3];
            let stream = Watching::open(&channel, create(from(first, end, 0))).await;
            watches.push((first, end, stream));
        }
        let mut all = BTreeMap::new();
        for writer in writers {
            all.extend(writer.await.expect("no writer fails"));
        }
        let mut told = 0;
        for (first, end, mut stream) in watches {
            let created = stream.next().await.header.expect("a header").revision;
            let inside = |key: &str| key == first || (first..end).contains(&key);
            let later = all.range(created + 1..).filter(|(_, key)| inside(key));
            let expect: Vec<_> = later.map(|(at, key)| (key.clone(), *at)).collect();
            let mut got = Vec::new();
            while got.len() < expect.len() {
                got.extend(seen(&stream.next().await));
            }
            assert_eq!(got, expect, "{first} to {end} after {created}");
            told += got.len();
        }
        assert!(told > PUTS, "they began before the writers ended");
    });
}

#[test]
fn an_unread_stream_does_not_block_others() {
    const BUSY: usize = 1000;
    const ROUNDS: usize = 10;
    let server = Launch::witan().without_fsync().start();
    run(&server, async |channel| {
        let address = server.address();
        let apart = grpc::connect(&address).await;
        let mut unread = Watching::open(&apart, create(from("k", "l", 0))).await;
        unread.next().await;
        let mut busy = Vec::new();
        for n in 0..BUSY {
            let watch = create(key(&format!("k{n}")));
            let mut stream = Watching::open(&channel, watch).await;
            stream.next().await;
            busy.push(stream);
        }
        let value = vec![b'x'; 16 << 10];
        for round in 0..ROUNDS {
            for n in 0..BUSY / 10 {
                put(
                    &channel,
                    &format!("k{}", n * 10 + round % 10),
                    value.clone(),
                )
                .await;
            }
            for n in 0..BUSY / 10 {
                let answer = busy[n * 10 + round % 10].next().await;
                assert_eq!(answer.events.len(), 1);
            }
        }
        // 16 MiB wait for the client, but the server holds only one batch. The client still receives everything.
        let mut got = 0;
        while got < ROUNDS * BUSY / 10 {
            got += unread.next().await.events.len();
        }
        assert_eq!(got, ROUNDS * BUSY / 10);
    });
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
fn a_stop_ends_streams_at_once() {
    let mut server = Launch::witan().start();
    let begun = run(&server, async |channel| {
        let mut stream = Watching::open(&channel, create(key("a"))).await;
        stream.next().await;
        server.signal("TERM");
        let begun = std::time::Instant::now();
        let end = timeout(PROMPT, stream.try_next()).await.expect("an end");
        let status = end.expect_err("an end with a status");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unavailable, "etcdserver: server stopped")
        );
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
            .expect("a stream that asks for nothing");
        server.signal("TERM");
        let begun = std::time::Instant::now();
        server.wait_log(0, "stopped");
        drop((unread, reflection));
        begun
    });
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}
