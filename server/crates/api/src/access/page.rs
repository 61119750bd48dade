//! Generates `docs/reference/access.md` from the tables of routes.

use std::fmt::Write as _;

use super::{Access, GRPC, HTTP, PathScope};

const HEAD: &str = "\
# Who may call what

A resource that one dialect protects is protected in all other dialects. `AuthEnable` enables authentication for v3's
keys, leases, watches, locks and elections. `/v2/auth/enable` enables it for the keys of v2 and v1. Everything that
belongs to both key spaces (users and roles, membership changes, snapshots, hashes, defragmentation, alarms, the log
level) requires the role root if either is enabled. Both have the same users.

Credentials: gRPC takes a token of `Authenticate` or, with `--client-cert-auth`, a client certificate; the
gateway and WebSockets take the token; every other path of HTTP/1 takes Basic authentication, and everything
but keys of v2 and v1 takes the token, too. `Authenticate` gives tokens as soon as either authentication is
on.

`/debug/flight-recorder` contains keys and user names in clear text, and zeros in place of values. `/debug/top` shows which
key prefixes are read, written and watched, but never values; as on every HTTP/1 path, certificates do not
authenticate users there. `/follow` reports how far this cluster lags behind its source, `/follow/cut-over` switches over to
this cluster, and `/follow/source-gone` stops the checks of the source. `/level` shows the feature level of the cluster
and the releases of its members, and `/level/raise` raises the level.

`/<token>` is a token of discovery, 32 hexadecimal digits. It is a secret of 128 bits: anyone who knows it may
register a member, because a member without a cluster has no user yet. Creating a token requires root as soon
as either authentication is on.

With `--enable-v2=false`, every path below `/v2`, `/v1` and `/leader`, `/machines`, `/new` and `/<token>` is 404. With
`--enable-v1=false`, the paths of v1 are 404. Both are enabled by default; v1 exposes the same keys as v2 and requires
the same access. `--enable-grpc-gateway=false` disables the gateway. `/console` is 404 without `--enable-console`.

This page is generated from `server/crates/api/src/access`, by which the server routes and authorizes.
`tests/e2e/tests/access` calls every row of a running member without credentials, with wrong ones, as a
user without rights and as root, while no authentication, v2's, v3's and both are on.

";

/// Returns the text of `docs/reference/access.md`.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("| access | meaning |\n|---|---|\n");
    for access in Access::ALL {
        row(&mut out, &[access.name(), access.description()]);
    }
    out.push_str("\n## HTTP/1\n\n| path | method | access |\n|---|---|---|\n");
    for route in HTTP {
        let path = match route.scope {
            PathScope::One => format!("`{}`", route.path),
            PathScope::Tree | PathScope::Token => format!("`{}`, `{}/…`", route.path, route.path),
        };
        let mut asked: Vec<(Access, Vec<&str>)> = Vec::new();
        for (method, access) in route.methods {
            match asked.iter_mut().find(|(known, _)| known == access) {
                Some((_, methods)) => methods.push(method),
                None => asked.push((*access, vec![method])),
            }
        }
        for (access, methods) in asked {
            row(&mut out, &[&path, &methods.join(", "), access.name()]);
        }
    }
    out.push_str(
        "\n## gRPC, the gateway and its WebSockets\n\n\
         Paths of the gateway are below `/v3`, `/v3beta` and `/v3alpha`. `Alarm` lists for any user \
         and requires root to raise or lower one.\n\n\
         | method | path | access |\n|---|---|---|\n",
    );
    for route in GRPC {
        let paths: Vec<String> = route.paths.iter().map(|path| format!("`{path}`")).collect();
        let (method, paths) = (format!("`{}`", route.method), paths.join(", "));
        row(&mut out, &[&method, &paths, route.access.name()]);
    }
    out
}

fn row(out: &mut String, cells: &[&str]) {
    writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After changing a table, run `UPDATE=1 cargo test -p witan-api access_page`.
    #[test]
    fn the_access_page_is_fresh() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../docs/reference/access.md"
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/reference/access.md differs from the list"
        );
    }
}
