//! The memory budget of a member: its size, and what happens when keys, which always stay in memory, fill it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witan_e2e::{Launch, Server, wait};

const BUDGET_BYTES: usize = 128 << 20;

/// Length of each key in base64 letters; the key has three quarters as many bytes.
const KEY_LETTERS: usize = 48 << 10;

/// A number of keys that exceeds the budget.
const KEYS: usize = 6000;

/// Time after which a member that refuses writes has no checkpoint left that would free memory.
const SETTLED: Duration = Duration::from_secs(2);

fn start(budget_bytes: usize) -> Server {
    let budget = format!("--memory-budget-bytes={budget_bytes}");
    Launch::witan().arg(budget).start()
}

fn put(server: &Server, number: usize) -> (u16, Value) {
    server.try_v3("kv/put", &json!({ "key": key(number) }))
}

fn key(number: usize) -> String {
    format!("k{number:07}{}", "k".repeat(KEY_LETTERS - 8))
}

fn fill(server: &Server) {
    let (mut accepted, mut refused_since) = (0, Instant::now());
    while refused_since.elapsed() < SETTLED {
        assert!(accepted < KEYS, "the keys exceed the budget");
        match put(server, accepted).0 {
            200 => {
                accepted += 1;
                refused_since = Instant::now();
            }
            _ => wait::wall_time(SETTLED / 50),
        }
    }
}

fn metric(server: &Server, name: &str) -> f64 {
    server.metric(name).expect("the series is there")
}

#[test]
fn the_memory_budget_has_the_configured_size() {
    let asked = Launch::witan()
        .arg("--memory-budget-bytes=100000000")
        .start();
    assert_eq!(metric(&asked, "witan_memory_budget_bytes"), 1e8);
    let line = asked.wait_log(0, "memory budget");
    assert!(line.contains("100000000"), "{line}");
    wait::until_true("memory is measured", || {
        metric(&asked, "witan_memory_bytes{kind=\"other\"}") > 1e6
    });
    let default = Launch::witan().start();
    let budget = metric(&default, "witan_memory_budget_bytes");
    assert!(budget > 0.0 && budget < 1e15, "{budget}");
}

#[test]
fn a_full_memory_budget_refuses_only_writes_that_add_data() {
    let server = start(BUDGET_BYTES);
    fill(&server);
    let (status, answer) = put(&server, 0);
    assert_eq!(status, 429, "{answer}");
    let text = answer["message"].as_str().or(answer["error"].as_str());
    assert_eq!(text, Some("etcdserver: mvcc: database space exceeded"));
    let listed = server.try_v3("maintenance/alarm", &json!({})).1;
    assert_eq!(listed["alarms"][0]["alarm"], "NOSPACE", "{listed}");
    let health = server.answers(503, "GET", "/health", "").text();
    assert!(health.contains("ALARM NOSPACE (memory)"), "{health}");
    server.wait_log(0, "the memory budget is almost used up");
    let first = json!({ "key": key(0) });
    let limited = json!({ "key": "AA==", "range_end": "AA==", "limit": 1 });
    assert_eq!(server.try_v3("kv/range", &limited).0, 200);
    // A compaction keeps the deletions of its own revision, so the last deletion has one key.
    let rest = json!({ "key": key(1), "range_end": "AA==" });
    let (status, _) = server.try_v3("kv/deleterange", &rest);
    assert_eq!(status, 200);
    let (status, deleted) = server.try_v3("kv/deleterange", &first);
    assert_eq!(status, 200, "{deleted}");
    let revision = &deleted["header"]["revision"];
    let compact = json!({ "revision": revision, "physical": true });
    assert_eq!(server.try_v3("kv/compaction", &compact).0, 200);
    wait::until_true("writes are accepted again", || put(&server, 0).0 == 200);
    server.wait_log(0, "the memory budget has free memory again");
    let listed = server.try_v3("maintenance/alarm", &json!({})).1;
    assert!(listed.get("alarms").is_none(), "{listed}");
    server.answers(200, "GET", "/health", "");
}
