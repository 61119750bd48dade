//! Users, roles and what they may do by chance: the same random sequence of calls to ours and to
//! etcd 3.6, compared one by one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use witan_e2e::{Kind, Server, http};

use crate::start;

/// Calls of one sequence.
const STEPS: usize = 600;

/// Sequences.
const SEEDS: [u64; 2] = [7, 20_261_120];

/// Who calls; nobody first.
const CALLERS: [&str; 4] = ["", "root", "ann", "ben"];

/// In place of a path: a caller shows a password and keeps the token.
const LOG_IN: &str = "log in";

/// Numbers that look random (xorshift64*), the same for a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    /// Seldom root, without whom nothing changes any more.
    fn user(&mut self) -> &'static str {
        self.pick(&["ann", "ben", "ann", "ben", "root", "eve", ""])
    }

    /// Seldom root, to whom nothing is denied.
    fn role(&mut self) -> &'static str {
        match self.below(20) {
            0 => "root",
            1 => "",
            2 => "none",
            other => ["one", "two"][(other % 2) as usize],
        }
    }

    /// base64 of a to d, and ends: one key, up to c, up to d, all that follow, all with a prefix.
    fn span(&mut self) -> (&'static str, &'static str) {
        let key = self.pick(&["YQ==", "Yg==", "Yw==", "ZA=="]);
        (key, self.pick(&["", "", "Yw==", "ZA==", "AA==", "ZQ=="]))
    }

    fn permission(&mut self) -> Value {
        let (key, range_end) = self.span();
        let kind = self.pick(&["READ", "WRITE", "READWRITE"]);
        json!({"permType": kind, "key": key, "range_end": range_end})
    }

    /// Path and body of what changes users and roles.
    fn change(&mut self) -> (&'static str, Value) {
        let (user, role) = (self.user(), self.role());
        match self.below(14) {
            0 => ("auth/user/add", json!({"name": user, "password": user})),
            1 => {
                let options = json!({"no_password": true});
                ("auth/user/add", json!({"name": user, "options": options}))
            }
            2 => (
                "auth/user/delete",
                json!({"name": self.pick(&["ann", "ben", "eve"])}),
            ),
            3 => (
                "auth/user/changepw",
                json!({"name": user, "password": user}),
            ),
            4 | 5 => ("auth/user/grant", json!({"user": user, "role": role})),
            6 => {
                let user = self.pick(&["ann", "ben", "eve"]);
                ("auth/user/revoke", json!({"name": user, "role": role}))
            }
            7 => ("auth/role/add", json!({"name": role})),
            8 => (
                "auth/role/delete",
                json!({"role": self.pick(&["one", "two", "none"])}),
            ),
            9..=11 => (
                "auth/role/grant",
                json!({"name": role, "perm": self.permission()}),
            ),
            12 => {
                let (key, range_end) = self.span();
                let body = json!({"role": role, "key": key, "range_end": range_end});
                ("auth/role/revoke", body)
            }
            _ => (
                self.pick(&["auth/enable", "auth/enable", "auth/disable"]),
                json!({}),
            ),
        }
    }

    /// Path and body of what users do.
    fn use_of_keys(&mut self) -> (&'static str, Value) {
        let (key, range_end) = self.span();
        let put = json!({"key": key, "value": key, "prev_kv": self.below(3) == 0});
        let range = json!({"key": key, "range_end": range_end});
        match self.below(8) {
            0..=2 => ("kv/put", put),
            3 | 4 => ("kv/range", range),
            5 => ("kv/deleterange", range),
            6 => {
                let (other, end) = self.span();
                let compare = json!([{"key": other, "range_end": end, "target": "VERSION",
                    "result": "GREATER", "version": "0"}]);
                let body = json!({"compare": compare,
                    "success": [{"request_put": put}], "failure": [{"request_range": range}]});
                ("kv/txn", body)
            }
            _ => (
                self.pick(&[
                    "auth/user/list",
                    "auth/role/list",
                    "auth/status",
                    "cluster/member/list",
                    "maintenance/alarm",
                ]),
                json!({}),
            ),
        }
    }
}

