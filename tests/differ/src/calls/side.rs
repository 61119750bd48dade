//! One server, the tokens of its users, and its answers without server-specific parts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use witan_e2e::{Kind, Launch, Server};

use super::step::Call;

/// Number of seconds of a lease's TTL that may have passed before the remaining TTL is queried.
const LATE_SECONDS: i64 = 60;

/// Returns the code in the table for an answer.
pub(super) fn code(answer: &str) -> &'static str {
    if answer.starts_with("200 ") {
        "ok"
    } else if answer.contains("etcdserver: permission denied") {
        "denied"
    } else {
        "refused"
    }
}

pub(super) struct Side {
    server: Server,
    tokens: BTreeMap<String, String>,
    /// The header of the first answer. Every later header must have the same ids and term.
    header: Value,
}

impl Side {
    /// Starts a new single-member cluster with fast password hashing.
    pub(super) fn start(kind: Kind) -> Self {
        let mut side = Self {
            server: Launch::new(kind)
                .arg("--bcrypt-cost=4")
                .without_fsync()
                .start(),
            tokens: BTreeMap::new(),
            header: Value::Null,
        };
        let (_, mut first) = side.send(&Call::new("lease/leases", Map::new().into()));
        side.header = first["header"].take();
        side
    }

    /// Sends a call and returns the answer as a line. Keeps the token of an authentication.
    pub(super) fn answer(&mut self, call: &Call) -> String {
        let (status, mut json) = self.send(call);
        if let Some(fields) = json.as_object_mut() {
            if let (Some(Value::String(token)), Some(name)) =
                (fields.get_mut("token"), call.body["name"].as_str())
            {
                let token = std::mem::replace(token, "T".into());
                self.tokens.insert(name.into(), token);
            }
            self.tidy(fields);
        }
        format!("{status} {json}")
    }

    fn send(&self, call: &Call) -> (u16, Value) {
        let token = call.caller.as_ref().and_then(|name| self.tokens.get(name));
        let (target, body) = (format!("/v3/{}", call.path), call.body.to_string());
        let token = token.map(String::as_str);
        let answer = self.server.http_as(token, "POST", &target, &body);
        (answer.status, answer.json())
    }

    /// Removes the parts of an answer that differ between servers or change with time.
    fn tidy(&self, fields: &mut Map<String, Value>) {
        // etcd 3.7 does not repeat the message in `error`, as the former gateway does.
        if fields.get("error") == fields.get("message") {
            fields.remove("error");
        }
        // Members contain addresses.
        fields.remove("members");
        if let Some(header) = fields.get_mut("header").and_then(Value::as_object_mut) {
            for name in ["cluster_id", "member_id", "raft_term"] {
                if header.get(name) == self.header.get(name) {
                    header.remove(name);
                }
            }
        }
        let seconds = |name: &str| fields.get(name)?.as_str()?.parse::<i64>().ok();
        if let (Some(left), Some(granted)) = (seconds("TTL"), seconds("grantedTTL"))
            && (granted - LATE_SECONDS..=granted).contains(&left)
        {
            fields.remove("TTL");
        }
        // etcd lists the keys of a lease in no particular order.
        if let Some(keys) = fields.get_mut("keys").and_then(Value::as_array_mut) {
            keys.sort_by_key(Value::to_string);
        }
    }
}
