//! A used-up quota: refused and accepted requests, notifications, and its end. Compares the answers with etcd 3.7's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use witan_e2e::{Kind, Launch, Server, Tool, assert_contains};

const VALUE_BYTES: usize = 7000;

/// Enough values to exceed the quota, even on etcd, whose size grows only when it writes a batch to its file.
const VALUES: usize = 5000;

fn letter(letter: char) -> String {
    STANDARD.encode([letter as u8])
}

/// Returns the status and the response of a call without its header, because revisions differ. Removes the field in which Witan
/// repeats an error for clients of older gateways.
fn call(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let (status, mut json) = server.try_v3(path, body);
    behead(&mut json);
    if let Some(fields) = json.as_object_mut().filter(|_| status != 200) {
        let same = fields.get("error") == fields.get("message");
        assert!(same || !fields.contains_key("error"), "{fields:?}");
        fields.remove("error");
    }
    (status, json)
}

fn behead(json: &mut Value) {
    if let Some(fields) = json.as_object_mut() {
        fields.remove("header");
        fields.values_mut().for_each(behead);
    } else if let Some(items) = json.as_array_mut() {
        items.iter_mut().for_each(behead);
    }
}

/// Puts values until a put is refused. Returns the refusal.
fn fill(server: &Server) -> (u16, Value) {
    let value = STANDARD.encode([b'v'; VALUE_BYTES]);
    for i in 0..VALUES {
        let key = STANDARD.encode(format!("full/{i}"));
        let answer = call(server, "kv/put", &json!({ "key": key, "value": value }));
        if answer.0 != 200 {
            assert!(i > 3, "something fits: {answer:?}");
            return answer;
        }
    }
    panic!("{VALUES} values of {VALUE_BYTES} bytes fit");
}

fn line_of(text: &str, begin: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with(begin));
    lines.map(str::to_owned).collect()
}

/// Returns all responses to a client during the alarm. `ME` replaces the member's id.
fn while_full(server: &Server) -> Vec<String> {
    let put = json!({ "request_put": { "key": letter('a'), "value": letter('v') } });
    let get = json!({ "request_range": { "key": letter('a') } });
    let del = json!({ "request_delete_range": { "key": letter('a') } });
    let nested = json!({ "request_txn": { "success": [put] } });
    let mut said = Vec::new();
    for (path, body) in [
        ("maintenance/alarm", json!({})),
        ("maintenance/alarm", json!({ "alarm": "CORRUPT" })),
        (
            "kv/put",
            json!({ "key": letter('a'), "value": letter('v') }),
        ),
        ("kv/txn", json!({ "success": [put] })),
        ("kv/txn", json!({ "success": [get], "failure": [put] })),
        ("kv/txn", json!({ "success": [nested] })),
        ("kv/txn", json!({ "success": [get, del] })),
        ("kv/range", json!({ "key": letter('a') })),
        ("kv/deleterange", json!({ "key": letter('a') })),
        ("kv/deleterange", json!({})),
        ("kv/compaction", json!({ "revision": "3" })),
        ("kv/compaction", json!({ "revision": "3" })),
    ] {
        let asked = body.to_string();
        let asked = &asked[..asked.len().min(100)];
        said.push(format!("{path} {asked}: {:?}", call(server, path, &body)));
    }
    for path in [
        "/health",
        "/health?exclude=NOSPACE",
        "/health?exclude=CORRUPT",
        "/readyz",
        "/livez",
    ] {
        let answer = server.http("GET", path, "");
        said.push(format!("{path}: {} {:?}", answer.status, answer.text()));
    }
    let status = server.v3("maintenance/status", "{}");
    said.push(format!("{} {}", status["errors"], status["dbSizeQuota"]));
    let metrics = server.http("GET", "/metrics", "").text();
    said.extend(line_of(&metrics, "etcd_server_quota_backend_bytes "));
    // etcd counts how often an alarm was raised. Witan shows only whether it is raised.
    let alarms = line_of(&metrics, "etcd_debugging_server_alarms{");
    said.extend(
        alarms
            .iter()
            .filter(|line| !line.ends_with(" 0"))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())),
    );
    let listed = Tool::Etcdctl36.run(&server.url(), &["alarm", "list"]);
    said.push(listed.all());
    // Metrics contain the id in hexadecimal.
    let id = status["header"]["member_id"].as_str().expect("an id");
    let number: u64 = id.parse().expect("a number");
    let hex = format!("{number:x}");
    said.into_iter()
        .map(|line| line.replace(id, "ME").replace(&hex, "ME"))
        .collect()
}

