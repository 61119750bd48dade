//! Too few members run: nothing is written, and what can be answered is.

use serde_json::json;
use witan_api::v3::etcdserverpb::{
    RangeRequest, RequestOp, TxnRequest, kv_client::KvClient, request_op::Request,
};
use witan_e2e::{Cluster, Server, cluster::status, grpc, http, wait};

use super::membership::add;

#[test]
fn a_member_without_a_quorum_answers_what_it_can() {
    let mut cluster = Cluster::start(3);
    let put = cluster.member(0).http("PUT", "/v2/keys/a", "value=1");
    assert_eq!(put.status, 201, "{}", put.text());
    let key = json!({"key": "YWFh", "value": "YQ=="}).to_string();
    assert_eq!(
        cluster.member(0).http("POST", "/v3/kv/put", &key).status,
        200
    );
    cluster.wait_equal();
    for at in [1, 2] {
        cluster.member_mut(at).kill9();
    }
    let alone = cluster.member(0);
    wait::until_true("the loss of the leader is seen", || {
        alone.http("GET", "/health", "").status == 503
    });
    // while these wait for a leader …
    let writes = [
        ("POST", "/v3/kv/put", key.as_str()),
        ("PUT", "/v2/keys/a", "value=2"),
        ("POST", "/v3/kv/range", "{\"key\":\"YWFh\"}"),
    ];
    let waiting: Vec<_> = writes
        .map(|(method, target, body)| {
            let mut connection = http::Connection::open(&alone.address()).unwrap();
            connection
                .send(method, target, &[], body.as_bytes())
                .unwrap();
            (method, connection)
        })
        .into_iter()
        .collect();
    // … these are answered
    let body = json!({"key": "YWFh", "serializable": true}).to_string();
    let read = alone.http("POST", "/v3/kv/range", &body);
    assert_eq!(read.json()["kvs"][0]["value"], "YQ==", "{}", read.text());
    assert_eq!(
        alone.http("GET", "/v2/keys/a", "").json()["node"]["value"],
        "1"
    );
    let health = alone.http("GET", "/health", "");
    assert_eq!(health.json()["health"], "false", "{}", health.text());
    let metrics = alone.http("GET", "/metrics", "").text();
    assert!(
        metrics.contains("\netcd_server_has_leader 0\n"),
        "{metrics}"
    );
    for (method, mut connection) in waiting {
        let refused = connection.response(method).unwrap();
        assert!(
            refused.status >= 500,
            "{} {}",
            refused.status,
            refused.text()
        );
        assert!(refused.text().contains("timed out"), "{}", refused.text());
    }
    cluster.start_all();
    let put = cluster.member(0).http("PUT", "/v2/keys/a", "value=3");
    assert_eq!(put.status, 200, "{}", put.text());
}

/// A member that waits for a quorum can be stopped all the same, quickly.
#[test]
fn a_member_that_waits_for_the_others_ends_with_sigterm() {
    let mut cluster = Cluster::prepare(3, &[]);
    let alone = cluster.member_mut(0);
    alone.start_unready_again();
    alone.wait_log(0, "failed to reach a peer");
    assert_eq!(alone.terminate().code(), Some(0));
    // and after it began to serve clients without a leader, which another one does not yet
    let mut patient = Cluster::prepare(3, &["--wait-cluster-ready-timeout", "1h"]);
    patient.member_mut(0).start_unready_again();
    alone.add_args(["--wait-cluster-ready-timeout", "100ms"]);
    alone.start_unready_again();
    alone.wait_log(0, "serving client traffic");
    patient.member(0).wait_log(0, "failed to reach a peer");
    let log = patient.member(0).log();
    assert!(
        !log.iter()
            .any(|line| line.contains("serving client traffic")),
        "{log:?}"
    );
    assert_eq!(patient.member_mut(0).terminate().code(), Some(0));
    let version = alone.http("GET", "/version", "");
    assert_eq!(version.status, 200);
    assert_eq!(alone.terminate().code(), Some(0));
    cluster.start_all();
    cluster.leader();
}

/// What a member says of dead ones: a line of the probe, and a series.
fn named_dead(member: &Server, id: u64) -> (bool, bool) {
    let probe = member.http("GET", "/readyz?verbose", "");
    let line = format!("[!]member {id:x} (m2) is unreachable for ");
    let page = member.http("GET", "/metrics", "").text();
    let series = format!("witan_dead_members{{member=\"{id:x}\"}} 1");
    (
        probe.status == 200 && probe.text().lines().any(|l| l.starts_with(&line)),
        page.lines().any(|line| line == series),
    )
}

