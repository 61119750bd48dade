//! v3 auth: what real clients are told about users, roles and what they may not do, beside etcd.
//!
//! What does *not* live here: the rules one by one (`server/crates/machine/testdata/auth`), v2 auth.
#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, not what they call"
)]

mod life;
mod signed;
mod watching;

use witan_e2e::{Kind, Launch, Server};

/// A server whose passwords are hashed quickly.
fn start(kind: Kind) -> Server {
    Launch::new(kind).arg("--bcrypt-cost=4").start()
}

/// Users root (everything), alice (reads and writes `a` to `c`, reads `c` to `e`) and bob (nothing),
/// with auth on.
fn populate(server: &Server) {
    for (path, body) in [
        ("auth/user/add", r#"{"name":"alice","password":"a"}"#),
        ("auth/user/add", r#"{"name":"bob","password":"b"}"#),
        ("auth/role/add", r#"{"name":"app"}"#),
        (
            "auth/role/grant",
            r#"{"name":"app","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yw=="}}"#,
        ),
        (
            "auth/role/grant",
            r#"{"name":"app","perm":{"permType":"READ","key":"Yw==","range_end":"ZQ=="}}"#,
        ),
        ("auth/user/grant", r#"{"user":"alice","role":"app"}"#),
        // a, d and x
        ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
        ("kv/put", r#"{"key":"ZA==","value":"MQ=="}"#),
        ("kv/put", r#"{"key":"eA==","value":"MQ=="}"#),
    ] {
        server.v3(path, body);
    }
    server.require_users(&["root:r"]);
}
