//! Leases by chance: the same random sequence of calls to ours and to etcd 3.6, compared one by one.

use serde_json::json;
use witan_e2e::Server;

use super::{lease::call, pair};

/// Calls of one sequence.
const STEPS: usize = 500;

/// Sequences.
const SEEDS: [u64; 2] = [5, 20_261_120];

/// Numbers that look random (xorshift64*), the same for a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    }

    fn key(&mut self) -> &'static str {
        // base64 of a, b, c, d
        ["YQ==", "Yg==", "Yw==", "ZA=="][self.below(4) as usize]
    }

    fn lease(&mut self) -> i64 {
        [1, 2, 3, 4, -9][self.below(5) as usize]
    }

    /// A put with a lease, with what it had, or without.
    fn put(&mut self) -> serde_json::Value {
        let (key, lease) = (self.key(), self.lease());
        match self.below(6) {
            0 => json!({"key": key}),
            1 => json!({"key": key, "ignore_lease": true}),
            2 => json!({"key": key, "ignore_value": true, "lease": lease}),
            _ => json!({"key": key, "value": key, "lease": lease}),
        }
    }

    /// Path and body. Leases last so long that none ends by itself.
    fn call(&mut self) -> (&'static str, String) {
        let (path, body) = match self.below(100) {
            // lists are in the order in which leases end: each has a time of its own
            0..=19 => {
                let id = self.lease();
                let ttl = 5000 + 1000 * id;
                ("lease/grant", json!({"ID": id, "TTL": ttl}))
            }
            20..=31 => ("lease/revoke", json!({"ID": self.lease()})),
            32..=56 => ("kv/put", self.put()),
            57..=66 => {
                let compare = json!([{"key": self.key(), "target": "LEASE",
                    "result": "GREATER", "lease": self.lease()}]);
                let success = json!([{"request_put": self.put()}]);
                let failure = json!([{"request_delete_range": {"key": self.key()}}]);
                let txn = json!({"compare": compare, "success": success, "failure": failure});
                ("kv/txn", txn)
            }
            67..=71 => ("kv/deleterange", json!({"key": self.key()})),
            72..=86 => {
                let ask = json!({"ID": self.lease(), "keys": self.below(4) > 0});
                ("lease/timetolive", ask)
            }
            87..=91 => ("lease/leases", json!({})),
            _ => ("kv/range", json!({"key": "AA==", "range_end": "AA=="})),
        };
        (path, body.to_string())
    }
}

#[test]
fn any_sequence_is_answered_as_etcd_does() {
    for seed in SEEDS {
        let servers = pair();
        let mut chance = Chance(seed);
        let mut granted = 0;
        for step in 0..STEPS {
            let (path, body) = chance.call();
            let path = format!("/v3/{path}");
            let each = |server: &Server| call(server, &path, &body);
            let [got, want] = servers.each_ref().map(each);
            assert_eq!(got, want, "seed {seed}, step {step}: {path} {body}");
            granted += usize::from(path == "/v3/lease/grant" && got.0 == 200);
        }
        assert!(granted > 20, "leases come and go: {granted}");
    }
}
