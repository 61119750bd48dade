//! Watch: streams of changes, for gRPC and for JSON alike.
//!
//! A [`Session`] is one stream with all its watchers. It is asked for its next answer and does then
//! what is needed for it: takes a request, reads a batch of history, or sleeps. So a client that
//! does not read its stream stops its own session and nobody else, and holds one batch.
//!
//! Reading order: `limits` → `watchers` (who watches what) → `reading` (history to events) →
//! `delivery` (events to answers) → `progress`, `leader` → `session` (all of it in turn).

mod delivery;
mod leader;
mod limits;
mod progress;
mod reading;
mod session;
mod watchers;

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};
use witan_api::v3::etcdserverpb::{self as pb, watch_server::Watch};

pub(super) use session::Session;

use super::services::Service;

/// The answers of one stream.
type Answers = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Watch for Service {
    type WatchStream = Answers;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let needs_leader = Self::wants_leader(request.metadata().as_ref());
        let requests = self.admit(request)?;
        let session = Box::new(Session::new(self.ctx(), requests, needs_leader));
        let answers = stream::unfold(session, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
