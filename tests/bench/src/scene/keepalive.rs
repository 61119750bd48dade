//! Lease keep-alives: a thousand leases on ten streams. Each lease is renewed again as soon as its last renewal is answered.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::task::JoinSet;
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, lease_client::LeaseClient,
};
use witan_e2e::{Server, grpc, process};

use crate::{load::Measured, micros, stream::Streams, table::latency_line};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const STREAMS: i64 = 10;
const LEASES_PER_STREAM: i64 = 100;
/// TTL in seconds. It is longer than the scene.
const TTL_S: i64 = 3600;

pub(super) async fn play(server: &Server, length: Duration) -> String {
    let mut client = LeaseClient::new(grpc::connect(&server.address()).await);
    for id in 1..=STREAMS * LEASES_PER_STREAM {
        let grant = LeaseGrantRequest { ttl: TTL_S, id };
        client.lease_grant(grant).await.expect("a lease");
    }
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let before = process::cpu(server.pid());
    let begun = Instant::now();
    let mut streams = JoinSet::new();
    for first in (1..=STREAMS * LEASES_PER_STREAM).step_by(100) {
        let mut stream = Streams::open(&server.address(), KEEP_ALIVE, 1).await;
        let latencies = Rc::clone(&latencies);
        streams.spawn_local(async move {
            let mut sent = vec![Instant::now(); 100];
            for id in first..first + LEASES_PER_STREAM {
                stream.send(0, LeaseKeepAliveRequest { id }.encode_to_vec());
            }
            while begun.elapsed() < length {
                let mut answered = Vec::new();
                let each = |_, message: &[u8]| {
                    let answer = LeaseKeepAliveResponse::decode(message).expect("an answer");
                    assert!(answer.ttl > 0, "the lease has ended");
                    answered.push(answer.id);
                };
                assert!(stream.receive(each).await, "the server ended the call");
                for id in answered {
                    let slot = &mut sent[usize::try_from(id - first).expect("a lease of ours")];
                    latencies.borrow_mut().push(micros(slot.elapsed()));
                    *slot = Instant::now();
                    stream.send(0, LeaseKeepAliveRequest { id }.encode_to_vec());
                }
            }
        });
    }
    streams.join_all().await;
    let mut measured = Measured {
        elapsed: begun.elapsed(),
        server_cpu: process::cpu(server.pid()).saturating_sub(before),
        latencies: latencies.take(),
        ..Measured::default()
    };
    measured.requests = measured.latencies.len() as u64;
    measured.latencies.sort_unstable();
    latency_line(&measured)
}
