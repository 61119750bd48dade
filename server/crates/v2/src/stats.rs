//! `/v2/stats/{self,leader,store}`.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::Value;
use witan_api::v2::stats::{NOT_LEADER, StoreStats};
use witan_dialect::{Context, reply};
use witan_gocompat::{json, text};
use witan_machine::member::MemberId;
use witan_node::{FollowerCounts, Node, Role};
use witan_tree::WriteCounts;

/// The minimum latency before the first measurement, as in etcd.
const NO_LATENCY_MS: f64 = 9_223_372_036_854_775_808.0;

/// Answers `/v2/stats/self` with this member's role, leader and append traffic: numbers of messages, and recent rates of
/// messages and bytes per second.
pub(super) fn of_self(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let node = &ctx.node;
    let identity = node.identity();
    let [sent, received] = node.append_traffic();
    let mut stats = serde_json::json!({
        "name": identity.name,
        "id": identity.member_id.to_string(),
        "state": format!("State{:?}", node.status().role),
        "startTime": text::time(identity.started_ns),
        "leaderInfo": leader_info(node),
    });
    for (direction, traffic) in [("recv", received), ("send", sent)] {
        stats[format!("{direction}AppendRequestCnt")] = traffic.messages.into();
        let rates = [
            ("Pkg", traffic.message_rate),
            ("Bandwidth", traffic.byte_rate),
        ];
        // Like etcd, omit rates of 0.
        for (what, rate) in rates.into_iter().filter(|(_, rate)| *rate != 0.0) {
            stats[format!("{direction}{what}Rate")] = rate.into();
        }
    }
    answer(request, StatusCode::OK, &stats)
}

/// Returns the leader's ID, the time at which this member learned of the leader, and the time since then. Without a leader,
/// returns an empty ID and Go's zero time.
fn leader_info(node: &Node) -> Value {
    let (leader, uptime_ns, since) = match (node.status().leader, node.leader_since_ns()) {
        (MemberId::NONE, _) | (_, 0) => (String::new(), 0, "0001-01-01T00:00:00Z".to_owned()),
        (leader, since_ns) => {
            let uptime_ns = witan_node::now_ns().saturating_sub(since_ns);
            (leader.to_string(), uptime_ns, text::time(since_ns))
        }
    };
    serde_json::json!({
        "leader": leader,
        "uptime": text::duration(uptime_ns),
        "startTime": since,
    })
}

/// Answers `/v2/stats/leader` with the leader's counts for each follower. If this member is not the leader, answers with 403.
pub(super) fn of_leader(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let id = ctx.node.identity().member_id;
    if ctx.node.status().role != Role::Leader {
        let refusal = serde_json::json!({ "message": NOT_LEADER });
        return answer(request, StatusCode::FORBIDDEN, &refusal);
    }
    let followers = ctx.node.followers();
    let followers = followers.iter();
    // As in etcd, the IDs are sorted as text.
    let followers: BTreeMap<String, Value> = followers
        .map(|(id, counts)| (id.to_string(), follower(counts)))
        .collect();
    let stats = serde_json::json!({ "leader": id.to_string(), "followers": followers });
    answer(request, StatusCode::OK, &stats)
}

/// Converts the counts and the round-trip times, in milliseconds, of a follower's append messages to JSON. Before the first
/// measurement, the minimum is `NO_LATENCY_MS`.
fn follower(counts: &FollowerCounts) -> Value {
    let trips = &counts.trips;
    let minimum = match trips.count {
        0 => NO_LATENCY_MS,
        _ => trips.least,
    };
    serde_json::json!({
        "latency": {
            "current": trips.last,
            "average": trips.mean(),
            "standardDeviation": trips.deviation(),
            "minimum": minimum,
            "maximum": trips.most,
        },
        "counts": { "fail": counts.failed, "success": counts.sent },
    })
}

/// Answers `/v2/stats/store` with the counts of v2 operations and watchers. If no state is available, answers with 500.
pub(super) async fn of_store(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let node = &ctx.node;
    let counts = match node.view().await {
        Ok(view) => view.machine.tree.counts(),
        Err(fault) => {
            let message = serde_json::json!({ "message": fault.to_string() });
            return answer(request, StatusCode::INTERNAL_SERVER_ERROR, &message);
        }
    };
    let stats = store(&counts, ctx.v2_metrics.lookups(), node.watchers() as u64);
    answer(request, StatusCode::OK, &stats)
}

/// Combines the counts of writes, of reads that found a node, of reads that failed, and of watchers.
fn store(counts: &WriteCounts, [found, failed]: [u64; 2], watchers: u64) -> StoreStats {
    StoreStats {
        gets_success: found,
        gets_fail: failed,
        sets_success: counts.sets_success,
        sets_fail: counts.sets_fail,
        delete_success: counts.delete_success,
        delete_fail: counts.delete_fail,
        update_success: counts.update_success,
        update_fail: counts.update_fail,
        create_success: counts.create_success,
        create_fail: counts.create_fail,
        compare_and_swap_success: counts.compare_and_swap_success,
        compare_and_swap_fail: counts.compare_and_swap_fail,
        compare_and_delete_success: counts.compare_and_delete_success,
        compare_and_delete_fail: counts.compare_and_delete_fail,
        expire_count: counts.expire_count,
        watchers,
    }
}

fn answer(request: &HttpRequest, status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(reply::framed(request, json::encode(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_rendered_as_in_etcd() {
        let counts = WriteCounts {
            sets_success: 1172,
            sets_fail: 9,
            delete_success: 19,
            delete_fail: 6,
            update_success: 18,
            update_fail: 2,
            create_success: 14,
            create_fail: 7,
            compare_and_swap_success: 9,
            compare_and_swap_fail: 9,
            compare_and_delete_success: 7,
            compare_and_delete_fail: 1,
            expire_count: 8,
        };
        let expect = r#"{"getsSuccess":2,"getsFail":1,"setsSuccess":1172,"setsFail":9,"deleteSuccess":19,"deleteFail":6,"updateSuccess":18,"updateFail":2,"createSuccess":14,"createFail":7,"compareAndSwapSuccess":9,"compareAndSwapFail":9,"compareAndDeleteSuccess":7,"compareAndDeleteFail":1,"expireCount":8,"watchers":3}"#;
        assert_eq!(
            String::from_utf8(json::encode(&store(&counts, [2, 1], 3))).unwrap(),
            expect
        );
    }
}
