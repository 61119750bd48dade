//! v3 auth: what real clients are told about users, roles and what they may not do, beside etcd.
//!
//! What does *not* live here: the rules one by one (`server/crates/machine/testdata/auth`), v2 auth.
#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, not what they call"
)]

mod etcdctl;
mod life;
mod signed;
mod watching;

use witan_e2e::{Kind, Launch, Server, Tool};

/// A server whose passwords are hashed quickly.
fn start(kind: Kind) -> Server {
    Launch::new(kind).arg("--bcrypt-cost=4").start()
}

/// The output of a command that must be the same at every server.
fn said(tool: Tool, server: &Server, args: &[&str], input: &str) -> String {
    let said = tool.run_with_input(&server.url(), args, input);
    // the client's own log
    let errors = said.stderr.lines().filter(|line| !line.starts_with('{'));
    let errors: String = errors.map(|line| format!("{line}\n")).collect();
    format!("{:?}\n{}{errors}", said.code, said.stdout)
}

/// A command that must succeed.
fn done(server: &Server, args: &[&str]) {
    let said = Tool::Etcdctl36.run(&server.url(), args);
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.all());
}

/// Users root (everything), alice (reads and writes `a` to `c`, reads `c` to `e`) and bob (nothing),
/// with auth on.
fn populate(server: &Server) {
    for line in [
        "user add root:r",
        "user grant-role root root",
        "user add alice:a",
        "user add bob:b",
        "role add app",
        "role grant-permission app readwrite a c",
        "role grant-permission app read c e",
        "user grant-role alice app",
        "put a 1",
        "put d 1",
        "put x 1",
        "auth enable",
    ] {
        done(server, &line.split(' ').collect::<Vec<_>>());
    }
}
