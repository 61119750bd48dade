//! Watch: streams of changes, for gRPC and for JSON alike.
//!
//! A [`Session`] is one stream with all its watchers. It is asked for its next answer and does then
//! what is needed for it: takes a request, reads a batch of history, or sleeps. So a client that
//! does not read its stream stops its own session and nobody else, and holds one batch.
//!
//! Reading order: `limits` → `watchers` (who watches what) → `reading` (history to events) →
//! `delivery` (events to answers) → `progress`, `leader`, `permission` → `session` (all of it in turn).

mod delivery;
pub(super) mod leader;
mod limits;
mod permission;
mod progress;
mod reading;
mod session;
mod watchers;

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};
use witan_api::v3::etcdserverpb::{self as pb, watch_server::Watch};

use self::session::Session;
use super::services::Service;
use crate::api::Context;

/// The answers of one stream.
type Answers = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

/// The answers to a stream of requests.
pub(super) fn answers<R>(
    ctx: &Context,
    requests: R,
    needs_leader: bool,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + use<R>
where
    R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
{
    let session = Box::new(Session::new(ctx, requests, needs_leader));
    stream::unfold(session, |mut session| async move {
        let answer = session.next().await?;
        Some((answer, session))
    })
}

#[tonic::async_trait]
impl Watch for Service {
    type WatchStream = Answers;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let needs_leader = Self::wants_leader(request.metadata().as_ref());
        let (ctx, requests) = self.enter(request)?;
        let answers = answers(&ctx, requests, needs_leader);
        Ok(Response::new(Box::pin(answers)))
    }
}
