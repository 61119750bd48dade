//! The memory of idle watchers and idle streams.

use witan_e2e::{
    Launch, Server, grpc, process,
    watching::{Watching, create, key, put},
};

const WATCHERS: usize = 100_000;
const WATCHER_BYTES_MAX: usize = 800;
const STREAMS: usize = 2000;
const STREAM_BYTES_MAX: usize = 40 << 10;

fn resident(server: &Server) -> usize {
    process::status_bytes(server.pid(), "RssAnon:") as usize
}

#[test]
fn idle_watchers_are_cheap() {
    let server = Launch::witan().start();
    let before = resident(&server);
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let mut stream = Watching::open(&channel, create(key("key-000000"))).await;
        stream.next().await;
        let mut sent = 1;
        while sent < WATCHERS {
            let burst = 500.min(WATCHERS - sent);
            for n in sent..sent + burst {
                stream.send(create(key(&format!("key-{n:06}")))).await;
            }
            for _ in 0..burst {
                assert!(stream.next().await.created);
            }
            sent += burst;
        }
        let each = resident(&server).saturating_sub(before) / WATCHERS;
        println!("{each} bytes for each of {WATCHERS} idle watchers");
        assert!(each < WATCHER_BYTES_MAX, "{each}");
        put(&channel, "key-077777", "v").await;
        let answer = stream.next().await;
        assert_eq!((answer.watch_id, answer.events.len()), (77_777, 1));
    });
}

#[test]
fn idle_streams_are_cheap() {
    let server = Launch::witan().start();
    let before = resident(&server);
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let mut streams = Vec::new();
        for n in 0..STREAMS {
            let mut stream = Watching::open(&channel, create(key(&format!("k{n}")))).await;
            assert!(stream.next().await.created);
            streams.push(stream);
        }
        let each = resident(&server).saturating_sub(before) / STREAMS;
        println!("{each} bytes for each of {STREAMS} idle streams with a watcher");
        assert!(each < STREAM_BYTES_MAX, "{each}");
        put(&channel, "k77", "v").await;
        assert_eq!(streams[77].next().await.events.len(), 1);
    });
}
