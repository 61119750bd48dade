//! Random calls about few leases and keys, so that calls affect each other.

use serde_json::{Value, json};

use super::step::Call;
use crate::{coverage::Row, rng::Rng};

/// The cells that a run must cover.
pub(super) const TABLE: &[Row] = &[
    ("lease/grant", "ok refused"),
    ("lease/revoke", "ok refused"),
    ("lease/timetolive", "ok"),
    ("lease/leases", "ok"),
    ("kv/put", "ok refused"),
    ("kv/txn", "ok refused"),
    ("kv/deleterange", "ok"),
    ("kv/range", "ok"),
];

/// The keys a, b, c and d in base64.
const KEYS: [&str; 4] = ["YQ==", "Yg==", "Yw==", "ZA=="];
const IDS: [i64; 5] = [1, 2, 3, 4, -9];

/// Returns the sequence of calls for a seed.
pub(super) fn sequence(seed: u64, count: usize) -> Vec<Call> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| call(&mut rng)).collect()
}

/// Draws a put with a lease, with its previous lease, or without one.
fn put(rng: &mut Rng) -> Value {
    let (key, lease) = (rng.pick(&KEYS), rng.pick(&IDS));
    match rng.below(6) {
        0 => json!({"key": key}),
        1 => json!({"key": key, "ignore_lease": true}),
        2 => json!({"key": key, "ignore_value": true, "lease": lease}),
        _ => json!({"key": key, "value": key, "lease": lease}),
    }
}

fn call(rng: &mut Rng) -> Call {
    let (key, id) = (*rng.pick(&KEYS), *rng.pick(&IDS));
    let (path, body) = match rng.below(100) {
        // No lease may expire during a run. Lists are ordered by expiry, so each lease has a different TTL.
        0..=19 => (
            "lease/grant",
            json!({"ID": id, "TTL": 5000 + 1000 * id.abs()}),
        ),
        20..=31 => ("lease/revoke", json!({"ID": id})),
        32..=56 => ("kv/put", put(rng)),
        57..=66 => {
            let compare =
                json!([{"key": key, "target": "LEASE", "result": "GREATER", "lease": id}]);
            let success = json!([{"request_put": put(rng)}]);
            let failure = json!([{"request_delete_range": {"key": rng.pick(&KEYS)}}]);
            let txn = json!({"compare": compare, "success": success, "failure": failure});
            ("kv/txn", txn)
        }
        67..=71 => ("kv/deleterange", json!({"key": key})),
        72..=86 => (
            "lease/timetolive",
            json!({"ID": id, "keys": rng.chance(75)}),
        ),
        87..=91 => ("lease/leases", json!({})),
        _ => ("kv/range", json!({"key": "AA==", "range_end": "AA=="})),
    };
    Call::new(path, body)
}
