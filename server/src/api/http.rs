//! The HTTP frontend. Every client request that is not gRPC passes through [`HttpFrontend::answer`]. It decodes and cleans the
//! path, applies host and origin rules, and dispatches to a dialect with one route table.
//!
//! Actix's router is not used, because it would decode paths differently and lose `%2F` and `//`.

use std::path::PathBuf;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
        },
    },
    web,
};

use witan_api::access::{HttpRoute, Resource};
use witan_config::Settings;
use witan_console as console;
use witan_dialect::{Context, access, client_connection, reply};
use witan_discovery::DiscoveryService;
use witan_follow::FollowHandle;
use witan_gocompat::path::{self, Plus};
use witan_peer::FeatureLevels;
use witan_transport::{ServerTls, Surface};
use witan_v1 as v1;
use witan_v2 as v2;
use witan_v3::{
    self as v3,
    gateway::{openapi, websocket},
};

use super::{follow, level, log_level, ops, recorder};

/// Maximum length of a request target in bytes; a longer target is refused with 414. etcd drops such connections at 4 KiB.
const TARGET_BYTES_MAX: usize = 32 << 10;

/// The frontend of all dialects. A process has only one, because it contains the discovery service's limit.
#[derive(Debug)]
pub struct HttpFrontend {
    pub(crate) ctx: Context,
    /// The TLS of each port that uses TLS.
    pub(crate) tls: Vec<ServerTls>,
    pub(crate) discovery: DiscoveryService,
    pub(crate) follow: Option<FollowHandle>,
    pub(crate) levels: FeatureLevels,
    /// The flight recorder's directory, if this member records.
    pub(crate) recordings: Option<PathBuf>,
}

/// The handler for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// v3 as JSON.
    V3,
    /// A row of the route table.
    Resource(&'static HttpRoute),
    NotFound,
}

impl HttpFrontend {
    /// Answers a request that arrived at a listener of the kind `surface`. Except on a metrics listener, adds CORS headers to
    /// the response, unless the request's target or host is refused.
    pub async fn answer(
        &self,
        surface: Surface,
        request: HttpRequest,
        payload: web::Payload,
    ) -> HttpResponse {
        // As in etcd, CORS is not checked on the metrics URLs.
        let browsers = surface != Surface::Metrics;
        match check_request(self, &request, browsers) {
            Ok(path) => {
                let of_connection = |account| self.ctx.of_connection(account);
                let own = reply::account(&request).map(of_connection);
                let ctx = own.as_ref().unwrap_or(&self.ctx);
                let mut response = serve(self, ctx, surface, &request, payload, &path).await;
                if browsers {
                    add_origin(&request, &self.ctx.settings, &mut response);
                }
                response
            }
            Err(refusal) => {
                let mut payload = reply::payload_of(&request, payload).await;
                reply::drain(&mut payload).await;
                *refusal
            }
        }
    }
}

/// Checks the length and the escapes of the target. If `browsers` is true and the request came without TLS, also checks the
/// host name. Returns the decoded and cleaned path, or the response that refuses the request.
fn check_request(
    front: &HttpFrontend,
    request: &HttpRequest,
    browsers: bool,
) -> Result<Vec<u8>, Box<HttpResponse>> {
    let target = request.uri();
    let target_bytes = target.path().len() + target.query().map_or(0, str::len);
    if target_bytes > TARGET_BYTES_MAX {
        let refusal = reply::text(StatusCode::URI_TOO_LONG, "request target too long");
        return Err(refusal.into());
    }
    let Ok(path) = path::unescape(target.path().as_bytes(), Plus::IsPlus) else {
        return Err(HttpResponse::BadRequest()
            .insert_header((CONTENT_TYPE, reply::TEXT))
            .force_close()
            .body("400 Bad Request")
            .into());
    };
    if browsers && !client_connection::is_over_tls(request) {
        check_host(request, &front.ctx.settings)?;
    }
    Ok(path::clean(&path))
}

/// Passes a request with a checked target and host to the gateway of v3 or, after authorization, to the handler of its
/// resource. Answers OPTIONS itself, except on a metrics listener. Checks the origin of WebSockets and of requests with side
/// effects.
async fn serve(
    front: &HttpFrontend,
    ctx: &Context,
    surface: Surface,
    request: &HttpRequest,
    payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let route = limit_to_surface(surface, route(&ctx.settings, path), path);
    let websocket = route == Route::V3 && websocket::is_requested(request);
    let mut payload = match websocket {
        true => payload,
        false => reply::payload_of(request, payload).await,
    };
    if *request.method() == Method::OPTIONS && surface != Surface::Metrics {
        reply::drain(&mut payload).await;
        return HttpResponse::Ok().finish();
    }
    let acts = websocket || !request.method().is_safe() || has_side_effect(route);
    if acts && let Err(refusal) = check_origin(request, &ctx.settings, route) {
        if !websocket {
            reply::drain(&mut payload).await;
        }
        return *refusal;
    }
    let route = match route {
        Route::V3 if websocket => {
            return websocket::begin(ctx, request, payload, path);
        }
        Route::V3 => return v3::gateway::handle(ctx, request, payload, path).await,
        Route::Resource(route) => route,
        Route::NotFound => {
            reply::drain(&mut payload).await;
            return reply::not_found();
        }
    };
    // Authorize before the body is read, so that unauthorized requests cost little.
    if let Some(refusal) = access::denied_response(ctx, request, route).await {
        reply::drain(&mut payload).await;
        return refusal;
    }
    serve_resource(front, ctx, route.resource, request, payload, path).await
}

