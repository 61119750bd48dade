//! Dispatches gRPC calls with the table of calls (`witan_api::access`). The gateway calls the same functions.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message;
use tonic::{Status, Streaming, service::Routes};
use witan_api::v3::{etcdserverpb, shape::Shaped, v3electionpb, v3lockpb};
use witan_auth::Credentials;
use witan_dialect::Context;
use witan_dialect::jobs::WithPermit;
use witan_machine::member::MemberId;
use witan_transport::{ClientCertificate, Head, Incoming, Outgoing, RequestBody};

use super::{
    RpcResult, auth, authorize, cluster,
    concurrency::{election, lock},
    kv, lease, maintenance,
    messages::{self, MessageResponse, UnaryResponse},
    range_stream, snapshot, watch,
};
use crate::error::RpcError;

#[derive(Clone, Debug)]
pub(super) struct RpcService {
    pub(super) ctx: Context,
    /// The services that libraries implement: health and reflection.
    pub(super) routes: Routes,
}

impl RpcService {
    /// Returns the call's context. It has credentials only for locks and elections, or while v2 or v3 authentication is
    /// enabled. Fails if this member does not serve the call, a required leader is missing, or access is denied.
    pub(super) async fn admit(&self, head: &Head) -> RpcResult<Cow<'_, Context>> {
        authorize::refuse_learner(&self.ctx, head.path())?;
        if head.method().requires_leader && self.ctx.node.status().leader == MemberId::NONE {
            return Err(RpcError::NoLeader);
        }
        // Authentication can be enabled while a caller waits for a lock or an election.
        let waits = authorize::is_lock_or_election(head.path());
        if !waits && !self.ctx.node.any_auth_enabled() {
            return Ok(Cow::Borrowed(&self.ctx));
        }
        let ctx = self.with_credentials(head);
        // The box keeps this future small.
        Box::pin(authorize::check_access(&ctx, head.path())).await?;
        Ok(Cow::Owned(ctx))
    }

    /// Like [`Self::admit`], but the context has the call's credentials even while authentication is disabled. Authentication
    /// can be enabled before a stream ends.
    async fn admit_stream(&self, head: &Head) -> RpcResult<Context> {
        Ok(match self.admit(head).await? {
            Cow::Borrowed(_) => self.with_credentials(head),
            Cow::Owned(ctx) => ctx,
        })
    }

    /// Returns the context with the call's token and, with `--client-cert-auth`, the common name of the client's certificate.
    fn with_credentials(&self, head: &Head) -> Context {
        let shown = head.parts().extensions.get::<ClientCertificate>();
        let certificate = shown.filter(|_| self.ctx.settings.client_cert_auth);
        let name = certificate.map(|shown| shown.common_name().to_owned());
        let credentials = Credentials::of_call(head.headers(), name);
        self.ctx.of(credentials)
    }

    /// Answers one request with one response. Answers with an error if the call is not admitted, the request is invalid, or
    /// `verb` fails.
    async fn unary<Q, A>(
        &self,
        head: &Head,
        message: &Bytes,
        verb: impl AsyncFnOnce(&Context, Q) -> RpcResult<WithPermit<UnaryResponse<A>>>,
    ) -> Outgoing
    where
        Q: Shaped + Message + Default + 'static,
        A: MessageResponse,
    {
        let response = async {
            let ctx = self.admit(head).await?;
            messages::respond(&ctx, message, verb).await
        };
        response.await.unwrap_or_else(refused)
    }

    /// Answers one request with a stream. Answers with an error if the call is not admitted, the request is invalid, or `verb`
    /// fails. `verb` receives the context, the request, and whether the client requires a leader.
    async fn server_stream<Q, A, S, E>(
        &self,
        head: &Head,
        body: RequestBody,
        verb: impl AsyncFnOnce(&Context, Q, bool) -> Result<S, E>,
    ) -> Outgoing
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        Status: From<E>,
    {
        let responses = async {
            let ctx = self.admit_stream(head).await?;
            let request = messages::read_first(body).await?;
            Ok::<_, Status>(verb(&ctx, request, head.method().requires_leader).await?)
        };
        match responses.await {
            Ok(responses) => begin(responses).await,
            Err(refusal) => refused(refusal),
        }
    }

    /// Answers a stream of requests with a stream. Answers with an error if the call is not admitted. `verb` receives the
    /// context, the requests, and whether the client requires a leader.
    async fn bidi_stream<Q, A, S>(
        &self,
        head: &Head,
        body: RequestBody,
        verb: impl FnOnce(&Context, Streaming<Q>, bool) -> S,
    ) -> Outgoing
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
    {
        match self.admit_stream(head).await {
            Ok(ctx) => {
                let requests = messages::read_stream(body);
                begin(verb(&ctx, requests, head.method().requires_leader)).await
            }
            Err(refusal) => refused(refusal),
        }
    }
}

