//! Watch: streams of changes, for gRPC and JSON.
//!
//! A [`Session`] is one stream with all its watchers. When a session is polled for its next response, it serves a request,
//! reads a batch of history, or waits. A client that does not read therefore stops only its own session, which holds one batch.
//!
//! Reading order: `limits` → `watcher_group` → `watchers` (watchers and their ranges) → `answer` (encoded events) →
//! `history_reader` (history to events) → `unread`, `unsynced` (what to read next) → `worker_turn` (when to yield) → `delivery`
//! (events to responses) → `progress`, `permission` → `session` (the main loop).

mod answer;
mod delivery;
mod history_reader;
mod limits;
mod permission;
mod progress;
mod session;
mod unread;
mod unsynced;
mod watcher_group;
mod watchers;
mod worker_turn;
#[cfg(test)]
mod world_tests;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tonic::{Code, Status};
use witan_api::v3::etcdserverpb as pb;
use witan_dialect::Context;

use self::{answer::WatchAnswer, session::Session};

/// Opens a watch stream for gRPC. Returns the responses to `requests`. The code `ResourceExhausted` becomes `Unavailable`. With
/// `needs_leader`, the stream fails if this member knows no leader for too long.
pub(super) fn watch<R>(
    ctx: &Context,
    requests: R,
    needs_leader: bool,
) -> impl Stream<Item = Result<WatchAnswer, Status>> + use<R>
where
    R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
{
    let session = Box::new(Session::new(ctx, requests, needs_leader));
    let answers = stream::try_unfold(session, |mut session| async move {
        let answer = session.next().await.map_err(resumable)?;
        Ok(Some((answer, session)))
    });
    yield_after_created(answers)
}

/// Yields between the response that reports a created watch and the next response of another kind, such as the first events.
/// Otherwise, both responses could share a DATA frame. Some clients fail if the first frame has a second message.
fn yield_after_created(
    answers: impl Stream<Item = Result<WatchAnswer, Status>>,
) -> impl Stream<Item = Result<WatchAnswer, Status>> {
    let mut after_created = false;
    answers.then(move |answer| {
        let is_created = answer.as_ref().is_ok_and(|answer| answer.head.created);
        let yields = std::mem::replace(&mut after_created, is_created) && !is_created;
        async move {
            if yields {
                tokio::task::yield_now().await;
            }
            answer
        }
    })
}

/// Replaces `ResourceExhausted` with `Unavailable`, so that etcd's clients resume their watches.
fn resumable(status: Status) -> Status {
    if status.code() == Code::ResourceExhausted {
        Status::unavailable(status.message())
    } else {
        status
    }
}

/// Opens a watch stream for a caller in this process. Returns the decoded responses to `requests`. With `needs_leader`, the
/// stream fails if this member knows no leader for too long.
pub(super) fn watch_events<R>(
    ctx: &Context,
    requests: R,
    needs_leader: bool,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + use<R>
where
    R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
{
    watch(ctx, requests, needs_leader).map_ok(WatchAnswer::into_response)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_api::v3::etcdserverpb::watch_request::RequestUnion;
    use witan_base::account::Resource;
    use witan_machine::kv::{DeleteRange, Kv, KvOperation};
    use witan_node::testing::NodeOfStates;

    use super::{answer::EncodedEvent, *};
    use crate::test_context::{apply, context, put};

    #[tokio::test]
    async fn a_created_watch_yields_before_its_next_response() {
        let created = || pb::WatchResponse { created: true, ..pb::WatchResponse::default() };
        let canceled = pb::WatchResponse { canceled: true, ..pb::WatchResponse::default() };
        let event = EncodedEvent::new(witan_api::v3::mvccpb::Event::default());
        let events = WatchAnswer { events: vec![event], ..WatchAnswer::default() };
        for next in [events, canceled.into()] {
            let answers = [created().into(), created().into(), next.clone(), next].map(Ok);
            let mut answers = std::pin::pin!(yield_after_created(stream::iter(answers)));
            let polls = [(); 5].map(|()| answers.next().now_or_never().is_some());
            assert_eq!(polls, [true, true, false, true, true]);
        }
    }

    /// Returns a request to watch the keys from "k" to `range_end`.
    fn create(range_end: &'static str, prev_kv: bool) -> Result<pb::WatchRequest, Status> {
        let create = pb::WatchCreateRequest {
            key: "k".into(),
            range_end: range_end.into(),
            prev_kv,
            ..pb::WatchCreateRequest::default()
        };
        Ok(pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })
    }

    #[test]
    fn a_watcher_is_canceled_if_a_revision_exceeds_the_memory_for_responses() {
        const VALUE_BYTES: usize = 1 << 20;
        let mut kv = Kv::default();
        for at in 0..4 {
            put(&mut kv, vec![b'k', at], vec![b'v'; VALUE_BYTES]);
        }
        let mut later = kv.clone();
        let delete = DeleteRange {
            key: "k".into(),
            range_end: "l".into(),
            ..DeleteRange::default()
        };
        apply(&mut later, KvOperation::Delete(delete));
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&kv);
            let ctx = context(states.node.clone());
            // Two more values can be charged to this connection.
            let unread = Resource::Answers.limit() / 2 - VALUE_BYTES;
            let _unread = ctx.account().hold(Resource::Answers, unread);
            let requests = stream::iter([create("l", true), create("m", false)]);
            let requests = requests.chain(stream::pending());
            let mut answers = std::pin::pin!(watch_events(&ctx, requests, false));
            for _ in 0..2 {
                let created = answers.next().await.expect("a response");
                assert!(created.expect("no error").created);
            }
            states.advance(&later);
            let (mut canceled, mut received) = (0, 0);
            for _ in 0..2 {
                let answer = answers.next().await.expect("a response");
                let answer = answer.expect("the stream continues");
                match answer.watch_id {
                    0 => {
                        assert!(answer.cancel_reason.contains("response is too large"));
                        canceled += usize::from(answer.canceled);
                    }
                    _ => received += answer.events.len(),
                }
            }
            assert_eq!((canceled, received), (1, 4));
        });
    }
}
