//! Compares the responses of `/health`, `/livez` and `/readyz`, and their metrics, with etcd 3.7's, byte for byte.

use std::collections::BTreeMap;

use witan_e2e::{Kind, Launch, Server, http, ports};

/// etcd ignores `allowlist` like any unknown parameter.
const TARGETS: &[&str] = &[
    "/health",
    "/health?serializable=true",
    "/health?serializable=false",
    "/health?serializable=TRUE",
    "/health?exclude=NOSPACE",
    "/health?exclude=CORRUPT",
    "/health?exclude=NOSPACE&exclude=CORRUPT",
    "/health?exclude=NOSPACE%2C",
    "/health?exclude=%4eOSPACE",
    "/health?exclude=",
    "/health?exclude=nospace",
    "/health/",
    "/livez",
    "/livez?verbose",
    "/livez?verbose=false",
    "/livez?exclude=serializable_read&verbose",
    "/livez?exclude=nothing&verbose",
    "/livez?allowlist=serializable_read&verbose",
    "/livez/serializable_read",
    "/livez/serializable_read?verbose",
    "/livez/serializable_read?verbose&exclude=serializable_read",
    "/livez/linearizable_read",
    "/livez/",
    "/livezz",
    "/readyz",
    "/readyz?verbose",
    "/readyz?verbose&exclude=linearizable_read&exclude=non_learner",
    "/readyz?verbose&exclude=data_corruption",
    "/readyz?exclude=data_corruption",
    "/readyz?allowlist=non_learner&verbose",
    "/readyz/data_corruption",
    "/readyz/data_corruption?verbose",
    "/readyz/serializable_read?verbose",
    "/readyz/linearizable_read?verbose",
    "/readyz/non_learner?verbose",
    "/readyz/nothing",
];

/// Sends a request. Returns status, significant headers, and the sorted lines of the body, because etcd runs its checks in any
/// order.
fn ask(address: &str, method: &str, target: &str) -> (u16, Vec<(String, String)>, Vec<String>) {
    let answer = http::try_once(address, method, target, &[], b"").expect("it answers");
    let mut lines: Vec<String> = answer.text().lines().map(str::to_owned).collect();
    // The last line contains the result.
    if let Some((_, checks)) = lines.split_last_mut() {
        checks.sort();
    }
    lines.push(format!("{} bytes", answer.body.len()));
    let mut headers = answer.headers;
    headers.retain(|(name, _)| name != "Date");
    headers.sort();
    (answer.status, headers, lines)
}

fn differences(ours: &[String], theirs: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (ours, theirs) in ours.iter().zip(theirs) {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            for target in TARGETS {
                let (got, want) = (ask(ours, method, target), ask(theirs, method, target));
                if got != want {
                    found.push(format!("{method} {target}\n got {got:?}\nwant {want:?}"));
                }
            }
        }
    }
    found
}

fn start(kind: Kind) -> (Server, Vec<String>) {
    let metrics = format!("127.0.0.1:{}", ports::free());
    let server = Launch::new(kind)
        .arg(format!("--listen-metrics-urls=http://{metrics}"))
        .start();
    let addresses = vec![server.address(), metrics];
    (server, addresses)
}

fn series(server: &Server) -> BTreeMap<String, String> {
    let text = server.http("GET", "/metrics", "").text();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("etcd_server_health"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        // The harness's own requests until readiness differ.
        .filter(|(name, _)| !name.starts_with("etcd_server_health_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn raise(server: &Server, kind: u8) {
    let body = format!(r#"{{"action":1,"memberID":"7","alarm":{kind}}}"#);
    server.v3("maintenance/alarm", &body);
}

#[test]
fn answers_are_etcds_with_and_without_alarms() {
    let [(ours, at_ours), (theirs, at_theirs)] = [Kind::Witan, Kind::Etcd37].map(start);
    let mut all = Vec::new();
    for alarm in ["no alarm", "NOSPACE", "CORRUPT"] {
        for server in [&ours, &theirs] {
            match alarm {
                "NOSPACE" => raise(server, 1),
                "CORRUPT" => {
                    server.etcdctl(&["alarm", "disarm"]);
                    raise(server, 2);
                }
                _ => {}
            }
        }
        let found = differences(&at_ours, &at_theirs);
        all.extend(found.into_iter().map(|text| format!("{alarm}: {text}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    let (got, want) = (series(&ours), series(&theirs));
    assert_eq!(got, want);
    let failed = r#"etcd_server_healthcheck{name="data_corruption",type="readyz"}"#;
    assert_eq!(got.get(failed).map(String::as_str), Some("0"), "{got:?}");
}

#[test]
fn answers_of_health_are_counted() {
    let server = Launch::witan().start();
    let count = |name| server.metric(name).expect("a series");
    let names = ["etcd_server_health_success", "etcd_server_health_failures"];
    let before = names.map(count);
    server.http("GET", "/health", "");
    raise(&server, 1);
    server.http("GET", "/health", "");
    server.http("GET", "/health", "");
    let after = names.map(count);
    let grew = [after[0] - before[0], after[1] - before[1]];
    let exact = (grew[0] - 1.0).abs() < 0.5 && (grew[1] - 2.0).abs() < 0.5;
    assert!(exact, "{grew:?}");
}
