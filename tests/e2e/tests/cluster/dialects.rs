//! Every member serves every dialect: a write that one member acknowledged is visible at each other one.

use std::thread;

use serde_json::json;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, PutRequest, RangeRequest, kv_client::KvClient, lease_client::LeaseClient,
};
use witan_e2e::{
    Cluster, grpc, http, wait,
    wait::PATIENCE,
    watching::{self, Watching, create},
};

const MEMBERS: usize = 3;

/// Pairs of the member that is written at and the one that is read at.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..MEMBERS).flat_map(|write| (0..MEMBERS).map(move |read| (write, read)))
}

async fn put(channel: &Channel, key: &str, value: &str, lease: i64) {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        ..PutRequest::default()
    };
    let done = KvClient::new(channel.clone()).put(put).await;
    done.unwrap_or_else(|status| panic!("put {key}: {status}"));
}

/// The value of a key by a linearizable read.
async fn get(channel: &Channel, key: &str) -> Option<String> {
    let range = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = KvClient::new(channel.clone()).range(range).await;
    let kvs = answer.expect("a linearizable read").into_inner().kvs;
    let value = kvs.first().map(|kv| kv.value.to_vec());
    value.map(|value| String::from_utf8(value).expect("text"))
}

async fn channels(cluster: &Cluster) -> Vec<Channel> {
    let mut channels = Vec::new();
    for address in cluster.addresses() {
        channels.push(grpc::connect(&address).await);
    }
    channels
}

#[test]
fn every_member_serves_every_dialect() {
    let cluster = Cluster::start(MEMBERS);
    writes_are_seen(&cluster);
    waits_and_watches_see_writes(&cluster);
    a_lease_is_known_to_all_and_ends_everywhere(&cluster);
    cluster.wait_equal();
}

/// What one member has acknowledged each other one shows.
fn writes_are_seen(cluster: &Cluster) {
    grpc::runtime().block_on(async {
        let channels = channels(cluster).await;
        for (write, read) in pairs() {
            let (key, value) = (format!("g{write}{read}"), format!("{write}"));
            put(&channels[write], &key, &value, 0).await;
            assert_eq!(get(&channels[read], &key).await, Some(value), "{key}");
        }
    });
    for (write, read) in pairs() {
        let (writer, reader) = (cluster.member(write), cluster.member(read));
        // "YQ==" and the like: two letters of base64 for each byte would do
        let key = format!("aaa{write}bbb{read}");
        let put = json!({"key": key, "value": "YQ=="});
        writer.v3("kv/put", &put.to_string());
        let there = reader.v3("kv/range", &json!({"key": key}).to_string());
        assert_eq!(there["kvs"][0]["value"], "YQ==", "{key}: {there}");

        let target = format!("/v2/keys/d{write}/{read}");
        writer.answers(201, "PUT", &target, "value=v2");
        let got = reader.http("GET", &format!("{target}?quorum=true"), "");
        assert_eq!(got.json()["node"]["value"], "v2", "{}", got.text());
        reader.answers(200, "PUT", &format!("{target}?prevValue=v2"), "value=new");
        let refused = writer.http("PUT", &format!("{target}?prevExist=false"), "value=x");
        assert_eq!(refused.json()["errorCode"], 105, "{}", refused.text());
        writer.answers(201, "POST", "/v2/keys/queue", "value=x");
        let deleted = reader.http("DELETE", &target, "");
        assert_eq!(deleted.json()["prevNode"]["value"], "new");
    }
    cluster
        .member(1)
        .answers(200, "PUT", "/v1/keys/old", "value=v1");
    for member in cluster.members() {
        wait::until_true("v1 reads it", || {
            let got = member.http("GET", "/v1/keys/old", "");
            got.status == 200 && got.json()["value"] == "v1"
        });
    }
}

/// At one member, those of another one.
fn waits_and_watches_see_writes(cluster: &Cluster) {
    for (write, read) in pairs() {
        let target = format!("/v2/keys/w{write}{read}");
        let mut waiting =
            http::Connection::open(&cluster.member(read).address()).expect("it listens");
        let long_poll = format!("{target}?wait=true&waitIndex=1");
        waiting
            .send("GET", &long_poll, &[], b"")
            .expect("it is sent");
        let writer = cluster.member(write).address();
        let sending = thread::spawn(move || http::once(&writer, "PUT", &target, "value=x"));
        let seen = waiting.response("GET").expect("an answer");
        assert_eq!(seen.json()["node"]["value"], "x", "{}", seen.text());
        assert_eq!(sending.join().expect("no panic").status, 201);
    }
    grpc::runtime().block_on(async {
        let channels = channels(cluster).await;
        for (write, read) in pairs() {
            let key = format!("w{write}{read}");
            let mut watch = Watching::open(&channels[read], create(watching::key(&key))).await;
            assert!(watch.next().await.created);
            put(&channels[write], &key, "seen", 0).await;
            let events = watch.next().await.events;
            let kv = events[0].kv.as_ref().expect("a put");
            assert_eq!(kv.value, "seen", "{key}");
        }
    });
}

/// That one member grants.
fn a_lease_is_known_to_all_and_ends_everywhere(cluster: &Cluster) {
    let follower = cluster.follower();
    let other = (0..MEMBERS).find(|at| *at != follower).expect("three");
    grpc::runtime().block_on(async {
        let channels = channels(cluster).await;
        let mut grants = LeaseClient::new(channels[follower].clone());
        let grant = |id, ttl| LeaseGrantRequest { id, ttl };
        let short = grants.lease_grant(grant(7, 1)).await.expect("a lease");
        assert_eq!(short.into_inner().id, 7);
        grants.lease_grant(grant(8, 3600)).await.expect("a lease");
        put(&channels[other], "short", "x", 7).await;
        put(&channels[follower], "long", "x", 8).await;
        for channel in &channels {
            assert!(get(channel, "long").await.is_some());
        }
        // the shortest lease is longer than what was asked for, by --election-timeout
        for channel in &channels {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while get(channel, "short").await.is_some() {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "the lease never ends"
                );
            }
            assert!(get(channel, "long").await.is_some());
        }
    });
}
