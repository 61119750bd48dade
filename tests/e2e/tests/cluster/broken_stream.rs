//! A stream between members breaks and loses a forwarded write.

use witan_e2e::{
    Cluster, Launch, http,
    network::{Link, Network},
    wait,
};

const VALUE_BYTES: usize = 100_000;

/// Starts three members whose messages pass through a network that can fail.
fn start() -> (Cluster, Network) {
    let (mut cluster, mut network) = Cluster::prepare_behind(&vec![Launch::witan(); 3]);
    for at in 0..3 {
        network.open(at);
        let member = cluster.member_mut(at);
        member.start_unready_again();
        network.runs_as(at, member.pid());
    }
    cluster.start_all();
    (cluster, network)
}

/// The client must not wait for a timeout, because the leader runs and the stream is open again after milliseconds.
#[test]
fn a_forwarded_write_that_a_broken_stream_has_lost_is_answered() {
    let (cluster, network) = start();
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let address = cluster.member(follower).address();
    let put = |key: &str| format!("/v2/keys/{key}");
    for round in 0..3 {
        network.set(follower, leader, Link::Held);
        let member = cluster.member(follower);
        let sent = || {
            member
                .metric("etcd_network_peer_sent_bytes_total")
                .unwrap_or_default()
        };
        let before = sent();
        let mut connection = http::Connection::open(&address).expect("it listens");
        let key = put(&format!("lost{round}"));
        let value = format!("value={}", "v".repeat(VALUE_BYTES));
        connection
            .send("PUT", &key, &[], value.as_bytes())
            .expect("it is sent");
        // The value is much larger than heartbeats and their answers.
        wait::until_true("the write is on its way", || {
            sent() > before + VALUE_BYTES as f64
        });
        let log = member.log().len();
        network.set(follower, leader, Link::Cut);
        member.wait_log(log, "lost the stream to a peer");
        network.set(follower, leader, Link::Open);
        let answer = connection.response("PUT").expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        let twice = cluster.member(leader).http("GET", &key, "").json();
        let node = &twice["node"];
        assert_eq!(node["createdIndex"], node["modifiedIndex"], "{twice}");
        // The next write must use an open stream, not the queue of one that is still opening.
        member.wait_log(log, r#""opened a stream to a peer","kind":"bulk""#);
    }
    cluster.wait_equal();
}
