//! Routes and authorizes HTTP/1 requests by the table of routes, before their bodies are read.

use actix_web::{HttpRequest, HttpResponse};
use witan_api::{
    access::{HttpRoute, Resource},
    v2::auth::INSUFFICIENT,
};
use witan_config::Settings;

use super::{Context, basic_auth, reply};

/// Returns the route of a decoded and cleaned path. Returns `None` if no route has this path or the settings disable the route.
pub fn route(settings: &Settings, path: &[u8]) -> Option<&'static HttpRoute> {
    let route = HttpRoute::of(path)?;
    let on = match route.resource {
        Resource::V1 => settings.enable_v1,
        Resource::V2(_) | Resource::NewToken | Resource::Token => settings.enable_v2,
        Resource::OpenApi => settings.enable_grpc_gateway,
        Resource::Console => settings.enable_console,
        Resource::Operations
        | Resource::LogLevel
        | Resource::FlightRecorder
        | Resource::Follow
        | Resource::Level => true,
    };
    on.then_some(route)
}

/// Returns `None` if the caller has access to the route, or if the route is v1 or v2 keys, whose handlers check access
/// themselves. Otherwise, returns the response: 401, or 503 if the check fails.
pub async fn denied_response(
    ctx: &Context,
    request: &HttpRequest,
    route: &HttpRoute,
) -> Option<HttpResponse> {
    if !ctx.node.any_auth_enabled() {
        return None;
    }
    let (status, message) = match basic_auth::authorize_route(ctx, request, route).await {
        Ok(true) => return None,
        Ok(false) => (HttpResponse::Unauthorized(), INSUFFICIENT.to_owned()),
        Err(fault) => (HttpResponse::ServiceUnavailable(), fault.to_string()),
    };
    Some(reply::error_message(status, message))
}
