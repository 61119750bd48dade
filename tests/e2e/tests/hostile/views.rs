//! Waiting calls and slow readers must not pin a state for a long time while all values are overwritten repeatedly. Waiting
//! scans must not delay other clients' large messages, although both run on other threads.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use prost::Message;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, HashKvRequest, RangeRequest, kv_client::KvClient,
};
use witan_e2e::{Launch, Server, grpc, requests};

use crate::{
    h2,
    shares::ask,
    stage::{LONG, SLACK_BYTES, case_on, connect, go_on, grown, longest_request, rest},
    work::fill,
};

const STATE_BYTES: u64 = 40 << 20;
const VALUES: usize = 80;
const GENERATIONS: usize = 8;

/// Quota in bytes: space for the values, and for their copies while they are overwritten.
const QUOTA_BYTES: u64 = 100 << 20;

/// Number of bytes that readers may pin beyond the quota (`HELD_BYTES_FREE` of `held_views`).
const HELD_BYTES: u64 = 64 << 20;

struct Writer {
    runtime: tokio::runtime::Runtime,
    kv: KvClient<Channel>,
}

impl Writer {
    fn new(server: &Server) -> Self {
        let runtime = grpc::runtime();
        let channel = runtime.block_on(grpc::connect(&server.address()));
        Self { runtime, kv: KvClient::new(channel) }
    }

    /// Overwrites all values and compacts the old ones. Returns the oldest remaining revision, which is not the current one.
    fn overwrite(&mut self, generation: usize) -> i64 {
        let Self { runtime, kv } = self;
        runtime.block_on(async {
            let mut revision = 0;
            for at in 0..VALUES {
                let value = vec![generation as u8; STATE_BYTES as usize / VALUES];
                let put = requests::put(format!("v/{at:03}"), value);
                let answer = kv.put(put).await.expect("there is room");
                revision = answer.into_inner().header.expect("a header").revision;
            }
            let compact = CompactionRequest { revision, physical: true };
            kv.compact(compact).await.expect("a compaction");
            kv.put(requests::put("later", "")).await.expect("a put");
            revision
        })
    }

    fn fill(&mut self, keys: usize) {
        let Self { runtime, kv } = self;
        runtime.block_on(fill(kv, keys, 0));
    }
}

fn launch() -> Launch {
    Launch::witan().arg(format!("--quota-backend-bytes={QUOTA_BYTES}"))
}

/// Keeps calls waiting while all values are overwritten. `call` creates a call for the revision of each generation.
fn waiting_calls_keep_no_state<M: Message>(
    (what, path): (&str, &str),
    keys: usize,
    first: u32,
    call: impl Fn(i64) -> M,
) {
    // The bound covers the values, their copies while they are overwritten, and the running jobs.
    let bound = SLACK_BYTES + 4 * STATE_BYTES;
    case_on(launch(), what, bound, |server| {
        let mut writer = Writer::new(server);
        writer.fill(keys);
        let revision = writer.overwrite(0);
        let mut streams = vec![h2::open_wide(server)];
        assert!(ask(&mut streams[0], first, path, &call(revision)));
        for generation in 1..=GENERATIONS {
            let revision = writer.overwrite(generation);
            let mut stream = h2::open_wide(server);
            assert!(ask(&mut stream, 2, path, &call(revision)));
            streams.push(stream);
        }
        drop(streams);
        format!("{first} calls and 2 in each of {GENERATIONS} generations")
    });
}

#[test]
fn waiting_hashes_pin_no_state() {
    let call = ("hashes that wait", "/etcdserverpb.Maintenance/HashKV");
    waiting_calls_keep_no_state(call, 1, 400, |_| HashKvRequest::default());
}

/// Number of keys. Counting them at an older revision takes a while.
const COUNTED: usize = 30_000;

fn count(revision: i64) -> RangeRequest {
    RangeRequest { revision, limit: 1, ..requests::range("k", "l") }
}

#[test]
fn waiting_counts_pin_no_state() {
    let call = ("counts that wait", "/etcdserverpb.KV/RangeStream");
    waiting_calls_keep_no_state(call, COUNTED, 400, count);
}

fn snapshot(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    let head = "POST /v3/maintenance/snapshot HTTP/1.1\r\nHost: x\r\nConnection: close";
    let request = format!("{head}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");
    stream
}

#[test]
fn unread_snapshots_pin_at_most_the_free_quota() {
    let bound = 2 * SLACK_BYTES + QUOTA_BYTES - STATE_BYTES + HELD_BYTES;
    case_on(launch(), "unread snapshots", 2 * bound, |server| {
        let mut writer = Writer::new(server);
        for generation in 0..3 {
            writer.overwrite(generation);
        }
        let mut readers = Vec::new();
        let ((), grown) = grown(server, || {
            for generation in 1..=GENERATIONS {
                readers.push(snapshot(server));
                writer.overwrite(generation);
            }
        });
        assert!(grown <= bound, "grew by {grown} bytes, bound {bound}");
        let (told, _) = rest(&mut readers[0]);
        let told = String::from_utf8_lossy(&told[told.len().saturating_sub(400)..]).into_owned();
        assert!(told.contains("too much has changed"), "{told}");
        format!(
            "{GENERATIONS} snapshots, the oldest ended, {} MiB more",
            grown >> 20
        )
    });
}

/// Size in bytes of a put that is decoded on another thread.
const LARGE_PUT_BYTES: usize = 300 << 10;

const COUNTS: u32 = 300;

#[test]
fn large_puts_do_not_wait_behind_counts() {
    let server = Launch::witan().start();
    let mut writer = Writer::new(&server);
    writer.fill(COUNTED);
    let status = server.v3("maintenance/status", "{}");
    let revision = status["header"]["revision"].as_str().expect("a number");
    let revision = revision.parse::<i64>().expect("a number") - 1;
    let client = || {
        let runtime = grpc::runtime();
        let mut kv = KvClient::new(runtime.block_on(grpc::connect(&server.address())));
        move || {
            let put = kv.put(requests::put("large", vec![7; LARGE_PUT_BYTES]));
            runtime.block_on(put).expect("a put of another client");
        }
    };
    let counts = || {
        let mut stream = h2::open_wide(&server);
        stream.set_read_timeout(Some(LONG)).expect("a TCP socket");
        let path = "/etcdserverpb.KV/RangeStream";
        assert!(ask(&mut stream, COUNTS, path, &count(revision)));
        let mut ended = 0;
        while ended < COUNTS {
            let (_, flags, ..) = h2::read(&mut stream).expect("an answer");
            ended += u32::from(flags & h2::END_STREAM != 0);
        }
    };
    go_on("counts", || longest_request(1, client, counts));
}
