//! Many watchers of one client that are all canceled at the same time. Other clients wait for a bounded time.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tonic::{Streaming, transport::Channel};
use witan_api::v3::etcdserverpb::{WatchCreateRequest, WatchResponse, watch_client::WatchClient};
use witan_e2e::{
    Launch, grpc, requests,
    watching::{create, key},
};

use crate::{
    stage::{NOISE, grown, longest_wait},
    work::admit_a_user,
};

/// Maximum time that another client waits. The bounded work for the watchers is not negligible, especially in a debug build.
const WAIT_MAX: Duration = NOISE.saturating_mul(6);

/// Creates many watchers on one stream and waits until all are created.
async fn watch(
    channel: Channel,
    token: &str,
    many: usize,
    watcher: fn(usize) -> WatchCreateRequest,
) -> Streaming<WatchResponse> {
    let asked = (0..many).map(move |at| create(watcher(at)));
    let asked = stream::iter(asked).chain(stream::pending());
    let request = requests::with_token(Some(token), asked);
    let answers = WatchClient::new(channel).watch(request).await;
    let mut answers = answers.expect("a stream").into_inner();
    for _ in 0..many {
        let answer = answers.message().await.expect("no error");
        assert!(answer.expect("an answer").created);
    }
    answers
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
        watch(channel, &token, WATCHERS, one_key).await
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
    assert!(more <= BOUND_BYTES, "{more} bytes more");
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