/// Passes an authorized request to the handler of its resource. Drains the body for handlers that do not read all of it.
async fn serve_resource(
    front: &HttpFrontend,
    ctx: &Context,
    resource: Resource,
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    match resource {
        Resource::V1 => v1::handle(ctx, request, payload, path).await,
        Resource::Operations => ops::handle(ctx, &front.tls, request, payload, path).await,
        Resource::LogLevel => {
            let response = log_level::handle(ctx, request, &mut payload).await;
            reply::drain(&mut payload).await;
            response
        }
        Resource::Follow => {
            reply::drain(&mut payload).await;
            follow::handle(ctx, front.follow.as_ref(), request, path).await
        }
        Resource::Level => {
            reply::drain(&mut payload).await;
            level::handle(ctx, &front.levels, request, path).await
        }
        Resource::FlightRecorder => {
            reply::drain(&mut payload).await;
            recorder::handle(ctx, front.recordings.clone(), request).await
        }
        Resource::OpenApi => {
            reply::drain(&mut payload).await;
            match reply::allows(request, "GET,HEAD") {
                true => openapi::answer(),
                false => reply::method_not_allowed(Some("GET")),
            }
        }
        Resource::Console => {
            reply::drain(&mut payload).await;
            console::handle(request, path)
        }
        Resource::NewToken => front.discovery.new_token(ctx, request, payload).await,
        Resource::Token => front.discovery.registry(ctx, request, payload, path).await,
        Resource::V2(resource) => v2::handle(ctx, resource, request, payload, path).await,
    }
}

/// Returns the handler of a cleaned path, or `NotFound`.
fn route(settings: &Settings, path: &[u8]) -> Route {
    const V3: [&[u8]; 3] = [b"/v3/", b"/v3beta/", b"/v3alpha/"];
    if V3.iter().any(|prefix| path.starts_with(prefix)) {
        return Route::V3;
    }
    access::route(settings, path).map_or(Route::NotFound, Route::Resource)
}

/// Restricts a route to its listener's surface: only metrics and health on a metrics listener, nothing on a gRPC listener.
fn limit_to_surface(surface: Surface, route: Route, path: &[u8]) -> Route {
    match surface {
        Surface::All | Surface::Http => route,
        Surface::Metrics if ops::serves_on_metrics(path) => route,
        Surface::Metrics | Surface::Grpc => Route::NotFound,
    }
}

/// Refuses, with 421, a host name that is not in `--host-whitelist`. Protects browsers against DNS rebinding (CVE-2018-5702),
/// which uses an attacker's host name.
fn check_host(request: &HttpRequest, settings: &Settings) -> Result<(), Box<HttpResponse>> {
    let accepted = &settings.host_whitelist;
    let given = request
        .headers()
        .get(HOST)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let given = String::from_utf8_lossy(given);
    let name = host_name(&given);
    if accepted.iter().any(|host| host == "*" || host == name) {
        return Ok(());
    }
    let message = format!(
        "This member does not serve the host name {name:?}.\n\
         Start the member with --host-whitelist {name:?} if that is its name, or connect over TLS."
    );
    Err(reply::text(StatusCode::MISDIRECTED_REQUEST, &message).into())
}

/// Returns whether a request on this route has a side effect even if its method is safe. Such a request creates a discovery
/// token or starts to count requests.
fn has_side_effect(route: Route) -> bool {
    match route {
        Route::Resource(row) => row.resource == Resource::NewToken || row.path == "/debug/top",
        Route::V3 | Route::NotFound => false,
    }
}

