//! A learner serves its own state and refuses all other calls, like etcd's learners.

use serde_json::json;
use witan_e2e::{Cluster, Kind, Launch, Server, http, rows, wait};

/// Calls of every service. Many of them are also invalid for another reason.
const CALLS: &str = r#"
    kv/range {"key":"YQ==","serializable":true}
    kv/range {"key":"YQ=="}
    kv/range {}
    kv/put {"key":"YQ==","value":"YQ=="}
    kv/put {}
    kv/deleterange {"key":"YQ=="}
    kv/txn {"success":[{"requestRange":{"key":"YQ==","serializable":true}}]}
    kv/compaction {"revision":1}
    watch {"createRequest":{"key":"YQ=="}}
    lease/grant {"TTL":10}
    lease/revoke {"ID":1}
    lease/keepalive {"ID":1}
    lease/timetolive {"ID":1}
    lease/leases {}
    cluster/member/list {"linearizable":true}
    cluster/member/add {"peerURLs":["http://127.0.0.1:1"]}
    cluster/member/remove {"ID":1}
    cluster/member/update {"ID":1,"peerURLs":["http://127.0.0.1:1"]}
    cluster/member/promote {"ID":1}
    maintenance/status {}
    maintenance/alarm {}
    maintenance/alarm {"action":"ACTIVATE","alarm":"NOSPACE"}
    maintenance/snapshot {}
    maintenance/transfer-leadership {"targetID":1}
    maintenance/downgrade {"action":"VALIDATE","version":"3.5"}
    auth/enable {}
    auth/disable {}
    auth/status {}
    auth/authenticate {"name":"a","password":"b"}
    auth/user/list {}
    auth/user/add {"name":"a","password":"b"}
    auth/role/list {}
    auth/role/get {"role":"r"}
    lock/lock {"name":"YQ=="}
    lock/unlock {"key":"YQ=="}
    election/leader {"name":"YQ=="}
    election/campaign {"name":"YQ=="}
    election/observe {"name":"YQ=="}
"#;

/// Calls about the member's own state, which etcd's learner refuses but Witan's serves.
const MORE: &str = r#"
    cluster/member/list {}
    maintenance/defragment {}
    maintenance/hash {}
    maintenance/hashkv {}
"#;

/// Makes a call. Returns the status of the response and, if it is an error, its code and message.
fn answer(member: &Server, [call, body]: [&str; 2]) -> (u16, Option<String>) {
    let answer = member.http("POST", &format!("/v3/{call}"), body);
    let page = answer.text();
    let line = page.lines().next().unwrap_or_default();
    let said: serde_json::Value = serde_json::from_str(line).expect("JSON");
    // A stream's error is one level deeper.
    let error = [&said, &said["error"]]
        .into_iter()
        .find(|of| of["code"].is_i64());
    let error = error.map(|error| format!("{} {}", error["code"], error["message"]));
    (answer.status, error)
}

/// Starts a voter and a learner, and waits until the learner has the key `a`.
fn cluster_of(kind: Kind) -> Cluster {
    let launch = Launch::new(kind);
    let mut cluster = Cluster::prepare_of(&launch, "http", 1);
    cluster.start_all();
    let put = r#"{"key":"YQ==","value":"YQ=="}"#;
    cluster.member(0).v3("kv/put", put);
    let learner = cluster.prepare_joining_of(&launch, "http", &[0]);
    let peer_url = cluster.member(learner).peer_url();
    let body = json!({ "peerURLs": [peer_url], "isLearner": true });
    cluster.member(0).change_members("add", &body);
    cluster.member_mut(learner).start_unready_again();
    let (address, path) = (cluster.member(learner).address(), "/v3/kv/range");
    let read = br#"{"key":"YQ==","serializable":true}"#;
    wait::until_true("the learner has the key", || {
        let answer = http::try_once(&address, "POST", path, &[], read);
        answer.is_ok_and(|answer| answer.text().contains("kvs"))
    });
    cluster
}

#[test]
fn a_learner_refuses_the_calls_that_etcds_learner_refuses() {
    let clusters = [Kind::Etcd37, Kind::Witan].map(cluster_of);
    let both = |call| {
        clusters
            .each_ref()
            .map(|cluster| answer(cluster.member(1), call))
    };
    for call in rows(CALLS) {
        let [etcd, ours] = both(call);
        assert_eq!(ours, etcd, "{call:?}");
    }
    for call in rows(MORE) {
        let [etcd, ours] = both(call);
        assert_eq!(etcd.0, 400, "{call:?}: {etcd:?}");
        assert_eq!(ours, (200, None), "{call:?}");
    }
}
