//! Health checks with etcd 3.7's messages: /health, /livez and /readyz, which also have a path for each check.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
};
use serde_json::json;
use witan_dialect::{Context, reply};
use witan_gocompat::query::Query;
use witan_logging::LogLimit;
use witan_machine::{
    alarm::{Alarm, AlarmType},
    member::MemberId,
};
use witan_node::{NodeError, Shortage};

// Any client can trigger these log lines, so they are limited.
static UNHEALTHY: LogLimit = LogLimit::new();
static FAILED_PROBES: LogLimit = LogLimit::new();

/// Name of the NOSPACE alarm in the reasons of `/health` and in `?exclude=`.
const NO_SPACE: &str = "NOSPACE";

/// Returns whether [`handle`] answers this path.
pub(super) fn serves(path: &str) -> bool {
    path == "/health" || Probe::of(path).is_some()
}

/// Answers a GET of a path that [`serves`] accepts.
pub(super) async fn handle(ctx: &Context, request: &HttpRequest, path: &str) -> HttpResponse {
    let query = Query::of(request.query_string());
    match Probe::of(path) {
        Some(probe) => probe.answer(ctx, &query).await,
        None => health(ctx, &query).await,
    }
}

/// Answers `/health`: 200, or 503 with the reason if an alarm is raised, there is no leader or a read fails.
/// `?serializable=true` reads from this member alone; `?exclude=ALARM` ignores an alarm.
async fn health(ctx: &Context, query: &Query) -> HttpResponse {
    if let Some(alarm) = alarm(ctx, query).await {
        // etcd has no memory budget, so etcd's reason alone would be misleading.
        let lacks_memory = alarm == NO_SPACE && ctx.node.shortage() == Some(Shortage::Memory);
        let cause = if lacks_memory { " (memory)" } else { "" };
        return unhealthy(ctx, &format!("ALARM {alarm}{cause}"));
    }
    let asked = query.all("serializable").next();
    let reason = if asked == Some("true") {
        ctx.node.fresh_view().await.map(drop)
    } else if ctx.node.status().leader == MemberId::NONE {
        Err(NodeError::NoLeader)
    } else {
        ctx.node.read_index().await.map(drop)
    };
    match reason {
        Ok(()) => {
            ctx.health_metrics.success.inc();
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, reply::TEXT))
                .body(health_body(true, ""))
        }
        Err(NodeError::NoLeader) => unhealthy(ctx, "RAFT NO LEADER"),
        Err(fault) => unhealthy(ctx, &format!("RANGE ERROR:{}", fault.of_etcd())),
    }
}

/// Answers 503 with the reason. Counts the failure and logs it, unless too many failures were logged recently.
fn unhealthy(ctx: &Context, reason: &str) -> HttpResponse {
    ctx.health_metrics.failures.inc();
    if let Some(left_out) = UNHEALTHY.admit() {
        tracing::warn!(left_out, reason, "serving /health false");
    }
    reply::text(StatusCode::SERVICE_UNAVAILABLE, &health_body(false, reason))
}

fn health_body(healthy: bool, reason: &str) -> String {
    json!({ "health": healthy.to_string(), "reason": reason }).to_string()
}

/// Returns the name of the first raised alarm that is not in `?exclude=`. Returns `None` if there is no such alarm or the state
/// cannot be read.
async fn alarm(ctx: &Context, query: &Query) -> Option<&'static str> {
    let view = ctx.node.view().await.ok()?;
    let excluded = |alarm: &Alarm| query.all("exclude").any(|name| name == alarm_name(*alarm));
    let mut alarms = ctx.node.alarms(&view, None);
    alarms.find(|alarm| !excluded(alarm)).map(alarm_name)
}

/// Returns an alarm's name in reasons and in `?exclude=`: `NOSPACE`, `CORRUPT` or, for any other type, `UNKNOWN`.
fn alarm_name(alarm: Alarm) -> &'static str {
    if alarm.is(AlarmType::NoSpace) {
        NO_SPACE
    } else if alarm.is(AlarmType::Corrupt) {
        "CORRUPT"
    } else {
        "UNKNOWN"
    }
}

/// A requested probe with the checks to run.
#[derive(Debug)]
struct Probe {
    name: &'static str,
    checks: &'static [Check],
    /// Whether the path names the probe itself. The path of a single check runs that check even if the query excludes it.
    aggregate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

use Check::{DataCorruption, LinearizableRead, NonLearner, SerializableRead};

const LIVEZ: &[Check] = &[SerializableRead];
const READYZ: &[Check] = &[
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
];

impl Check {
    fn name(self) -> &'static str {
        match self {
            DataCorruption => "data_corruption",
            SerializableRead => "serializable_read",
            LinearizableRead => "linearizable_read",
            NonLearner => "non_learner",
        }
    }

    /// Runs the check. An error is the reason for the report.
    async fn run(self, ctx: &Context) -> Result<(), String> {
        let node = &ctx.node;
        let done = match self {
            SerializableRead => node.fresh_view().await.map(drop),
            LinearizableRead => node.read_index().await.map(drop),
            DataCorruption => match node.view().await {
                Ok(view) if view.machine.alarms.any(AlarmType::Corrupt) => {
                    return Err("alarm activated: CORRUPT".to_owned());
                }
                other => other.map(drop),
            },
            NonLearner => match node.view().await {
                Ok(view) if node.is_learner(&view) => {
                    return Err("not supported for learner".to_owned());
                }
                other => other.map(drop),
            },
        };
        done.map_err(NodeError::of_etcd)
    }
}

impl Probe {
    /// Parses `/livez`, `/readyz` or the path of one of their checks (`/readyz/CHECK`). Returns `None` for any other path.
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (name, check) = match path.split_once('/') {
            Some((name, check)) => (name, Some(check)),
            None => (path, None),
        };
        let (name, checks) = match name {
            "livez" => ("livez", LIVEZ),
            "readyz" => ("readyz", READYZ),
            _ => return None,
        };
        let Some(one) = check else {
            return Some(Self { name, checks, aggregate: true });
        };
        let at = checks.iter().position(|check| check.name() == one)?;
        Some(Self { name, checks: &checks[at..=at], aggregate: false })
    }

    /// Runs the checks and answers 200, or 503 with a report if a check fails. `?exclude=CHECK` skips a check of an aggregate
    /// probe. With `?verbose`, the response has a report even if all checks pass. Counts each check, and logs some of the
    /// failures.
    async fn answer(self, ctx: &Context, query: &Query) -> HttpResponse {
        let (mut report, mut failed) = (String::new(), false);
        for check in self.checks {
            let name = check.name();
            if self.aggregate && query.all("exclude").any(|excluded| excluded == name) {
                continue;
            }
            let result = check.run(ctx).await;
            ctx.health_metrics
                .record_check(self.name, name, result.is_ok());
            report += &match result {
                Ok(()) => format!("[+]{name} ok\n"),
                Err(reason) => {
                    failed = true;
                    format!("[-]{name} failed: {reason}\n")
                }
            };
        }
        if failed {
            if let Some(left_out) = FAILED_PROBES.admit() {
                tracing::error!(left_out, probe = self.name, report, "Health check error");
            }
            return reply::text(StatusCode::SERVICE_UNAVAILABLE, &report);
        }
        if query.all("verbose").next().is_none() {
            report.clear();
        }
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, reply::TEXT))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .body(report + "ok\n")
    }
}
