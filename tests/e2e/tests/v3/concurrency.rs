//! Compares locks and elections with etcd 3.7's, over gRPC and as JSON. etcdctl and etcd's Go client implement both services
//! themselves (see `tests/upstream/cases` and `tests/e2e/go`).

use serde_json::json;
use tonic::{Status, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseRevokeRequest, kv_client::KvClient, lease_client::LeaseClient,
    },
    v3electionpb::{
        CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
        election_client::ElectionClient,
    },
    v3lockpb::{LockRequest, UnlockRequest, lock_client::LockClient},
};
use witan_e2e::{Kind, grpc, requests, wait};

use super::{both, gateway, start};

type Told = Vec<String>;

fn outcome<T: std::fmt::Debug>(result: Result<tonic::Response<T>, Status>) -> String {
    match result {
        Ok(answer) => format!("{:?}", answer.into_inner()),
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    }
}

async fn grant(channel: &Channel, id: i64) {
    let request = LeaseGrantRequest { id, ttl: 1000 };
    let mut leases = LeaseClient::new(channel.clone());
    leases.lease_grant(request).await.expect("a lease");
}

async fn revoke(channel: &Channel, id: i64) {
    let mut leases = LeaseClient::new(channel.clone());
    let request = LeaseRevokeRequest { id };
    leases.lease_revoke(request).await.expect("it was there");
}

async fn keys(channel: &Channel) -> Told {
    let all = requests::range("\0", "\0");
    let answer = KvClient::new(channel.clone()).range(all).await;
    let kvs = answer.expect("a range").into_inner().kvs;
    kvs.iter().map(|kv| format!("{kv:?}")).collect()
}

