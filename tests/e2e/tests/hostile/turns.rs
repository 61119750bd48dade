//! Clients that send more to the log than it accepts at once delay only themselves.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Server, grpc, requests, wait};

use crate::{
    h2,
    shares::ask,
    stage::{NOISE, SLACK_BYTES, at_once, load},
};

/// Number of connections that put as fast as they can.
const FLOODS: usize = 4;

/// Number of puts that each connection sends at once.
const PUTS: u32 = 2_000;

/// Size of a value in bytes, which fits in a frame with its overhead.
const VALUE_BYTES: usize = 16_000;

/// Maximum memory in bytes of requests, commands, log and history together.
const FLOOD_BYTES: u64 = 640 << 20;

/// Sends the puts of one connection. Returns the time until the last answer.
fn flood(server: &Server, number: usize) -> Duration {
    let mut stream = h2::open_wide(server);
    let mut reader = stream.try_clone().expect("a descriptor more");
    let put = requests::put(format!("flood-{number}"), vec![b'v'; VALUE_BYTES]);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| ask(&mut stream, PUTS, "/etcdserverpb.KV/Put", &put));
        let mut ended = 0;
        while ended < PUTS {
            let (kind, flags, _, _) = h2::read(&mut reader).expect("every put is answered");
            ended += u32::from(kind == h2::HEADERS && flags & h2::END_STREAM != 0);
        }
    });
    begun.elapsed()
}

/// Puts one key after another until `left` is 0. Returns the longest wait and the number of puts.
fn bystander(server: &Server, left: &AtomicUsize) -> (Duration, usize) {
    let runtime = grpc::runtime();
    let mut client = KvClient::new(runtime.block_on(grpc::connect(&server.address())));
    let (mut longest, mut puts) = (Duration::ZERO, 0);
    while left.load(Ordering::SeqCst) > 0 {
        let put = requests::put("other", "x");
        let begun = Instant::now();
        let done = runtime.block_on(client.put(put));
        done.expect("a put of somebody else");
        longest = longest.max(begun.elapsed());
        puts += 1;
    }
    (longest, puts)
}

/// Returns the shortest duration of a flood, the longest duration of a concurrent put, and a description.
fn floods_beside_a_put(server: &Server) -> (Duration, Duration, String) {
    let left = AtomicUsize::new(FLOODS);
    let (own, longest, puts) = thread::scope(|scope| {
        let other = scope.spawn(|| bystander(server, &left));
        let floods = at_once(FLOODS, |number| {
            let took = flood(server, number);
            left.fetch_sub(1, Ordering::SeqCst);
            took
        });
        let own = floods.into_iter().min().unwrap_or_default();
        let (longest, puts) = other.join().expect("it ends");
        (own, longest, puts)
    });
    let told = format!(
        "{FLOODS} x {PUTS} x 16 KB in {own:?}: {puts} puts of another, {longest:?} at most"
    );
    (own, longest, told)
}

#[test]
fn connections_that_flood_the_log_wait_behind_themselves() {
    wait::undisturbed(|| {
        let mut measured = Ok(());
        load("floods of the log", SLACK_BYTES + FLOOD_BYTES, |server| {
            let (own, longest, told) = floods_beside_a_put(server);
            if longest >= own / 3 + NOISE {
                measured = Err(told.clone());
            }
            told
        });
        measured
    });
}
