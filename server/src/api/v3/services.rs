//! The gRPC services, made from the table of calls (`witan_api::access`): each method hands its message
//! to a verb.

use std::{net::SocketAddr, pin::Pin};

use bytes::Bytes;
use futures_util::Stream;
use tonic::{
    Request, Response, Status, Streaming, service::RoutesBuilder, transport::server::TcpConnectInfo,
};
use witan_api::v3::{error::RpcError, etcdserverpb, v3electionpb, v3lockpb};

use super::{
    RpcResult, auth, authorize, backup, cluster,
    concurrency::{election, lock},
    kv, lease, maintenance, range_stream, snapshot, unary, watch,
};
use crate::{
    api::Context,
    auth::Credentials,
    budget::SMALL_BYTES,
    client_network::ClientNetwork,
    transport::{Head, Outgoing, PeerCertificate},
};

/// With this metadata a client asks to be refused while no leader is known.
const REQUIRE_LEADER: &str = "hasleader";

/// Implements every service of the dialect.
#[derive(Clone, Debug)]
pub(super) struct RpcService {
    ctx: Context,
}

/// The answers of a method that has many.
type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl RpcService {
    pub(super) fn new(ctx: Context) -> Self {
        Self { ctx }
    }

    /// Returns the context and the message of a call; `NoLeader` if the call requires a leader and none
    /// is known.
    fn enter<T>(&self, request: Request<T>) -> RpcResult<(Context, T)> {
        let certificate = request.extensions().get();
        let ends = (certificate, request.remote_addr());
        let ctx = self.ctx_of(request.metadata().as_ref(), ends);
        Ok((ctx, self.admit(request)?))
    }

    /// Returns the context of a call: the network of its address and, while any authentication is on,
    /// its credentials.
    fn ctx_of(
        &self,
        headers: &http::HeaderMap,
        (shown, address): (Option<&PeerCertificate>, Option<SocketAddr>),
    ) -> Context {
        let client = ClientNetwork::of_peer(address);
        if self.ctx.node.any_auth_enabled() {
            let certificate = shown.filter(|_| self.ctx.settings.client_cert_auth);
            let name = certificate.map(|shown| shown.common_name().to_owned());
            self.ctx.of(Credentials::of_call(headers, name), client)
        } else {
            self.ctx.of_client(client)
        }
    }

    /// Checks by its head alone that a call may begin.
    pub(super) async fn authorize(&self, head: &Head) -> RpcResult<()> {
        if !self.ctx.node.any_auth_enabled() {
            return authorize::refuse_learner(&self.ctx, head.path());
        }
        let ctx = self.ctx_of(head.headers(), (head.parts().extensions.get(), None));
        authorize::call(&ctx, head.path()).await
    }

    /// Returns the message of a call; `NoLeader` if the call requires a leader and none is known.
    fn admit<T>(&self, request: Request<T>) -> RpcResult<T> {
        self.check_leader(request.metadata().as_ref())?;
        Ok(request.into_inner())
    }

    /// Whether the metadata of a call require a leader: the call is to be refused while none is known.
    fn wants_leader(headers: &http::HeaderMap) -> bool {
        headers
            .get(REQUIRE_LEADER)
            .is_some_and(|value| value == "true")
    }

    /// Answers a call of one message without tonic's layers: refuses it on a learner, without a
    /// required leader or without credentials, else runs `verb` on the decoded message.
    async fn unary<Q, A>(
        &self,
        head: &Head,
        message: Bytes,
        verb: impl AsyncFnOnce(&Context, Q) -> RpcResult<A>,
    ) -> Outgoing
    where
        Q: prost::Message + Default + 'static,
        A: unary::UnaryResponse,
    {
        let served = authorize::refuse_learner(&self.ctx, head.path());
        match served.and_then(|()| self.check_leader(head.headers())) {
            Ok(()) if self.ctx.node.auth_enabled() || message.len() > SMALL_BYTES => {
                let extensions = &head.parts().extensions;
                let tcp = extensions.get::<TcpConnectInfo>();
                let address = tcp.and_then(TcpConnectInfo::remote_addr);
                let ctx = self.ctx_of(head.headers(), (extensions.get(), address));
                ctx.authenticator.await_token(&ctx.node, &ctx.caller).await;
                if let Err(refusal) = authorize::require_credentials(&ctx) {
                    return Outgoing::Response(Status::from(refusal).into_http());
                }
                // a separate future, so that the one below stays small
                let answer =
                    unary::respond(&ctx, message, async |message| verb(&ctx, message).await);
                Box::pin(answer).await
            }
            Ok(()) => {
                let verb = async |message| verb(&self.ctx, message).await;
                unary::respond(&self.ctx, message, verb).await
            }
            Err(refusal) => Outgoing::Response(Status::from(refusal).into_http()),
        }
    }

    /// Refuses (`NoLeader`) a call whose metadata requires a leader while none is known.
    fn check_leader(&self, headers: &http::HeaderMap) -> RpcResult<()> {
        if Self::wants_leader(headers) && self.ctx.node.status().leader == 0 {
            Err(RpcError::NoLeader)
        } else {
            Ok(())
        }
    }
}

