//! The discovery service. Members of a new cluster register below a token and find each other's addresses there. The service
//! has the paths of etcd's public service: `/new`, `/<token>`, `/<token>/<id>`, `/<token>/_config/size`.
//!
//! The registry is a directory of the v2 tree (`/v2/keys/_etcd/registry`). Except for `/new`, which answers in plain text, and
//! the page for browsers, responses have the format of the v2 API.
//!
//! Reading order: this file (`/new`, sizes) → `registry` (paths below a token) → `page` (the page for browsers).

mod page;
mod registry;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HOST, RETRY_AFTER},
    },
    web,
};
use http::uri::Authority;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use witan_api::discovery::TOKEN_DIGITS;
use witan_dialect::{
    Context,
    blocking::INLINE_BYTES,
    client_connection,
    reply::{self, BodyError},
};
use witan_gocompat::query::Query;
use witan_node::NodeError;
use witan_v2::error::V2Error;

use registry::RegistryLock;

/// Cluster size for a request without a size, as on the public service.
const SIZE_DEFAULT: u64 = 3;
/// Maximum number of members of a new cluster; a token for more members is refused. Raft clusters are not this large, and one
/// listing contains all members.
const SIZE_MAX: u64 = 32;
/// Maximum size in bytes of a registration; a longer registration is refused. The size includes the name, which is the member's
/// id, and the value: `NAME=URL` for each of the member's URLs.
const REGISTRATION_BYTES_MAX: usize = 1024;
/// Period in which the number of new tokens is limited.
const RATE_PERIOD: Duration = Duration::from_secs(60);
/// Maximum number of new tokens in a period.
const TOKENS_PER_PERIOD: usize = 300;

/// The discovery service with its limits, one per process.
#[derive(Debug)]
pub struct DiscoveryService {
    /// One permit for each token that can be created now. A used permit returns after `RATE_PERIOD`.
    rate: Arc<Semaphore>,
    lock: RegistryLock,
}

/// The reason why no token was created.
#[derive(Clone, Debug, thiserror::Error)]
enum NewTokenError {
    #[error("size {0:?} is not a number from 1 to {SIZE_MAX}")]
    Size(String),
    #[error("the form in the request body is incomplete or exceeds {INLINE_BYTES} bytes")]
    Form,
    #[error(
        "the request has no valid host; start the member with --discovery-service-url to set the base URL of its tokens"
    )]
    Host,
    #[error(
        "too many tokens were requested; try again in {} seconds",
        RATE_PERIOD.as_secs()
    )]
    TooOften,
    #[error(
        "the registry has {} tokens, which is the limit; delete unused tokens or wait until they expire",
        registry::TOKENS_MAX
    )]
    RegistryFull,
    #[error("the system does not provide random numbers")]
    Random,
    #[error("unable to generate token: {}", String::from_utf8_lossy(&.0.cause.concat()))]
    Store(V2Error),
}

