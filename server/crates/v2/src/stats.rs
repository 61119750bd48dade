//! `/v2/stats/{self,leader,store}`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;
use witan_api::v2::{
    members::ErrorMessage,
    stats::{
        CountsStats, FollowerStats, LatencyStats, LeaderInfo, LeaderStats, NOT_LEADER, SelfStats,
        StoreStats,
    },
};
use witan_dialect::{Context, reply};
use witan_gocompat::{json, text};
use witan_machine::member::MemberId;
use witan_node::{FollowerCounts, Node, Role};
use witan_tree::WriteCounts;

/// The minimum latency before the first measurement, as in etcd.
const NO_LATENCY_MS: f64 = 9_223_372_036_854_775_808.0;

/// Answers `/v2/stats/self` with this member's role, leader and append traffic.
pub(super) fn of_self(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let node = &ctx.node;
    let identity = node.identity();
    let [sent, received] = node.append_traffic();
    let stats = SelfStats {
        name: identity.name.clone(),
        id: identity.member_id.to_string(),
        state: format!("State{:?}", node.status().role),
        start_time: text::time(identity.started_ns),
        leader_info: leader_info(node),
        recv_append_request_cnt: received.messages,
        recv_pkg_rate: received.message_rate,
        recv_bandwidth_rate: received.byte_rate,
        send_append_request_cnt: sent.messages,
        send_pkg_rate: sent.message_rate,
        send_bandwidth_rate: sent.byte_rate,
    };
    answer(request, StatusCode::OK, &stats)
}

/// Returns the leader's ID, and when and how long ago this member learned of the leader. Without a leader, returns an empty ID
/// and Go's zero time.
fn leader_info(node: &Node) -> LeaderInfo {
    match (node.status().leader, node.leader_since_ns()) {
        (MemberId::NONE, _) | (_, 0) => LeaderInfo {
            leader: String::new(),
            uptime: text::duration(0),
            start_time: "0001-01-01T00:00:00Z".into(), // Go's zero time
        },
        (leader, since_ns) => LeaderInfo {
            leader: leader.to_string(),
            uptime: text::duration(witan_node::now_ns().saturating_sub(since_ns)),
            start_time: text::time(since_ns),
        },
    }
}

/// Answers `/v2/stats/leader` with the leader's counts for each follower. If this member is not the leader, answers with 403.
pub(super) fn of_leader(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let id = ctx.node.identity().member_id;
    if ctx.node.status().role != Role::Leader {
        let refusal = ErrorMessage { message: NOT_LEADER.into() };
        return answer(request, StatusCode::FORBIDDEN, &refusal);
    }
    let followers = ctx.node.followers();
    let followers = followers.iter();
    let stats = LeaderStats {
        leader: id.to_string(),
        followers: followers
            .map(|(id, counts)| (id.to_string(), follower(counts)))
            .collect(),
    };
    answer(request, StatusCode::OK, &stats)
}

/// Converts a follower's counts. Before the first measurement, the minimum latency is `NO_LATENCY_MS`.
fn follower(counts: &FollowerCounts) -> FollowerStats {
    let trips = &counts.trips;
    FollowerStats {
        latency: LatencyStats {
            current: trips.last,
            average: trips.mean(),
            standard_deviation: trips.deviation(),
            minimum: match trips.count {
                0 => NO_LATENCY_MS,
                _ => trips.least,
            },
            maximum: trips.most,
        },
        counts: CountsStats { fail: counts.failed, success: counts.sent },
    }
}

/// Answers `/v2/stats/store` with the counts of v2 operations and watchers. If no state is available, answers with 500.
pub(super) async fn of_store(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let node = &ctx.node;
    let counts = match node.view().await {
        Ok(view) => view.machine.tree.counts(),
        Err(fault) => {
            let message = ErrorMessage { message: fault.to_string() };
            return answer(request, StatusCode::INTERNAL_SERVER_ERROR, &message);
        }
    };
    let stats = store(&counts, ctx.v2_metrics.lookups(), node.watchers() as u64);
    answer(request, StatusCode::OK, &stats)
}

/// Converts the counts of writes, and of reads that found a node and that failed.
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
