//! What operators and their tools ask: /version, /health, /livez, /readyz, /metrics, /debug/vars.

use std::fmt::Write as _;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    web,
};
use serde_json::json;
use witan_replica::{
    machine::{
        alarm::{Alarm, Kind},
        view::View,
    },
    replica::Role,
};

use super::{Context, reply};
use crate::{
    metrics::{self, Facts},
    node::Fault,
    version,
};

const NOT_DECIDED: &str = "not_decided";
const NO_LEADER: &str = "RAFT NO LEADER";

/// Whether a cleaned path is one of those that [`handle`] answers.
pub(crate) fn serves(path: &[u8]) -> bool {
    matches!(path, b"/version" | b"/debug/vars") || serves_on_metrics(path)
}

/// Whether it is answered on the URLs for metrics too.
pub(crate) fn serves_on_metrics(path: &[u8]) -> bool {
    matches!(path, b"/health" | b"/metrics")
        || std::str::from_utf8(path).is_ok_and(|path| Probe::of(path).is_some())
}

/// Answers one of the paths above; `None` for any other path.
pub(crate) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> Option<HttpResponse> {
    if !serves(path) {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?;
    reply::drain(&mut payload).await;
    // Prometheus' own handler, which etcd uses, does not look at the method
    if path != "/metrics" && !reply::allows(request, "GET") {
        return Some(reply::method_not_allowed(Some("GET")));
    }
    let query = request.query_string();
    Some(match (path, Probe::of(path)) {
        (_, Some(probe)) => probe.answer(ctx, query).await,
        ("/version", None) => version(ctx).await,
        ("/health", None) => health(ctx, query).await,
        ("/metrics", None) => metrics(ctx).await,
        _ => vars(ctx, request),
    })
}

async fn version(ctx: &Context) -> HttpResponse {
    let decided = ctx
        .node
        .view()
        .await
        .ok()
        .map(|view| cluster_version(&view));
    let cluster = decided
        .filter(|v| !v.is_empty())
        .unwrap_or_else(|| NOT_DECIDED.into());
    let (server, storage) = (version::API, version::STORAGE);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(format!(
            r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
        ))
}

fn cluster_version(view: &View) -> String {
    view.machine.members.cluster_version.clone()
}

/// `?serializable=true` asks this member alone; `?exclude=ALARM` overlooks an alarm.
async fn health(ctx: &Context, query: &str) -> HttpResponse {
    if let Some(alarm) = alarm(ctx, query).await {
        return unhealthy(ctx, &format!("ALARM {alarm}"));
    }
    let reason = match parameter(query, "serializable") {
        Some("true") => ctx.node.view().await.map(drop),
        Some(_) | None if ctx.node.status().leader == 0 => Err(Fault::NoLeader),
        Some(_) | None => ctx.node.read().await.map(drop),
    };
    match reason {
        Ok(()) => {
            ctx.metrics.health_success.inc();
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, reply::TEXT))
                .body(health_body(true, ""))
        }
        Err(Fault::NoLeader) => unhealthy(ctx, NO_LEADER),
        Err(fault) => unhealthy(ctx, &format!("RANGE ERROR:{}", etcds_words(fault))),
    }
}

fn unhealthy(ctx: &Context, reason: &str) -> HttpResponse {
    ctx.metrics.health_failures.inc();
    tracing::warn!(reason, "serving /health false");
    reply::text(StatusCode::SERVICE_UNAVAILABLE, &health_body(false, reason))
}

fn health_body(healthy: bool, reason: &str) -> String {
    json!({ "health": healthy.to_string(), "reason": reason }).to_string()
}

/// The first raised alarm that the query does not exclude.
async fn alarm(ctx: &Context, query: &str) -> Option<&'static str> {
    let view = ctx.node.view().await.ok()?;
    let excluded = |name: &str| {
        query
            .split('&')
            .any(|pair| pair.strip_prefix("exclude=") == Some(name))
    };
    let mut names = view.machine.alarms.list(None).map(health_name);
    names.find(|name| !excluded(name))
}

fn health_name(alarm: Alarm) -> &'static str {
    if alarm.is(Kind::NoSpace) {
        "NOSPACE"
    } else if alarm.is(Kind::Corrupt) {
        "CORRUPT"
    } else {
        "UNKNOWN"
    }
}

