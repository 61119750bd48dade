//! Random calls about few users, roles and keys, so that calls affect each other.

use serde_json::{Value, json};

use super::step::Call;
use crate::{coverage::Row, rng::Rng};

/// The row of reads and writes with a token.
pub(super) const KEYS_ROW: &str = "keys of a user";
/// The row of other calls with a token.
pub(super) const RIGHTS_ROW: &str = "other calls of a user";

/// The cells that a run must cover.
pub(super) const TABLE: &[Row] = &[
    ("auth/user/add", "ok refused"),
    ("auth/user/delete", "ok refused"),
    ("auth/user/changepw", "ok refused"),
    ("auth/user/grant", "ok refused"),
    ("auth/user/revoke", "ok refused"),
    ("auth/user/list", "ok refused"),
    ("auth/role/add", "ok refused"),
    ("auth/role/delete", "ok refused"),
    ("auth/role/grant", "ok refused"),
    ("auth/role/revoke", "ok refused"),
    ("auth/role/list", "ok refused"),
    ("auth/enable", "ok refused"),
    ("auth/disable", "ok refused"),
    ("auth/status", "ok refused"),
    ("auth/authenticate", "ok refused"),
    ("cluster/member/list", "ok refused"),
    ("maintenance/alarm", "ok refused"),
    ("kv/put", "ok refused"),
    ("kv/range", "ok refused"),
    ("kv/deleterange", "ok refused"),
    ("kv/txn", "ok refused"),
    (KEYS_ROW, "ok denied refused"),
    (RIGHTS_ROW, "ok denied refused"),
];

/// The callers that present a token.
const CALLERS: [&str; 3] = ["root", "ann", "ben"];
/// Names of users. `root` is rare, because deleting it would prevent all further changes.
const USERS: [&str; 7] = ["ann", "ben", "ann", "ben", "root", "eve", ""];
const OTHERS: [&str; 3] = ["ann", "ben", "eve"];
/// Roles with weights. `root` is rare, because it has all permissions.
const ROLES: [(u64, &str); 5] = [(1, "root"), (1, ""), (1, "none"), (8, "one"), (9, "two")];
/// The keys a to d in base64.
const KEYS: [&str; 4] = ["YQ==", "Yg==", "Yw==", "ZA=="];
/// Ends of ranges: a single key, up to c, up to d, all following keys, and up to e.
const ENDS: [&str; 6] = ["", "", "Yw==", "ZA==", "AA==", "ZQ=="];

/// Returns the sequence of calls for a seed. The first calls enable auth.
pub(super) fn sequence(seed: u64, count: usize) -> Vec<Call> {
    let mut rng = Rng::new(seed);
    let mut calls = beginning();
    calls.truncate(count);
    while calls.len() < count {
        let caller = [None, Some("root"), Some("ann"), Some("ben")][rng.below(4)];
        let (caller, (path, body)) = match rng.below(10) {
            0..=2 if rng.chance(75) => (Some("root"), change(&mut rng)),
            0..=2 => (caller, change(&mut rng)),
            3 | 4 => {
                let name = rng.pick(&CALLERS);
                let body = json!({"name": name, "password": name});
                (None, ("auth/authenticate", body))
            }
            _ => (caller, use_of_keys(&mut rng)),
        };
        calls.push(Call { caller: caller.map(str::to_owned), ..Call::new(path, body) });
    }
    calls
}

/// Returns calls that create a user with all permissions and two users with few, and enable auth.
fn beginning() -> Vec<Call> {
    let mut calls = vec![Call::new("auth/role/add", json!({"name": "one"}))];
    for name in CALLERS {
        let role = if name == "root" { "root" } else { "one" };
        let user = json!({"name": name, "password": name});
        calls.push(Call::new("auth/user/add", user));
        let grant = json!({"user": name, "role": role});
        calls.push(Call::new("auth/user/grant", grant));
    }
    calls.push(Call::new("auth/enable", json!({})));
    calls
}

/// Draws the path and the body of a call that changes users or roles.
fn change(rng: &mut Rng) -> (&'static str, Value) {
    let (user, other, role) = (*rng.pick(&USERS), *rng.pick(&OTHERS), rng.weighted(&ROLES));
    let (key, range_end) = (rng.pick(&KEYS), rng.pick(&ENDS));
    match rng.below(15) {
        0 => ("auth/user/add", json!({"name": user, "password": user})),
        1 => {
            let options = json!({"no_password": true});
            ("auth/user/add", json!({"name": user, "options": options}))
        }
        2 => ("auth/user/delete", json!({"name": other})),
        3 => (
            "auth/user/changepw",
            json!({"name": user, "password": user}),
        ),
        4 | 5 => ("auth/user/grant", json!({"user": user, "role": role})),
        6 => {
            let role = rng.pick(&["one", "two"]);
            ("auth/user/revoke", json!({"name": other, "role": role}))
        }
        7 => ("auth/role/add", json!({"name": role})),
        8 => (
            "auth/role/delete",
            json!({"role": rng.pick(&["one", "two", "none"])}),
        ),
        9..=11 => {
            let kind = rng.pick(&["READ", "WRITE", "READWRITE"]);
            let perm = json!({"permType": kind, "key": key, "range_end": range_end});
            ("auth/role/grant", json!({"name": role, "perm": perm}))
        }
        12 => {
            let body = json!({"role": role, "key": key, "range_end": range_end});
            ("auth/role/revoke", body)
        }
        // Auth is enabled most of the time, so that some calls are denied.
        _ if rng.chance(20) => ("auth/disable", json!({})),
        _ => ("auth/enable", json!({})),
    }
}

/// Draws the path and the body of a call that a user makes.
fn use_of_keys(rng: &mut Rng) -> (&'static str, Value) {
    let (key, range_end) = (rng.pick(&KEYS), rng.pick(&ENDS));
    let put = json!({"key": key, "value": key, "prev_kv": rng.below(3) == 0});
    let range = json!({"key": key, "range_end": range_end});
    match rng.below(8) {
        0..=2 => ("kv/put", put),
        3 | 4 => ("kv/range", range),
        5 => ("kv/deleterange", range),
        6 => {
            let compare = json!([{"key": rng.pick(&KEYS), "range_end": rng.pick(&ENDS),
                "target": "VERSION", "result": "GREATER", "version": "0"}]);
            let body = json!({"compare": compare,
                "success": [{"request_put": put}], "failure": [{"request_range": range}]});
            ("kv/txn", body)
        }
        _ => {
            let paths = [
                "auth/user/list",
                "auth/role/list",
                "auth/status",
                "cluster/member/list",
                "maintenance/alarm",
            ];
            (rng.pick::<&str>(&paths), json!({}))
        }
    }
}
