//! Cluster information of v1: leader, client URLs, members as files, statistics.

use actix_web::{HttpRequest, HttpResponse, http::header::LOCATION};
use serde_json::Value;
use witan_api::v1::{MACHINE_RECORDS, error::ErrorCode};
use witan_dialect::Context;
use witan_gocompat::{json, text};
use witan_machine::{member::Member, view::View};
use witan_node::{Node, Role};
use witan_tree::WriteCounts;

use super::{error::V1Error, render, request::V1Stats, text};

/// Returns the leader's first peer URL, or the error `LeaderElection` if this member knows no leader. The result is empty if
/// the leader has no URL.
pub(super) async fn leader(node: &Node) -> Result<Vec<u8>, V1Error> {
    let view = node.view().await?;
    let url = leader_of(node, &view)?.peer_urls.first();
    Ok(url.cloned().unwrap_or_default().into())
}

/// Returns the client URLs of all members in this member's state, sorted and separated by `, `.
pub(super) async fn machines(node: &Node) -> Result<Vec<u8>, V1Error> {
    let view = node.view().await?;
    Ok(view.machine.members.client_urls().join(", ").into())
}

/// Renders the record of the member `name` in this member's state as a file. If `name` is `None`, renders the records of all
/// members, sorted by name, as a directory. Leaves out members without a name. Fails with `KeyNotFound` if no member has this
/// name.
pub(super) async fn records(node: &Node, name: Option<&[u8]>) -> Result<Vec<u8>, V1Error> {
    let view = node.view().await?;
    let index = view.machine.tree.index();
    let members = view.machine.members.by_id.values();
    // A member that has not started has no name.
    let mut members: Vec<&Member> = members.filter(|member| !member.name.is_empty()).collect();
    members.sort_by_key(|member| &member.name);
    let mut out = Vec::new();
    if let Some(name) = name {
        let key = [MACHINE_RECORDS.as_bytes(), b"/", name].concat();
        let Some(member) = members.iter().find(|member| member.name.as_bytes() == name) else {
            return Err(V1Error::new(ErrorCode::KeyNotFound, key));
        };
        render::push_record(&mut out, &key, record(member).as_bytes(), index);
        return Ok(out);
    }
    out.push(b'[');
    for member in members {
        if out.len() > 1 {
            out.push(b',');
        }
        let key = format!("{MACHINE_RECORDS}/{}", member.name);
        render::push_record(&mut out, key.as_bytes(), record(member).as_bytes(), index);
    }
    out.push(b']');
    Ok(out)
}

/// Returns the value of a member's record, `raft=PEER_URL&etcd=CLIENT_URL`, with the first URL of each kind.
fn record(member: &Member) -> String {
    let first = |urls: &[String]| urls.first().cloned().unwrap_or_default();
    let (peer, client) = (first(&member.peer_urls), first(&member.client_urls));
    format!("raft={peer}&etcd={client}")
}

/// Answers a request for statistics. Leader statistics contain only the leader's name. Other members redirect a request for
/// leader statistics to the leader (307), or fail with `LeaderElection` if the leader or its client URL is unknown.
pub(super) async fn stats(
    ctx: &Context,
    request: &HttpRequest,
    stats: V1Stats,
) -> Result<HttpResponse, V1Error> {
    let node = &ctx.node;
    let view = node.view().await?;
    match stats {
        V1Stats::Member => Ok(text(request, json::encode(&of_self(node, &view)))),
        V1Stats::Store => {
            let stats = of_store(&view.machine.tree.counts(), ctx.v2_metrics.lookups());
            Ok(text(request, json::encode(&stats)))
        }
        V1Stats::Leader => {
            let leader = leader_of(node, &view)?;
            if leader.member_id() == node.identity().member_id {
                let stats = serde_json::json!({ "leader": leader.name, "followers": {} });
                return Ok(text(request, json::encode(&stats)));
            }
            let url = leader.client_urls.first().ok_or_else(no_leader)?;
            let location = format!("{url}{}", request.uri());
            Ok(HttpResponse::TemporaryRedirect()
                .insert_header((LOCATION, location))
                .finish())
        }
    }
}

/// Returns the leader, or the error `LeaderElection` if this member knows no leader.
fn leader_of<'a>(node: &Node, view: &'a View) -> Result<&'a Member, V1Error> {
    let leader = view.machine.members.by_id.get(&node.status().leader);
    leader.ok_or_else(no_leader)
}

/// Returns the error of a member that knows no leader, or no URL of the leader.
fn no_leader() -> V1Error {
    V1Error::new(ErrorCode::LeaderElection, "")
}

/// Returns this member's role, its start time, the leader's name (empty if unknown), and the time for which the member has
/// known this leader. The counts of append messages are always 0.
fn of_self(node: &Node, view: &View) -> Value {
    let state = match node.status().role {
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    let leader = view.machine.members.by_id.get(&node.status().leader);
    let since_ns = node.leader_since_ns();
    let uptime_ns = match leader {
        Some(_) if since_ns != 0 => witan_node::now_ns().saturating_sub(since_ns),
        Some(_) | None => 0,
    };
    let leader = leader.map_or("", |leader| leader.name.as_str());
    serde_json::json!({
        "state": state,
        "startTime": text::time(node.identity().started_ns),
        "leaderInfo": { "leader": leader, "uptime": text::duration(uptime_ns) },
        "recvAppendRequestCnt": 0,
        "sendAppendRequestCnt": 0,
    })
}

/// Converts v2's counters to v1's. v1 counts successes and failures together, and creations and updates as sets.
fn of_store(counts: &WriteCounts, [found, failed]: [u64; 2]) -> Value {
    let sets = counts.sets_success + counts.sets_fail;
    let creations = counts.create_success + counts.create_fail;
    let updates = counts.update_success + counts.update_fail;
    serde_json::json!({
        "gets": found + failed,
        "sets": sets + creations + updates,
        "deletes": counts.delete_success + counts.delete_fail,
        "testAndSets": counts.compare_and_swap_success + counts.compare_and_swap_fail,
    })
}
