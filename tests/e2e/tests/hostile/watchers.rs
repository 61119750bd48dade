//! Many watchers of one client that all match a change of many keys. Other clients wait for a bounded time.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tonic::{Streaming, transport::Channel};
use witan_api::v3::etcdserverpb::{
    WatchCreateRequest, WatchResponse, kv_client::KvClient, request_op::Request as Operation,
    watch_client::WatchClient,
};
use witan_e2e::{
    Launch, grpc, requests, wait,
    watching::{create, from, key},
};

use crate::{
    stage::{NOISE, grown, longest_wait},
    work::admit_a_user,
};

/// Maximum wait of another client. The bounded work for the watchers is not negligible, above all in a debug build.
const WAIT_MAX: Duration = NOISE.saturating_mul(6);

/// Number of measured puts.
const PUTS: usize = 20;

/// Opens a stream with `many` watchers, with a user's token if given.
async fn watch(
    channel: Channel,
    token: Option<&str>,
    many: usize,
    watcher: fn(usize) -> WatchCreateRequest,
) -> Streaming<WatchResponse> {
    let asked = (0..many).map(move |at| create(watcher(at)));
    let asked = stream::iter(asked).chain(stream::pending());
    let request = requests::with_token(token, asked);
    let answers = WatchClient::new(channel).watch(request).await;
    let mut answers = answers.expect("a stream").into_inner();
    for _ in 0..many {
        let answer = answers.message().await.expect("no error");
        assert!(answer.expect("an answer").created);
    }
    answers
}

/// Returns the longest duration of several puts.
async fn longest_put(client: &mut KvClient<Channel>) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..PUTS {
        let begun = Instant::now();
        client.put(requests::put("0", "")).await.expect("put");
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// Puts many keys with values of `bytes` bytes.
async fn fill_with_values(client: &mut KvClient<Channel>, keys: usize, bytes: usize) {
    let keys: Vec<usize> = (0..keys).collect();
    for keys in keys.chunks(1000) {
        let put = |at| Operation::RequestPut(requests::put(format!("k{at:06}"), vec![7; bytes]));
        let nested = keys
            .chunks(100)
            .map(|keys| Operation::RequestTxn(requests::txn(keys.iter().map(put))));
        client.txn(requests::txn(nested)).await.expect("puts");
    }
}

/// One answer of any size contains the events of a revision. The server creates it in steps, between which the worker serves
/// other clients.
#[test]
fn a_watcher_of_the_pairs_that_a_large_deletion_removes() {
    const KEYS: usize = 100_000;
    const BYTES: usize = 700;
    /// Number of other clients, several per worker.
    const OTHERS: usize = 4;
    let server = Launch::witan().start();
    let address = server.address();
    let attempt = async || {
        let mut client = KvClient::new(grpc::connect(&address).await);
        fill_with_values(&mut client, KEYS, BYTES).await;
        let watcher = |_| WatchCreateRequest { prev_kv: true, ..from("k", "l", 0) };
        let mut answers = watch(grpc::connect(&address).await, None, 1, watcher).await;
        let mut others = Vec::new();
        let (answered, is_answered) = tokio::sync::watch::channel(false);
        for _ in 0..OTHERS {
            let mut other = KvClient::new(grpc::connect(&address).await);
            let is_answered = is_answered.clone();
            others.push(tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !*is_answered.borrow() {
                    longest = longest.max(longest_put(&mut other).await);
                }
                longest
            }));
        }
        let deleted = client.delete_range(requests::delete("k", "l")).await;
        assert_eq!(deleted.expect("deleted").into_inner().deleted, KEYS as i64);
        // The answer is longer than this client accepts.
        answers.message().await.expect_err("all in one");
        answered.send(true).expect("they look at it");
        let mut longest = Vec::new();
        for other in others {
            longest.push(other.await.expect("it ends"));
        }
        longest.sort();
        if longest[OTHERS - 1] <= longest[0].mul_f64(1.4) {
            return Ok(());
        }
        Err(format!("clients of the same member waited {longest:?}"))
    };
    wait::undisturbed(|| grpc::runtime().block_on(attempt()));
}

/// Each watcher gets a message, which is created when the client reads it.
#[test]
fn many_watchers_that_lose_their_permission_at_once() {
    const WATCHERS: usize = 200_000;
    /// Maximum memory in bytes for the watchers' ids. Prepared messages for all watchers took 60 MiB.
    const BOUND_BYTES: u64 = 16 << 20;
    let server = Launch::witan().start();
    let token = admit_a_user(&server);
    let root = server.token("root", "p");
    let runtime = grpc::runtime();
    let mut answers = runtime.block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let one_key = |at| key(&format!("k{at:06}"));
        watch(channel, Some(&token), WATCHERS, one_key).await
    });
    // The process frees the memory of the watchers' creation before the measurement.
    let revoke = || {
        let body = r#"{"role":"r","key":"aw==","range_end":"bA=="}"#;
        let revoked = server.http_as(Some(&root), "POST", "/v3/auth/role/revoke", body);
        assert_eq!(revoked.status, 200);
        let first = runtime.block_on(answers.message());
        first.expect("no error").expect("an answer")
    };
    let ((first, waited), more) = grown(&server, || longest_wait(&server, revoke));
    assert!(waited <= WAIT_MAX, "another client waited {waited:?}");
    assert!(
        more <= BOUND_BYTES,
        "{more} bytes more, bound {BOUND_BYTES}"
    );
    let mut canceled = vec![false; WATCHERS];
    let mut note = |answer: WatchResponse| {
        assert!(answer.canceled && answer.cancel_reason.ends_with("permission denied"));
        let id = usize::try_from(answer.watch_id).expect("an id");
        assert!(!std::mem::replace(&mut canceled[id], true), "{id} twice");
    };
    note(first);
    runtime.block_on(async {
        for _ in 1..WATCHERS {
            let answer = answers.message().await.expect("no error");
            note(answer.expect("an answer"));
        }
    });
}