async fn until_keys(channel: &Channel, count: usize) {
    let look = async {
        while keys(channel).await.len() != count {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(wait::PATIENCE, look).await;
    assert!(waited.is_ok(), "{count} keys never appeared");
}

fn lock(name: &str, lease: i64) -> LockRequest {
    LockRequest { name: name.to_owned().into(), lease }
}

fn unlock(key: &str) -> UnlockRequest {
    UnlockRequest { key: key.to_owned().into() }
}

#[test]
fn a_lock_passes_to_waiters_in_order() {
    let told = both(|channel| async move {
        let mut locks = LockClient::new(channel.clone());
        let mut told = Vec::new();
        for id in [0x1f, 2, 3, 4, -5] {
            grant(&channel, id).await;
        }
        told.push(outcome(locks.lock(lock("name", 0x1f)).await));
        told.push(outcome(locks.lock(lock("name", 0x1f)).await));
        let mut waiting = Vec::new();
        for (before, id) in [2, 3, 4].into_iter().enumerate() {
            let mut locks = locks.clone();
            let waits = async move { outcome(locks.lock(lock("name", id)).await) };
            waiting.push(tokio::spawn(waits));
            until_keys(&channel, before + 2).await;
        }
        // One caller's lease ends, one gets the lock, and one gives up.
        revoke(&channel, 3).await;
        waiting.remove(2).abort();
        until_keys(&channel, 2).await;
        told.extend(keys(&channel).await);
        told.push(outcome(locks.unlock(unlock("name/1f")).await));
        told.push(waiting.remove(0).await.expect("it ends"));
        told.push(outcome(locks.lock(lock("", -5)).await));
        told.extend(keys(&channel).await);
        told.push(outcome(locks.unlock(unlock("name/2")).await));
        told.push(outcome(locks.unlock(unlock("name/2")).await));
        told.push(outcome(locks.unlock(unlock("")).await));
        told.push(outcome(locks.lock(lock("name", 99)).await));
        told
    });
    let refused = told.last().expect("told");
    assert_eq!(refused, "Unknown etcdserver: requested lease not found");
}

#[test]
fn a_waiter_whose_lease_expires_gets_an_error() {
    let told = both(|channel| async move {
        let mut locks = LockClient::new(channel.clone());
        for id in [1, 2] {
            grant(&channel, id).await;
        }
        let mut told = vec![outcome(locks.lock(lock("n", 1)).await)];
        let mut second = locks.clone();
        let waits = tokio::spawn(async move { outcome(second.lock(lock("n", 2)).await) });
        until_keys(&channel, 2).await;
        revoke(&channel, 2).await;
        revoke(&channel, 1).await;
        told.push(waits.await.expect("it ends"));
        told
    });
    assert_eq!(told[1], "Unknown mutex: session is expired");
}

#[test]
fn without_a_lease_the_server_grants_one_of_a_minute() {
    let server = start(Kind::Witan);
    let answer = server.answers(200, "POST", "/v3/lock/lock", r#"{"name":"YQ=="}"#);
    let leases = server.v3("lease/leases", "{}");
    let lease = leases["leases"][0]["ID"].as_str().expect("a lease");
    let ask = json!({"ID": lease, "keys": true}).to_string();
    let lease = server.v3("lease/timetolive", &ask);
    assert_eq!(lease["grantedTTL"], "60");
    assert_eq!(lease["keys"], json!([answer.json()["key"]]));
}

fn campaign(lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest { name: "e".into(), lease, value: value.to_owned().into() }
}

fn leader_key(rev: i64, lease: i64) -> Option<LeaderKey> {
    Some(LeaderKey {
        name: "e".into(),
        key: format!("e/{lease:x}").into(),
        rev,
        lease,
    })
}

fn proclaim(leader: Option<LeaderKey>, value: &str) -> ProclaimRequest {
    ProclaimRequest { leader, value: value.to_owned().into() }
}

#[test]
fn leaders_follow_each_other() {
    let told = both(|channel| async move {
        let mut elections = ElectionClient::new(channel.clone());
        let ask = || LeaderRequest { name: "e".into() };
        let mut told = vec![outcome(elections.leader(ask()).await)];
        for id in [1, 2, 3] {
            grant(&channel, id).await;
        }
        // etcd sends no response before there is a leader.
        let mut observer = elections.clone();
        let observing = tokio::spawn(async move { observer.observe(ask()).await });
        let next = |answer: Option<LeaderResponse>| {
            let answer = answer.expect("it goes on");
            format!("observed {answer:?}")
        };
        told.push(outcome(elections.campaign(campaign(1, "a")).await));
        let observed = observing.await.expect("it ends").expect("a stream");
        let mut observed = observed.into_inner();
        told.push(next(observed.message().await.expect("an answer")));
        told.push(outcome(elections.leader(ask()).await));
        told.push(outcome(elections.campaign(campaign(1, "b")).await));
        told.push(next(observed.message().await.expect("an answer")));
        told.push(outcome(
            elections.proclaim(proclaim(leader_key(2, 1), "c")).await,
        ));
        told.push(next(observed.message().await.expect("an answer")));
        let mut second = elections.clone();
        let waits = tokio::spawn(async move { outcome(second.campaign(campaign(2, "d")).await) });
        until_keys(&channel, 2).await;
        let mut third = elections.clone();
        let gives_up = tokio::spawn(async move { third.campaign(campaign(3, "x")).await });
        until_keys(&channel, 3).await;
        gives_up.abort();
        until_keys(&channel, 2).await;
        let leader = leader_key(2, 1);
        told.push(outcome(elections.resign(ResignRequest { leader }).await));
        told.push(waits.await.expect("it ends"));
        told.push(next(observed.message().await.expect("an answer")));
        told.push(outcome(
            elections.proclaim(proclaim(leader_key(2, 1), "y")).await,
        ));
        told.push(outcome(
            elections.proclaim(proclaim(leader_key(3, 2), "y")).await,
        ));
        revoke(&channel, 2).await;
        told.push(outcome(elections.leader(ask()).await));
        told.extend(keys(&channel).await);
        told
    });
    let refused = told.last().expect("told");
    assert_eq!(refused, "Unknown election: no leader");
}

/// etcd reports that the candidate leads, although its key is deleted.
#[test]
fn a_candidate_whose_lease_ends_does_not_lead() {
    let server = start(Kind::Witan);
    let told = grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let elections = ElectionClient::new(channel.clone());
        for id in [1, 2] {
            grant(&channel, id).await;
        }
        let (mut first, mut second) = (elections.clone(), elections);
        let led = first.campaign(campaign(1, "a")).await;
        led.expect("there is no other candidate");
        let waits = tokio::spawn(async move { outcome(second.campaign(campaign(2, "b")).await) });
        until_keys(&channel, 2).await;
        revoke(&channel, 2).await;
        revoke(&channel, 1).await;
        waits.await.expect("it ends")
    });
    assert_eq!(told, "Unknown election: not leader");
}

/// Calls that are refused or change nothing. The tests over gRPC compare the others.
const CALLS: &str = r#"
    lock/lock {"name":"YQ==","lease":99}
    lock/unlock {}
    lock/unlock {"key":"YQ=="}
    lock/lock {"name":5}
    election/leader {"name":"ZQ=="}
    election/leader -
    election/proclaim {}
    election/proclaim {"leader":{}}
    election/proclaim {"leader":{"name":"ZQ==","key":"ZS9h","rev":"5","lease":"7"}}
    election/resign {}
    election/resign {"leader":{}}
    election/resign {"leader":{"name":"ZQ==","key":"ZS9h","rev":"5","lease":"7"}}
    election/observe x
"#;

#[test]
fn calls_as_json() {
    gateway::same(CALLS);
}

#[test]
fn a_disconnected_http_caller_loses_its_key() {
    let server = start(Kind::Witan);
    for id in ["1", "2"] {
        let body = json!({"ID": id, "TTL": 1000}).to_string();
        server.v3("lease/grant", &body);
    }
    let keys = || {
        let all = r#"{"key":"AA==","range_end":"AA==","keys_only":true}"#;
        let answer = server.v3("kv/range", all);
        answer["count"].as_str().unwrap_or("0").to_owned()
    };
    server.http("POST", "/v3/lock/lock", r#"{"name":"YQ==","lease":1}"#);
    let connection = server.send("POST", "/v3/lock/lock", r#"{"name":"YQ==","lease":2}"#);
    wait::until_true("the second waits", || keys() == "2");
    drop(connection);
    wait::until_true("the second no longer waits", || keys() == "1");
}
