//! The HTTP/1.1 frontend of the client port: dispatches requests to the dialects and answers the requests of administrators and
//! probes. `witan_api::access` lists all paths with the access that they require.
//!
//! Reading order: `http` (routes, CORS, host names) → `ops` (`/version`, `/metrics`, `/debug/vars`) → `health` → `level` →
//! `follow` → `log_level` → `top`, `recorder` (`/debug`).

mod follow;
mod health;
pub mod http;
mod level;
mod log_level;
mod ops;
mod recorder;
mod top;

use std::fmt::Display;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::json;
use witan_dialect::reply;

/// Returns a response with one line of JSON.
fn answer(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut text = serde_json::to_string(body).expect("the keys are strings");
    text.push('\n');
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(text)
}

/// Returns a response with the reason of a refusal.
fn refusal(status: StatusCode, reason: &dyn Display) -> HttpResponse {
    answer(status, &json!({ "message": reason.to_string() }))
}
