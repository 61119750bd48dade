//! Compares v3 auth with etcd's: the responses to real clients about users, roles and denied calls.
//!
//! `server/crates/machine/testdata/auth` tests the individual rules, and `v2/auth.rs` v2 auth.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

mod life;
mod signed;
mod watching;

use witan_e2e::{Kind, Launch, Server, rows};

fn start(kind: Kind) -> Server {
    Launch::new(kind).arg("--bcrypt-cost=4").start()
}

/// Creates users root (all permissions), alice (reads and writes `[a, c)`, reads `[c, e)`) and bob (no permissions). Enables
/// auth.
fn populate(server: &Server) {
    // The keys are a, d and x.
    let calls = r#"
        auth/user/add {"name":"alice","password":"a"}
        auth/user/add {"name":"bob","password":"b"}
        auth/role/add {"name":"app"}
        auth/role/grant {"name":"app","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yw=="}}
        auth/role/grant {"name":"app","perm":{"permType":"READ","key":"Yw==","range_end":"ZQ=="}}
        auth/user/grant {"user":"alice","role":"app"}
        kv/put {"key":"YQ==","value":"MQ=="}
        kv/put {"key":"ZA==","value":"MQ=="}
        kv/put {"key":"eA==","value":"MQ=="}
    "#;
    for [path, body] in rows(calls) {
        server.v3(path, body);
    }
    server.require_users(&["root:r"]);
}
