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
/// `needs_leader`, losing the leader for too long is an error.
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

/// Yields between the response that reports a created watch and the next response about a watch, such as its first events.
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

/// Opens a watch stream for a caller in this process. Returns the decoded responses to `requests`. With `needs_leader`, some
/// time without a leader ends the stream.
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

    use super::{answer::EncodedEvent, *};

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
}