/// Returns the network of the client that sends a call.
fn client_of(head: &Head) -> ClientNetwork {
    let ends = head.parts().extensions.get::<TcpConnectInfo>();
    ClientNetwork::of_peer(ends.and_then(TcpConnectInfo::remote_addr))
}

/// The future of tonic's traits.
type Called<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// One method of a service: it hands its message to its verb.
macro_rules! method {
    (server_stream $package:ident $module:ident::$verb:ident($request:ident) -> $response:ident as $stream:ident) => {
        type $stream = ResponseStream<$package::$response>;

        fn $verb<'a, 'f>(
            &'a self,
            request: Request<$package::$request>,
        ) -> Called<'f, Self::$stream>
        where
            'a: 'f,
            Self: 'f,
        {
            Box::pin(async move {
                let needs_leader = Self::wants_leader(request.metadata().as_ref());
                let (ctx, request) = self.enter(request)?;
                let answers = $module::$verb(&ctx, request, needs_leader).await?;
                Ok(Response::new(Box::pin(answers) as Self::$stream))
            })
        }
    };
    (bidi_stream $package:ident $module:ident::$verb:ident($request:ident) -> $response:ident as $stream:ident) => {
        type $stream = ResponseStream<$package::$response>;

        fn $verb<'a, 'f>(
            &'a self,
            request: Request<Streaming<$package::$request>>,
        ) -> Called<'f, Self::$stream>
        where
            'a: 'f,
            Self: 'f,
        {
            Box::pin(async move {
                let needs_leader = Self::wants_leader(request.metadata().as_ref());
                let (ctx, requests) = self.enter(request)?;
                let answers = $module::$verb(&ctx, requests, needs_leader);
                Ok(Response::new(Box::pin(answers) as Self::$stream))
            })
        }
    };
    ($group:ident $package:ident $module:ident::$verb:ident($request:ident) -> $response:ident) => {
        fn $verb<'a, 'f>(
            &'a self,
            request: Request<$package::$request>,
        ) -> Called<'f, $package::$response>
        where
            'a: 'f,
            Self: 'f,
        {
            Box::pin(async move {
                let (ctx, request) = self.enter(request)?;
                Ok(Response::new(call_verb!($group ctx request $module::$verb)))
            })
        }
    };
}

/// Calls the verb of a unary row.
macro_rules! call_verb {
    (placed $ctx:ident $request:ident $verb:path) => {
        $verb(&$ctx, $ctx.node.client(), $request).await?.answer
    };
    ($group:ident $ctx:ident $request:ident $verb:path) => {
        $verb(&$ctx, $request).await?
    };
}

/// Whether a row's call carries the load.
macro_rules! is_hot {
    (hot) => {
        true
    };
    (placed) => {
        true
    };
    ($other:ident) => {
        false
    };
}

/// Answers a row's call without tonic's layers if it carries the load.
macro_rules! answer_hot {
    (hot $service:ident $head:ident $message:ident $verb:path) => {
        return Some($service.unary($head, $message, $verb).await)
    };
    (placed $service:ident $head:ident $message:ident $verb:path) => {
        let client = client_of($head);
        let verb = async |ctx: &Context, asked| $verb(ctx, client, asked).await;
        return Some($service.unary($head, $message, verb).await)
    };
    ($other:ident $service:ident $head:ident $message:ident $verb:path) => {};
}

macro_rules! serve {
    ($($package:ident::$server:ident::{$service:ident, $made:ident} {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($request:ident) -> $response:ident
            $(as $stream:ident)?, $access:ident, $paths:tt;
        )+}
    )+})+) => {
        $(impl $package::$server::$service for RpcService {
            $($(method! {
                $group $package $module::$verb($request) -> $response $(as $stream)?
            })+)+
        })+

        /// Adds all services of the table. The transport enforces the limit on message size.
        pub(super) fn add(service: &RpcService, routes: &mut RoutesBuilder) {
            $(
                let made = $package::$server::$made::new(service.clone());
                routes.add_service(made.max_decoding_message_size(usize::MAX));
            )+
        }

        /// Whether a method is in a group of the table of calls that carries the load (`hot`,
        /// `placed`).
        pub(super) fn is_hot(path: &str) -> bool {
            $($($((is_hot!($group) && path == $method) ||)+)+)+ false
        }

        impl RpcService {
            /// Answers a call that carries the load (see `is_hot`) without tonic's layers; `None` for
            /// any other call.
            pub(super) async fn call_unary(&self, head: &Head, message: Bytes) -> Option<Outgoing> {
                let service = self;
                $($($(if is_hot!($group) && head.path() == $method {
                    answer_hot!($group service head message $module::$verb);
                })+)+)+
                None
            }
        }
    };
}

witan_api::calls!(serve);