/// Refuses WebSockets and requests with side effects from pages of another origin, unless `--cors` names the origin. Browsers
/// open WebSockets and send POST requests with form or text bodies without a preflight request. Even `--cors` does not let
/// another origin control following or raise the feature level. Clients that are not browsers send no origin.
fn check_origin(
    request: &HttpRequest,
    settings: &Settings,
    route: Route,
) -> Result<(), Box<HttpResponse>> {
    let is_same_origin_only = match route {
        Route::Resource(row) => matches!(row.resource, Resource::Follow | Resource::Level),
        Route::V3 | Route::NotFound => false,
    };
    let Some(origin) = origin(request) else {
        return Ok(());
    };
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let is_own = is_origin_of(origin.as_bytes(), host.unwrap_or_default());
    if is_own || (!is_same_origin_only && allows_origin(settings, &origin)) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(origin.as_bytes());
    let remedy = match is_same_origin_only {
        true => "Send the request without an origin, for example with curl.".to_owned(),
        false => format!("Start it with --cors {shown:?} to allow these pages."),
    };
    let message =
        format!("This member accepts no writes or WebSockets from pages of {shown:?}.\n{remedy}");
    Err(reply::text(StatusCode::FORBIDDEN, &message).into())
}

/// Returns the `Origin` header of a request. Without the header, returns `null` if the browser reveals that the page has
/// another origin, for example when it loads an image, and otherwise `None`.
fn origin(request: &HttpRequest) -> Option<HeaderValue> {
    let headers = request.headers();
    let is_foreign = || {
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let foreign = matches!(site, Some(b"cross-site" | b"same-site"));
        foreign.then(|| HeaderValue::from_static("null"))
    };
    headers.get(ORIGIN).cloned().or_else(is_foreign)
}

/// Returns whether `--cors` names this origin or all origins.
fn allows_origin(settings: &Settings, origin: &HeaderValue) -> bool {
    let mut allowed = settings.cors.iter();
    allowed.any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
}

/// Returns whether pages of this origin come from `host` itself.
fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    let after_scheme = [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(*scheme));
    after_scheme.is_some_and(|name| name.eq_ignore_ascii_case(host))
}

/// Returns the name in a `Host` header without its port, and without brackets if an IPv6 address has a port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if name.starts_with('[') && name.ends_with(']') => &name[1..name.len() - 1],
        Some((name, _)) if !name.contains(':') => name,
        Some(_) | None => host,
    }
}

/// Adds the CORS headers to a response if `--cors` names the request's origin or all origins.
fn add_origin(request: &HttpRequest, settings: &Settings, response: &mut HttpResponse) {
    let allows_all = settings.cors.iter().any(|origin| origin == "*");
    let given = request.headers().get(ORIGIN);
    let origin = match given.filter(|origin| allows_origin(settings, origin)) {
        _ if allows_all => HeaderValue::from_static("*"),
        Some(allowed) => allowed.clone(),
        None => return,
    };
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
}

#[cfg(test)]
mod tests {
    use witan_api::access::V2Resource;
    use witan_config::Config;

    use super::*;

    #[test]
    fn paths_go_to_their_dialect() {
        // Recorded answers of etcd and the tests of each dialect cover the paths of v2, discovery and operators.
        let table: &[(&str, Option<Resource>)] = &[
            ("/v2/keys/a/b", Some(Resource::V2(V2Resource::Keys))),
            ("/v2/stats", None),
            ("/v1/keys/foo", Some(Resource::V1)),
            ("/v1/keysfoo", None),
            ("/v1", None),
            ("/version/", None),
            ("/v3x/kv/put", None),
            ("/new/", None),
            ("/e77afb997af5a84983baa98fd42cf12f/a", Some(Resource::Token)),
            ("/e77afb997af5a84983baa98fd42cf12", None),
        ];
        let settings = Config::default().settings;
        for (path, expect) in table {
            let found = match route(&settings, path.as_bytes()) {
                Route::Resource(route) => Some(route.resource),
                Route::NotFound => None,
                Route::V3 => panic!("{path} belongs to v3"),
            };
            assert_eq!(found, *expect, "{path}");
        }
        for path in ["/v3/kv/put", "/v3beta/kv/put", "/v3alpha/x"] {
            assert_eq!(route(&settings, path.as_bytes()), Route::V3, "{path}");
        }
    }

    #[test]
    fn an_origin_matches_only_its_own_host() {
        let table = [
            ("http://a:1", "a:1", true),
            ("https://A:1", "a:1", true),
            ("http://a:1", "a:2", false),
            ("http://a:1", "a", false),
            ("http://b.a:1", "a:1", false),
            ("file://a:1", "a:1", false),
            ("null", "null", false),
        ];
        for (origin, host, expect) in table {
            let is = is_origin_of(origin.as_bytes(), host.as_bytes());
            assert_eq!(is, expect, "{origin} of {host}");
        }
    }

    #[test]
    fn host_names_lose_their_port() {
        let table = [
            ("a:1", "a"),
            ("a", "a"),
            ("[::1]:2379", "::1"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
        ];
        for (host, expect) in table {
            assert_eq!(host_name(host), expect, "{host}");
        }
    }
}
