//! A client of etcd's API for discovery and following: HTTP/2 over plain TCP or TLS, with a user's token. Callers build the
//! requests and choose the next endpoint after a failure.
//!
//! Reading order: this file (a session with one endpoint) → `connect` (routes, proxies) → `tls`.

mod connect;
mod tls;

use std::{
    error::Error,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{sync::watch, time::timeout};
use tonic::{Status, body::Body, metadata::MetadataValue};
use tower_service::Service;
use witan_api::v3::etcdserverpb::{
    AuthenticateRequest, WatchCreateRequest, WatchRequest, auth_client::AuthClient,
    watch_request::RequestUnion,
};
use witan_config::ClientSettings;
use witan_transport::PeerStream;

pub use connect::{Route, check_certificate};
pub use tls::{ClientTlsError, TlsClient};

/// Maximum time that a failed request waits to learn why its connection ended.
const REASON_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection in the form that tonic's clients expect.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Body>,
    /// The reason why the connection ended, or `None` while the connection is open or after a clean close.
    ended: watch::Receiver<Option<String>>,
}

impl Http2 {
    /// Starts HTTP/2 over a stream, and a task that drives the connection until the last clone is dropped.
    async fn open(stream: Box<dyn PeerStream>, settings: &ClientSettings) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        if !settings.keepalive_time.is_zero() {
            builder
                .keep_alive_interval(settings.keepalive_time)
                .keep_alive_timeout(settings.keepalive_timeout);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let (end, ended) = watch::channel(None);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                end.send_replace(Some(reason(&error)));
            }
        });
        Ok(Self { sender, ended })
    }
}

/// Returns the message of an error's innermost source.
fn reason(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(context).map_err(Self::Error::from)
    }

    /// Sends a request. On failure, waits up to `REASON_TIMEOUT` for the reason why the connection ended, because the request's
    /// own error only says "canceled".
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answered = self.sender.send_request(request);
        let mut ended = self.ended.clone();
        Box::pin(async move {
            let error = match answered.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let told = timeout(REASON_TIMEOUT, ended.wait_for(Option::is_some)).await;
            match told {
                Ok(Ok(told)) => Err(told.as_deref().unwrap_or_default().into()),
                Ok(Err(_)) | Err(_) => Err(error.into()),
            }
        })
    }
}

/// A connection to an endpoint, with the user's token if there is one.
#[derive(Clone)]
pub struct Session {
    service: Http2,
    origin: Uri,
    token: Option<MetadataValue<tonic::metadata::Ascii>>,
}

impl Session {
    /// Connects to an endpoint, without a proxy, and logs in if `settings` name a user. Fails with `Unavailable` if the
    /// endpoint is unreachable or does not speak HTTP/2, and with `InvalidArgument` if `endpoint` is not a URL. Also fails if
    /// the login fails.
    pub async fn open(
        endpoint: &str,
        settings: &ClientSettings,
        tls: &TlsClient,
    ) -> Result<Self, Status> {
        let no_url = |_| Status::invalid_argument(format!("{endpoint} is not a URL"));
        let origin: Uri = endpoint.parse().map_err(no_url)?;
        let patience = settings.dial_timeout;
        let route = Route { uri: &origin, proxy: None, tls, patience };
        let io = route.open().await.map_err(Status::unavailable)?;
        let spoken = timeout(patience, Http2::open(io, settings)).await;
        let broken = |reason: &dyn std::fmt::Display| {
            Status::unavailable(format!("{endpoint} does not speak HTTP/2: {reason}"))
        };
        let spoken = spoken.map_err(|late| broken(&late))?;
        let service = spoken.map_err(|error| broken(&error))?;
        let mut session = Self { service, origin, token: None };
        if let Some((name, password)) = &settings.user {
            let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let mut client = session.client(AuthClient::with_origin);
            let answered = in_time(settings, client.authenticate(request)).await?;
            let token = answered.into_inner().token.parse();
            let invalid =
                |error| Status::internal(format!("{endpoint} sent an invalid token: {error}"));
            session.token = Some(token.map_err(invalid)?);
        }
        Ok(session)
    }

    /// Creates a tonic client with its constructor `with_origin`. The client does not add the token: see [`Self::request`].
    pub fn client<C>(&self, with_origin: impl FnOnce(Http2, Uri) -> C) -> C {
        with_origin(self.service.clone(), self.origin.clone())
    }

    /// Creates a request with the user's token, if there is one.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

/// Returns a request stream that creates one watch and then stays open.
pub fn single_watch_requests(create: WatchCreateRequest) -> impl Stream<Item = WatchRequest> {
    let request_union = Some(RequestUnion::CreateRequest(create));
    stream::iter([WatchRequest { request_union }]).chain(stream::pending())
}

/// Waits for a call's response up to the request timeout, then fails with `DeadlineExceeded`.
pub async fn in_time<T>(
    settings: &ClientSettings,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let late =
        |_| Status::deadline_exceeded(format!("no response within {:?}", settings.request_timeout));
    timeout(settings.request_timeout, call)
        .await
        .map_err(late)?
}