fn etcds_words(fault: Fault) -> &'static str {
    match fault {
        Fault::NoLeader => "etcdserver: no leader",
        Fault::Timeout => "etcdserver: request timed out",
        Fault::TooMany => "etcdserver: too many requests",
        Fault::TooLarge => "etcdserver: request is too large",
        Fault::Stopped => "etcdserver: server stopped",
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

/// One of the two probes, or one of their checks.
struct Probe {
    name: &'static str,
    checks: Vec<Check>,
}

/// What a probe looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, ctx: &Context) -> Result<(), String> {
        let words = |fault| etcds_words(fault).to_owned();
        match self {
            Self::DataCorruption => {
                let view = ctx.node.view().await.map_err(words)?;
                if view.machine.alarms.any(Kind::Corrupt) {
                    Err("alarm activated: CORRUPT".into())
                } else {
                    Ok(())
                }
            }
            Self::SerializableRead => ctx.node.view().await.map(drop).map_err(words),
            Self::LinearizableRead => ctx.node.read().await.map(drop).map_err(words),
            Self::NonLearner => {
                let view = ctx.node.view().await.map_err(words)?;
                if is_learner(ctx, &view) {
                    Err("not supported for learner".into())
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl Probe {
    fn of(path: &str) -> Option<Self> {
        use Check::{DataCorruption, LinearizableRead, NonLearner, SerializableRead};
        let (name, all): (_, &[Check]) = if path.starts_with("/livez") {
            ("livez", &[SerializableRead])
        } else if path.starts_with("/readyz") {
            (
                "readyz",
                &[
                    LinearizableRead,
                    NonLearner,
                    DataCorruption,
                    SerializableRead,
                ],
            )
        } else {
            return None;
        };
        let checks = match path[1 + name.len()..].strip_prefix('/') {
            None if path.len() == 1 + name.len() => all.to_vec(),
            None => return None,
            Some(one) => vec![*all.iter().find(|check| check.name() == one)?],
        };
        Some(Self { name, checks })
    }

    async fn answer(self, ctx: &Context, query: &str) -> HttpResponse {
        let excluded: Vec<&str> = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("exclude="))
            .collect();
        let (mut report, mut failed) = (String::new(), false);
        for check in self.checks {
            let name = check.name();
            let line = if excluded.contains(&name) {
                format!("[+]{name} excluded: ok\n")
            } else {
                match check.run(ctx).await {
                    Ok(()) => format!("[+]{name} ok\n"),
                    Err(reason) => {
                        failed = true;
                        format!("[-]{name} failed: {reason}\n")
                    }
                }
            };
            report.push_str(&line);
        }
        if failed {
            let message = format!("{report}{} check failed", self.name);
            return reply::text(StatusCode::SERVICE_UNAVAILABLE, &message);
        }
        let verbose = query
            .split('&')
            .any(|pair| pair == "verbose" || pair.starts_with("verbose="));
        let body = if verbose {
            format!("{report}ok\n")
        } else {
            "ok\n".to_owned()
        };
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, reply::TEXT))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .body(body)
    }
}

fn is_learner(ctx: &Context, view: &View) -> bool {
    let own = view
        .machine
        .members
        .book
        .get(&ctx.node.identity().member_id);
    own.is_some_and(|member| member.learner)
}

async fn metrics(ctx: &Context) -> HttpResponse {
    let status = ctx.node.status();
    let mut facts = Facts {
        member_id: ctx.node.identity().member_id,
        has_leader: status.leader != 0,
        is_leader: status.role == Role::Leader,
        committed: status.committed,
        applied: status.applied,
        server_version: version::API,
        quota_bytes: ctx.settings.quota_bytes,
        ..Facts::default()
    };
    // while stopping there is no view, and the counters are still worth seeing
    if let Ok(view) = ctx.node.view().await {
        let kv = &view.machine.kv;
        facts = Facts {
            is_learner: is_learner(ctx, &view),
            cluster_version: cluster_version(&view),
            revision: kv.revision(),
            compacted: kv.compacted(),
            keys: kv.len(),
            size_bytes: kv.size_bytes(),
            size_in_use_bytes: kv.size_in_use_bytes(),
            alarms: view.machine.alarms.list(None).collect(),
            ..facts
        };
    }
    ctx.metrics
        .tree_watchers
        .set(i64::try_from(ctx.node.watchers()).unwrap_or(i64::MAX));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(ctx.metrics.render(&facts))
}

/// Go's expvar page: one variable a line, in alphabetic order.
fn vars(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let command: Vec<String> = std::env::args().collect();
    let (_, descriptors) = metrics::file_descriptors();
    let resident = metrics::resident_bytes();
    let status = ctx.node.status();
    let id = |id: u64| format!("{id:x}");
    let raft = json!({
        "id": id(status.id),
        "term": status.term,
        "commit": status.committed,
        "lead": id(status.leader),
        "raftState": format!("State{:?}", status.role),
        "applied": status.applied,
    });
    let mut body = String::from("{\n");
    let mut put = |name: &str, value: serde_json::Value, end: &str| {
        writeln!(body, "\"{name}\": {value}{end}").expect("writing to a String cannot fail");
    };
    put("cmdline", json!(command), ",");
    put("file_descriptor_limit", json!(descriptors), ",");
    // there is no Go heap; what the process holds is the one number that means the same
    put("memstats", json!({ "Sys": resident }), ",");
    put("raft.status", raft, "");
    body.push_str("}\n");
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json; charset=utf-8"))
        .body(reply::streamed(request, body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_their_checks_have_paths() {
        let checks = |path| Probe::of(path).map(|probe| probe.checks.len());
        assert_eq!(checks("/livez"), Some(1));
        assert_eq!(checks("/readyz"), Some(4));
        assert_eq!(checks("/readyz/linearizable_read"), Some(1));
        for unknown in [
            "/livezz",
            "/livez/",
            "/livez/linearizable_read",
            "/readyz/x",
            "/ready",
        ] {
            assert_eq!(checks(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn parameters() {
        assert_eq!(
            parameter("a=1&serializable=true", "serializable"),
            Some("true")
        );
        assert_eq!(parameter("serializable", "serializable"), None);
    }
}
