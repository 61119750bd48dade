//! The registry of v3 discovery: keys below `/_etcd/registry/TOKEN`, asked over gRPC at one of several endpoints.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tonic::{Code, Status, body::Body, metadata::MetadataValue};
use tower_service::Service;
use witan_api::{
    discovery::{REGISTRY, SIZE},
    v3::etcdserverpb::{
        AuthenticateRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest,
        auth_client::AuthClient, kv_client::KvClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
};
use witan_config::V3Discovery;

use super::{
    DiscoverError, Registration,
    connect::Route,
    registry::{self, Entry, Failure, Look},
    tls::TlsClient,
};

/// A watch without an event is repeated after this time, so that a registry that vanished is noticed.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// A registry with more members is no registry.
const ENTRIES_MAX: i64 = 1024;

/// A token's keys and how they are reached.
pub(super) struct Registry {
    asked: V3Discovery,
    tls: TlsClient,
    /// The endpoint that is asked; the next one after a failure.
    at: usize,
    session: Option<Session>,
}

/// A connection to an endpoint, and the user's token there.
#[derive(Clone)]
struct Session {
    service: Http2,
    origin: Uri,
    token: Option<MetadataValue<tonic::metadata::Ascii>>,
}

/// A connection as tonic's clients take it.
#[derive(Clone)]
struct Http2(SendRequest<Body>);

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Session {
    /// Makes a request with the user's token, if there is one.
    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    fn kv(&self) -> KvClient<Http2> {
        KvClient::with_origin(self.service.clone(), self.origin.clone())
    }
}

/// Converts a gRPC status into a failure: a refusal of the request itself is final, anything else may be
/// retried.
fn failure(status: &Status) -> Failure {
    let said = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => DiscoverError::Endpoint(said).into(),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Failure::Retry(said),
    }
}

impl Registry {
    /// Reads the TLS files that the flags name; the first request connects.
    pub(super) fn new(asked: &V3Discovery) -> Result<Self, DiscoverError> {
        Ok(Self {
            tls: TlsClient::of_flags(asked)?,
            asked: asked.clone(),
            at: 0,
            session: None,
        })
    }

    fn key(&self, below: &str) -> String {
        format!("{REGISTRY}/{}/{below}", self.asked.token)
    }

