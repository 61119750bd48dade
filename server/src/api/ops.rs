//! Endpoints for administrators: /version, /metrics and /debug/vars. Passes /debug/top and health checks to their handlers.

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, web};
use serde_json::json;
use witan_api::{peer::NOT_DECIDED, top::PATH as TOP};
use witan_base::{metrics, version};
use witan_dialect::{Context, reply};
use witan_machine::{levels, member::MemberRegistry};
use witan_transport::ServerTls;

use super::{health, top};

const HIDDEN: &str = "***";

/// Returns whether a cleaned path is also served on the metrics URLs.
pub(crate) fn serves_on_metrics(path: &[u8]) -> bool {
    path == b"/metrics" || std::str::from_utf8(path).is_ok_and(health::serves)
}

/// Answers an authorized request for a path of this module; any other path gets 404. Any method except GET gets 405, unless the
/// path is `/metrics`. `tls` contains the certificates that the metrics describe.
pub(crate) async fn handle(
    ctx: &Context,
    tls: &[ServerTls],
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let path = std::str::from_utf8(path).unwrap_or_default();
    if !matches!(path, "/version" | "/metrics" | "/debug/vars" | TOP) && !health::serves(path) {
        return reply::not_found();
    }
    reply::drain(&mut payload).await;
    // As in etcd, /metrics accepts any method.
    if path != "/metrics" && !reply::allows(request, "GET") {
        return reply::method_not_allowed(Some("GET"));
    }
    match path {
        "/version" => version(ctx).await,
        "/metrics" => metrics(ctx, tls).await,
        "/debug/vars" => vars(ctx, request),
        TOP => top::handle(ctx, request).await,
        _ => health::handle(ctx, request, path).await,
    }
}

/// Answers `/version`. While no cluster version is decided or the state cannot be read, reports `NOT_DECIDED` and the first
/// level.
async fn version(ctx: &Context) -> HttpResponse {
    let view = ctx.node.view().await.ok();
    let members = view.as_ref().map(|view| &view.machine.members);
    let decided = members.map(|members| members.cluster_version.as_str());
    let cluster = decided.filter(|version| !version.is_empty());
    let level = members.map_or(levels::FIRST, MemberRegistry::level);
    let page = version::page(cluster.unwrap_or(NOT_DECIDED), levels::OWN, level);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(page)
}

/// Updates the metrics that depend on the state or on TLS files, and returns the page.
async fn metrics(ctx: &Context, tls: &[ServerTls]) -> HttpResponse {
    ctx.node.show_metrics().await;
    tls.iter().for_each(ServerTls::refresh);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(ctx.metrics_page.render())
}

/// Answers `/debug/vars` like Go's expvar: one variable per line, in alphabetical order. Hides passwords in the command line.
fn vars(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let (_, descriptors) = metrics::file_descriptors();
    let resident = metrics::resident_bytes();
    let status = ctx.node.status();
    let raft = json!({
        "id": status.id.to_string(),
        "term": status.term,
        "commit": status.committed,
        "lead": status.leader.to_string(),
        "raftState": format!("State{:?}", status.role),
        "applied": status.applied,
    });
    let mut body = String::from("{\n");
    let mut put = |name: &str, value: serde_json::Value, end: &str| {
        writeln!(body, "\"{name}\": {value}{end}").expect("writing to a String cannot fail");
    };
    put("cmdline", json!(without_passwords(std::env::args())), ",");
    put("file_descriptor_limit", json!(descriptors), ",");
    // Resident memory replaces the size of Go's heap.
    put("memstats", json!({ "Sys": resident }), ",");
    put("raft.status", raft, "");
    body.push_str("}\n");
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json; charset=utf-8"))
        .body(reply::streamed(request, body.into()))
}

/// Returns a command line with [`HIDDEN`] in place of each value of a flag for a password.
fn without_passwords(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let is_password = |flag: &str| flag.starts_with('-') && flag.ends_with("-password");
    let mut hides_next = false;
    let shown = arguments.map(|argument| {
        if std::mem::take(&mut hides_next) {
            return HIDDEN.to_owned();
        }
        match argument.split_once('=') {
            Some((flag, _)) if is_password(flag) => return format!("{flag}={HIDDEN}"),
            Some(_) => {}
            None => hides_next = is_password(&argument),
        }
        argument
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_shows_no_passwords() {
        let given = "witan follow --from-user root --from-password one=1 -discovery-password=two=2 \
                     --name=three-password --from-password";
        let shown = "witan follow --from-user root --from-password *** -discovery-password=*** \
                     --name=three-password --from-password";
        let words = given.split(' ').map(str::to_owned);
        assert_eq!(without_passwords(words).join(" "), shown);
    }
}