#[test]
fn a_full_quota_refuses_requests_that_add_data() {
    // The quota is small enough to be used up quickly, but larger than an empty store.
    let quota = "--quota-backend-bytes=150000";
    let servers = [Kind::Witan, Kind::Etcd37].map(|kind| Launch::new(kind).arg(quota).start());
    let [ours, theirs] = servers.each_ref().map(|server| {
        let mut said = vec![format!("{:?}", fill(server))];
        said.extend(while_full(server));
        said
    });
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    let refused = "etcdserver: mvcc: database space exceeded";
    assert_contains(&ours[0], refused);
    assert_contains(&ours[0], "429");
    let [mut server, _] = servers;

    // The alarm persists after a kill.
    server.kill9();
    server.start_unhealthy_again();
    let listed = call(&server, "maintenance/alarm", &json!({})).1;
    assert_eq!(listed["alarms"][0]["alarm"], "NOSPACE", "{listed}");
    let large = json!({ "key": letter('b'), "value": letter('v') });
    assert_eq!(call(&server, "kv/put", &large).0, 429);
    let delete = json!({ "key": letter('b') });
    assert_eq!(call(&server, "kv/deleterange", &delete).0, 200);
    server.kill9();
    server.start_unhealthy_again();
    let health = server.answers(503, "GET", "/health", "");
    let expected = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
    assert_eq!(health.text(), expected);

    // Without free space, the next put raises the disarmed alarm again.
    let disarmed = server.etcdctl(&["alarm", "disarm"]);
    assert!(disarmed.contains("alarm:NOSPACE"), "{disarmed}");
    server.answers(200, "GET", "/health", "");
    let value = STANDARD.encode([b'v'; VALUE_BYTES]);
    let large = json!({ "key": letter('c'), "value": value });
    assert_eq!(call(&server, "kv/put", &large).0, 429);
    server.answers(503, "GET", "/health", "");

    let all = json!({ "key": "AA==", "range_end": "AA==" });
    assert_eq!(call(&server, "kv/deleterange", &all).0, 200);
    let status = server.v3("maintenance/status", "{}");
    let revision = status["header"]["revision"].clone();
    let compacted = call(&server, "kv/compaction", &json!({ "revision": revision }));
    assert_eq!(compacted.0, 200, "{compacted:?}");
    let refused = call(&server, "kv/put", &large).0;
    assert_eq!(refused, 429, "the alarm persists until it is disarmed");
    server.etcdctl(&["alarm", "disarm"]);
    let put = call(&server, "kv/put", &large);
    assert_eq!(put.0, 200, "{put:?}");
}

#[test]
fn a_negative_quota_is_unlimited_and_a_large_one_causes_a_warning() {
    let unlimited = Launch::witan().arg("--quota-backend-bytes=-1").start();
    let put = json!({ "key": letter('a'), "value": STANDARD.encode(vec![0_u8; 1 << 20]) });
    assert_eq!(call(&unlimited, "kv/put", &put).0, 200);
    let status = call(&unlimited, "maintenance/status", &json!({})).1;
    assert_eq!(status["dbSizeQuota"], "-1");
    let vast = Launch::witan()
        .arg("--quota-backend-bytes=8589934593")
        .start();
    vast.wait_log(0, "--quota-backend-bytes exceeds the recommended 8 GiB");
}