/// A server and what its users hold.
struct Side {
    server: Server,
    tokens: BTreeMap<&'static str, String>,
}

impl Side {
    fn call(&self, caller: &'static str, path: &str, body: &Value) -> (u16, Value) {
        let token = self.tokens.get(caller).cloned().unwrap_or_default();
        let shown = [("Authorization", token.as_str())];
        let headers = if token.is_empty() { &[][..] } else { &shown };
        let target = format!("/v3/{path}");
        let mut connection = http::Connection::open(&self.server.address()).expect("it listens");
        let body = body.to_string();
        connection
            .send("POST", &target, headers, body.as_bytes())
            .expect("it reads");
        let answer = connection.response("POST").expect("it answers");
        let mut json = answer.json();
        // ids of members and who of them leads are each server's own
        if let Some(fields) = json.as_object_mut() {
            let revision = fields
                .remove("header")
                .map(|header| header["revision"].clone());
            fields.insert("revision".into(), revision.unwrap_or_default());
            // beside etcd 3.6's fields, for clients of the former gateway
            fields.remove("error");
            fields.remove("members");
            fields.remove("details");
        }
        (answer.status, json)
    }

    /// Authenticates, and keeps the token.
    fn log_in(&mut self, caller: &'static str) -> (u16, Value) {
        let body = json!({"name": caller, "password": caller});
        let (status, mut json) = self.call("", "auth/authenticate", &body);
        if let Some(token) = json["token"].take().as_str() {
            self.tokens.insert(caller, token.to_owned());
        }
        (status, json)
    }
}

/// Somebody who may do all, two who may do little, and auth on.
fn beginning() -> Vec<(&'static str, Value)> {
    let mut calls = vec![("auth/role/add", json!({"name": "one"}))];
    for name in &CALLERS[1..] {
        let role = if *name == "root" { "root" } else { "one" };
        calls.push(("auth/user/add", json!({"name": name, "password": name})));
        calls.push(("auth/user/grant", json!({"user": name, "role": role})));
    }
    calls.push(("auth/enable", json!({})));
    calls
}

/// One sequence; how many calls were denied, and how many were answered with auth on.
fn run(seed: u64) -> (usize, usize) {
    let mut sides = [Kind::Witan, Kind::Etcd36].map(|kind| Side {
        server: start(kind),
        tokens: BTreeMap::new(),
    });
    let beginning = beginning();
    let mut chance = Chance(seed);
    let (mut denied, mut served) = (0, 0);
    for step in 0..STEPS {
        let caller = CALLERS[chance.below(4) as usize];
        let administer = if chance.below(4) > 0 { "root" } else { caller };
        let (who, (path, body)) = match (beginning.get(step), chance.below(10)) {
            (Some((path, body)), _) => ("", (*path, body.clone())),
            (None, 0..=2) => (administer, chance.change()),
            (None, 3 | 4) => (CALLERS[1 + chance.below(3) as usize], (LOG_IN, Value::Null)),
            (None, _) => (caller, chance.use_of_keys()),
        };
        let [got, want] = sides.each_mut().map(|side| match path {
            LOG_IN => side.log_in(who),
            _ => side.call(who, path, &body),
        });
        assert_eq!(got, want, "seed {seed}, step {step}: {who:?} {path} {body}");
        denied += usize::from(got.1["message"] == "etcdserver: permission denied");
        served += usize::from(got.0 == 200 && path.starts_with("kv/") && !who.is_empty());
    }
    (denied, served)
}

#[test]
fn any_sequence_is_answered_as_etcd_does() {
    for seed in SEEDS {
        let (denied, served) = run(seed);
        assert!(
            denied > 20 && served > 20,
            "{denied} denied, {served} served"
        );
    }
}