#[test]
fn a_dead_member_is_named() {
    let mut cluster = Cluster::prepare(3, &[]);
    for at in [0, 2] {
        let member = cluster.member_mut(at);
        member.add_args(["--dead-member-time", "500ms"]);
    }
    cluster.start_all();
    let id = status(cluster.member(2)).expect("it runs").id;
    let named = |cluster: &Cluster, by: usize| named_dead(cluster.member(by), id);
    wait::until_true("all are connected", || named(&cluster, 0) == (false, false));
    cluster.member_mut(2).kill9();
    wait::until_true("it is named", || named(&cluster, 0) == (true, true));
    let quiet = cluster.member(0).http("GET", "/readyz", "");
    assert_eq!(quiet.text(), "ok\n");
    assert_eq!(named(&cluster, 1), (false, false), "without the flag");
    cluster.member_mut(2).start_again();
    wait::until_true("it is back", || named(&cluster, 0) == (false, false));
}

/// What answers of a member say about the age of its state: to a range, a GET of v2 and a transaction, which a
/// learner refuses.
fn ages(member: &Server, serializable: bool) -> Vec<Option<String>> {
    let range = RangeRequest {
        key: b"a".to_vec().into(),
        serializable,
        ..RangeRequest::default()
    };
    let txn = TxnRequest {
        success: vec![RequestOp { request: Some(Request::RequestRange(range.clone())) }],
        ..TxnRequest::default()
    };
    let (range, txn) = grpc::runtime().block_on(async {
        let mut kv = KvClient::new(grpc::connect(&member.address()).await);
        let range = kv.range(range).await.expect("it is answered");
        let txn = match kv.txn(txn).await {
            Ok(txn) => Some(txn.metadata().clone()),
            Err(refusal) => {
                assert!(refusal.message().contains("learner"), "{refusal}");
                None
            }
        };
        (range.metadata().clone(), txn)
    });
    let said = [Some(range), txn].into_iter().flatten().map(|said| {
        let age = said.get("witan-state-age-ms")?;
        Some(age.to_str().expect("text").to_owned())
    });
    let target = ["/v2/keys/?quorum=true", "/v2/keys/"][usize::from(serializable)];
    let got = member.http("GET", target, "");
    assert_eq!(got.status, 200, "{}", got.text());
    let v2 = got.header("X-Witan-State-Age-Ms").map(str::to_owned);
    said.chain([v2]).collect()
}

/// The lowest of them, once all are known.
fn lowest_age_ms(member: &Server) -> Option<u64> {
    let ages = ages(member, true).into_iter();
    let known = ages.map(|age| age.expect("a serializable read says it").parse().ok());
    known.collect::<Option<Vec<u64>>>()?.into_iter().min()
}

#[test]
fn stale_reads_say_their_age() {
    let mut cluster = Cluster::prepare(2, &[]);
    cluster.member_mut(1).add_args(["--stale-read-age"]);
    cluster.start_all();
    let learner = cluster.prepare_joining(&[0, 1]);
    let peer_url = cluster.member(learner).peer_url();
    add(cluster.member(0), &peer_url, &["--learner"]);
    let joining = cluster.member_mut(learner);
    joining.add_args(["--initial-cluster-state", "existing", "--stale-read-age"]);
    joining.start_again();

    for at in [1, learner] {
        wait::until("the age is known", || lowest_age_ms(cluster.member(at)));
    }
    assert_eq!(ages(cluster.member(1), false), [None, None, None]);
    assert_eq!(ages(cluster.member(0), true), [None, None, None]);
    cluster.member_mut(0).kill9();
    // nobody confirms anything any more
    for at in [1, learner] {
        wait::until_true("the state is seconds old", || {
            lowest_age_ms(cluster.member(at)).is_some_and(|age_ms| age_ms > 2_000)
        });
    }
    cluster.member_mut(0).start_again();
    for at in [1, learner] {
        wait::until_true("the state is new again", || {
            lowest_age_ms(cluster.member(at)).is_some_and(|age_ms| age_ms < 2_000)
        });
    }
}