    /// Returns the open session, or opens one to the next endpoint.
    async fn session(&mut self) -> Result<Session, Failure> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let endpoint = self.asked.endpoints[self.at % self.asked.endpoints.len()].clone();
        let opened = self.open(&endpoint).await;
        match &opened {
            Ok(session) => self.session = Some(session.clone()),
            Err(_) => self.at += 1,
        }
        opened
    }

    /// Connects to an endpoint by HTTP/2, and logs in if the flags name a user.
    async fn open(&self, endpoint: &str) -> Result<Session, Failure> {
        let origin: Uri = endpoint
            .parse()
            .map_err(|_| DiscoverError::Endpoint(endpoint.to_owned()))?;
        let route = Route {
            uri: &origin,
            proxy: None,
            tls: &self.tls,
            patience: self.asked.dial_timeout,
        };
        let io = route.open().await.map_err(Failure::Retry)?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        if !self.asked.keepalive_time.is_zero() {
            builder
                .keep_alive_interval(self.asked.keepalive_time)
                .keep_alive_timeout(self.asked.keepalive_timeout);
        }
        let spoken = timeout(self.asked.dial_timeout, builder.handshake(io)).await;
        let broken = |reason: &dyn std::fmt::Display| {
            Failure::Retry(format!("{endpoint} does not speak HTTP/2: {reason}"))
        };
        let spoken = spoken.map_err(|late| broken(&late))?;
        let (service, connection) = spoken.map_err(|error| broken(&error))?;
        // it ends with the last clone of the session; requests see why
        tokio::spawn(async move { drop(connection.await) });
        let mut session = Session { service: Http2(service), origin, token: None };
        if let Some((name, password)) = &self.asked.user {
            let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let mut client =
                AuthClient::with_origin(session.service.clone(), session.origin.clone());
            let answered = self.in_time(client.authenticate(request)).await?;
            let token = answered.into_inner().token.parse();
            session.token = token.ok();
        }
        Ok(session)
    }

    /// Waits for the answer to a call until the request timeout; a timeout may be retried.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        match timeout(self.asked.request_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(failure(&status)),
            Err(_) => Err(Failure::Retry(format!(
                "no answer in {:?}",
                self.asked.request_timeout
            ))),
        }
    }

    /// Drops the session after a failure that may be retried, so that the next request uses the next
    /// endpoint; returns the outcome.
    fn note<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::Retry(_)) = outcome
            && self.session.take().is_some()
        {
            self.at += 1;
        }
        outcome
    }

    /// Reads the size of the cluster and at most [`ENTRIES_MAX`] registrations. A missing or invalid size is
    /// a final error.
    async fn try_look(&mut self) -> Result<Look, Failure> {
        let session = self.session().await?;
        let mut kv = session.kv();
        let size_key = self.key(SIZE);
        let range = RangeRequest { key: size_key.clone().into(), ..RangeRequest::default() };
        let found = self.in_time(kv.range(session.request(range))).await?;
        let Some(pair) = found.into_inner().kvs.pop() else {
            return Err(DiscoverError::SizeNotFound(size_key).into());
        };
        let text = String::from_utf8_lossy(&pair.value).into_owned();
        let size = text.parse().ok().filter(|size| *size > 0);
        let size = size.ok_or(DiscoverError::BadSize(text))?;
        let (prefix, range_end) = self.members();
        let range = RangeRequest {
            key: prefix.clone().into(),
            range_end: range_end.into(),
            limit: ENTRIES_MAX,
            ..RangeRequest::default()
        };
        let found = self.in_time(kv.range(session.request(range))).await?;
        let found = found.into_inner();
        let entries = found.kvs.into_iter().map(|pair| Entry {
            id: String::from_utf8_lossy(&pair.key[prefix.len()..]).into_owned(),
            value: String::from_utf8_lossy(&pair.value).into_owned(),
            created: pair.create_revision.unsigned_abs(),
        });
        Ok(Look {
            size,
            entries: entries.collect(),
            index: found
                .header
                .map_or(0, |header| header.revision.unsigned_abs()),
        })
    }

    /// Returns the range of keys of all registrations.
    fn members(&self) -> (String, String) {
        // `0` is the character after `/`
        (self.key("members/"), self.key("members0"))
    }

    /// Writes the registration of this member, in place of an earlier one with its id.
    async fn try_register(&mut self, own: &Registration) -> Result<(), Failure> {
        let session = self.session().await?;
        let put = PutRequest {
            key: self.key(&format!("members/{}", own.id)).into(),
            value: own.value.clone().into(),
            ..PutRequest::default()
        };
        let mut kv = session.kv();
        self.in_time(kv.put(session.request(put))).await?;
        Ok(())
    }

    /// Watches the registrations from behind a look. Returns at the first change, when the watch is canceled,
    /// or after [`WAIT_TIMEOUT`].
    async fn try_wait(&mut self, since: &Look) -> Result<(), Failure> {
        let session = self.session().await?;
        let (key, range_end) = self.members();
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: key.into(),
                range_end: range_end.into(),
                start_revision: i64::try_from(since.index).unwrap_or(0).saturating_add(1),
                ..WatchCreateRequest::default()
            })),
        };
        // the stream of requests stays open for as long as the watch
        let requests = futures_util::stream::unfold(Some(create), async |create| match create {
            Some(create) => Some((create, None)),
            None => std::future::pending().await,
        });
        let mut client = WatchClient::with_origin(session.service.clone(), session.origin.clone());
        let events = async {
            let mut answers = client.watch(session.request(requests)).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                // a watch that is canceled, for instance by a compaction, is repeated after a look
                if !answer.events.is_empty() || answer.canceled {
                    return Ok(());
                }
            }
            Err(Status::unavailable("the watch has ended"))
        };
        match timeout(WAIT_TIMEOUT, events).await {
            Ok(ended) => ended.map_err(|status| failure(&status)),
            Err(_) => Ok(()),
        }
    }
}

impl registry::Registry for Registry {
    async fn look(&mut self) -> Result<Look, Failure> {
        let outcome = self.try_look().await;
        self.note(outcome)
    }

    /// Registers this member, as etcd 3.6 does also after a restart: key and value are the same then.
    async fn register(&mut self, own: &Registration) -> Result<(), Failure> {
        let outcome = self.try_register(own).await;
        self.note(outcome)
    }

    async fn wait(&mut self, since: &Look) -> Result<(), Failure> {
        let outcome = self.try_wait(since).await;
        self.note(outcome)
    }
}