/// Waits for the first response of a stream and returns the stream. If the stream fails first, returns only the status. grpc-go
/// does the same, and some clients expect the status of a refused stream in its headers.
fn begin<A, S>(responses: S) -> impl Future<Output = Outgoing>
where
    A: Message + Default + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
{
    // Box the stream outside the future, because the futures of all calls have the size of the largest future.
    let mut responses = Box::pin(responses);
    async move {
        match responses.next().await {
            Some(Err(status)) => refused(status),
            first @ (Some(Ok(_)) | None) => messages::stream(stream::iter(first).chain(responses)),
        }
    }
}

/// Builds the response to a call that fails before it sends a message.
pub(super) fn refused(refusal: impl Into<Status>) -> Outgoing {
    Outgoing::Response(refusal.into().into_http())
}

/// Implements `MessageResponse` for responses with few pairs.
macro_rules! response_is_short {
    (hot $response:path) => {
        impl MessageResponse for $response {}
    };
    (unary $response:path) => {
        impl MessageResponse for $response {}
    };
    ($other:ident $response:path) => {};
}

/// Runs the call of a table row.
macro_rules! run_call {
    (bidi_stream $service:ident $head:ident $body:ident $request:path, $verb:path) => {{
        let verb = |ctx: &Context, request: Streaming<$request>, needs_leader| {
            $verb(ctx, request, needs_leader)
        };
        Box::pin($service.bidi_stream(&$head, $body, verb)).await
    }};
    (server_stream $service:ident $head:ident $body:ident $request:path, $verb:path) => {
        Box::pin($service.server_stream(&$head, $body, $verb)).await
    };
    // The response to a range can be read while it is sent.
    (large $service:ident $head:ident $body:ident etcdserverpb::RangeRequest, $verb:path) => {
        $service.unary(&$head, &whole($body), kv::grpc_range).await
    };
    (large $service:ident $head:ident $body:ident $request:path, $verb:path) => {{
        let verb = async |ctx: &Context, request| {
            let answered = $verb(ctx, request).await;
            answered.map(|answer| answer.map(UnaryResponse::Whole))
        };
        $service.unary(&$head, &whole($body), verb).await
    }};
    (hot $service:ident $head:ident $body:ident $request:path, $verb:path) => {{
        let verb = async |ctx: &Context, request| $verb(ctx, request).await.map(without_permit);
        $service.unary(&$head, &whole($body), verb).await
    }};
    // The box keeps the futures of the most frequent calls small.
    ($unary:ident $service:ident $head:ident $body:ident $request:path, $verb:path) => {{
        let verb = async |ctx: &Context, request| $verb(ctx, request).await.map(without_permit);
        Box::pin($service.unary(&$head, &whole($body), verb)).await
    }};
}

macro_rules! serve {
    ($($package:ident $clients:ident::$client:ident {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($request:ident) -> $response:ident, $access:ident, $paths:tt;
        )+}
    )+})+) => {
        $($($(response_is_short!($group $package::$response);)+)+)+

        impl RpcService {
            /// Answers a call. Returns the call as the error if the table lacks its method.
            pub(super) async fn call(&self, request: Incoming) -> Result<Outgoing, Incoming> {
                let Incoming { head, body } = request;
                Ok(match head.path() {
                    $($($($method => {
                        run_call!($group self head body $package::$request, $module::$verb)
                    })+)+)+
                    _ => return Err(Incoming { head, body }),
                })
            }
        }
    };
}

fn without_permit<M>(message: M) -> WithPermit<UnaryResponse<M>> {
    WithPermit::without(UnaryResponse::Whole(message))
}

/// Returns the collected body of a unary call; empty for a stream.
fn whole(body: RequestBody) -> Bytes {
    match body {
        RequestBody::Whole(message) => message,
        RequestBody::Stream(_) => Bytes::new(),
    }
}

witan_api::calls!(serve);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_fails_first_has_only_a_status() {
        let status_of = async |response: Result<etcdserverpb::LeaseKeepAliveResponse, Status>| {
            let Outgoing::Response(response) = begin(stream::iter([response])).await else {
                panic!("a stream is a response");
            };
            response.headers().get("grpc-status").cloned()
        };
        let refused = status_of(Err(RpcError::InvalidAuthToken.into())).await;
        assert_eq!(refused.unwrap(), "16");
        assert_eq!(status_of(Ok(Default::default())).await, None);
    }
}