impl NewTokenError {
    /// Returns the HTTP status of the response to the error.
    fn status(&self) -> StatusCode {
        match self {
            Self::Size(_) | Self::Form | Self::Host => StatusCode::BAD_REQUEST,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::RegistryFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Random => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(error) => StatusCode::from_u16(error.code.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Builds the plain-text response for the error, with `Retry-After` if too many tokens were requested.
    fn answer(&self) -> HttpResponse {
        let mut response = reply::text(self.status(), &self.to_string());
        if matches!(self, Self::TooOften) {
            let seconds = RATE_PERIOD.as_secs().into();
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<V2Error> for NewTokenError {
    fn from(error: V2Error) -> Self {
        Self::Store(error)
    }
}

impl From<NodeError> for NewTokenError {
    fn from(error: NodeError) -> Self {
        Self::Store(error.into())
    }
}

impl Default for DiscoveryService {
    fn default() -> Self {
        Self {
            rate: Arc::new(Semaphore::new(TOKENS_PER_PERIOD)),
            lock: RegistryLock::default(),
        }
    }
}

impl DiscoveryService {
    /// Creates a token and responds with its URL, or with the error, as plain text. Before the response, reads the rest of the
    /// body, so that the connection stays open.
    pub async fn new_token(
        &self,
        ctx: &Context,
        request: &HttpRequest,
        mut payload: web::Payload,
    ) -> HttpResponse {
        let made = self.make_token(ctx, request, &mut payload).await;
        reply::drain(&mut payload).await;
        match made {
            Ok(url) => HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, reply::TEXT))
                .body(url),
            Err(refusal) => refusal.answer(),
        }
    }

    /// Creates a random token with its directory in the v2 tree, and returns the token's URL. The request counts against the
    /// rate limit unless its form, size or host is invalid.
    async fn make_token(
        &self,
        ctx: &Context,
        request: &HttpRequest,
        payload: &mut web::Payload,
    ) -> Result<String, NewTokenError> {
        let size = size(request, payload).await?;
        let base = base_url(ctx, request).ok_or(NewTokenError::Host)?;
        let permit = self.rate.clone().try_acquire_owned();
        let permit = permit.map_err(|_| NewTokenError::TooOften)?;
        actix_web::rt::spawn(async move {
            actix_web::rt::time::sleep(RATE_PERIOD).await;
            drop(permit);
        });
        let mut bits = [0; TOKEN_DIGITS / 2];
        let drawn = SystemRandom::new().fill(&mut bits);
        drawn.map_err(|_| NewTokenError::Random)?;
        let token: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        registry::create(&ctx.node, &self.lock, &token, size).await?;
        tracing::info!(size, "created a discovery token");
        Ok(format!("{base}/{token}"))
    }

    /// Answers a request for a token or a path below it. Reads the rest of the body, like [`Self::new_token`].
    pub async fn registry(
        &self,
        ctx: &Context,
        request: &HttpRequest,
        mut payload: web::Payload,
        path: &[u8],
    ) -> HttpResponse {
        let response = registry::handle(ctx, request, &mut payload, path, &self.lock).await;
        reply::drain(&mut payload).await;
        response
    }
}

/// Returns the new cluster's size from the form, or else from the query, like Go's `FormValue`, or `SIZE_DEFAULT` if neither
/// contains a size. Fails if the size is not from 1 to `SIZE_MAX`, or if the form cannot be read.
async fn size(request: &HttpRequest, payload: &mut web::Payload) -> Result<u64, NewTokenError> {
    let form = if reply::media_type(request) == reply::FORM {
        let read = reply::read(payload, INLINE_BYTES).await;
        read.map_err(|_: BodyError| NewTokenError::Form)?
    } else {
        Vec::new()
    };
    let form = String::from_utf8_lossy(&form);
    let (form, query) = (
        Query::of(&form),
        Query::of(request.uri().query().unwrap_or_default()),
    );
    let Some(text) = form.all("size").chain(query.all("size")).next() else {
        return Ok(SIZE_DEFAULT);
    };
    let size = text
        .parse()
        .ok()
        .filter(|size| (1..=SIZE_MAX).contains(size));
    size.ok_or_else(|| NewTokenError::Size(text.to_owned()))
}

/// Returns the URL to which a token is appended: `--discovery-service-url`, or else the request's scheme and host. Returns
/// `None` if the `Host` header is missing, invalid or contains user info.
fn base_url(ctx: &Context, request: &HttpRequest) -> Option<String> {
    if let Some(url) = &ctx.settings.discovery_service_url {
        return Some(url.clone());
    }
    let host = request.headers().get(HOST)?.as_bytes();
    let host = Authority::try_from(host).ok()?;
    let scheme = if client_connection::is_over_tls(request) {
        "https"
    } else {
        "http"
    };
    // Every member that uses the token would receive the user info.
    (!host.as_str().contains('@')).then(|| format!("{scheme}://{host}"))
}
