//! Compares `docs/reference/access.md` with the tables of routes, from which it is generated.

use std::fmt::Write as _;

use super::{Access, GRPC, HTTP, PathScope};

const HEAD: &str = "\
# Access

Each API applies the same permissions to a resource. `AuthEnable` enables authentication for v3 keys, leases, watches, locks and
elections. `/v2/auth/enable` enables it for v2 and v1 keys. Users and roles belong to both key spaces. If either authentication is
enabled, managing users, roles and members requires the role `root`. The same applies to snapshots, hashes, defragmentation,
raising or clearing alarms, and changing the log level.

Each protocol accepts different credentials. `Authenticate` returns tokens while either authentication is enabled.

- gRPC accepts a token from `Authenticate` or, with `--client-cert-auth`, a client certificate.
- The gateway and its WebSockets accept the token.
- All other HTTP/1 paths accept Basic authentication. Except for v2 and v1 keys, they also accept the token. A client certificate
  does not authenticate a user there.

The following paths need an explanation:

- `/debug/flight-recorder` returns keys and user names in plaintext, but zeros instead of values.
- `/debug/top` shows which key prefixes are read, written and watched, but no values.
- `/follow` reports how far this cluster lags behind its source. `/follow/cut-over` switches over to this cluster, and
  `/follow/source-gone` stops the checks of the source.
- `/level` shows the feature level of the cluster and the releases of its members. `/level/raise` raises the level.
- `/<token>` is a discovery token of 32 hexadecimal digits (128 bits). Anyone who knows the token can register a member, because a
  member without a cluster has no user yet. `/new`, which creates a token, requires `root` while either authentication is enabled.
- `/v2/keys/_etcd/registry` contains all tokens. While v2 authentication is enabled, listing or watching it requires `root`,
  regardless of the patterns. So does a recursive read or watch of `/_etcd`. The same applies to v1. Below a token, only the
  patterns apply.

`--enable-v2=false` disables all paths below `/v2` and `/v1`, and `/leader`, `/machines`, `/new` and `/<token>`: they return 404.
`--enable-v1=false` disables only the paths of v1. `--enable-grpc-gateway=false` disables the gateway. `/console` returns 404
without `--enable-console`.

This page is generated from `server/crates/api/src/access`, which also defines how the server routes and authorizes requests.
`tests/e2e/tests/access` calls every row without credentials, with wrong credentials, as a user without permissions and as root.
It repeats the calls with no authentication enabled, with only v2 or v3 authentication, and with both.

";

/// Returns the text of `docs/reference/access.md`.
fn markdown() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("| access | meaning |\n|---|---|\n");
    for access in Access::ALL {
        row(&mut out, &[access.name(), description(access)]);
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
         The gateway serves each path below `/v3`, `/v3beta` and `/v3alpha`. Any user can list alarms \
         with `Alarm`, but only `root` can raise or clear one.\n\n\
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

/// Returns the meaning of an access, for the table of the page.
fn description(access: Access) -> &'static str {
    match access {
        Access::Public => "anyone, without credentials",
        Access::V3Keys => "a user with permission on the keys, if v3 authentication is enabled",
        Access::V3User => "any user, if v3 authentication is enabled",
        Access::V3Root => "a user with the role `root`, if v3 authentication is enabled",
        Access::V2Keys => {
            "a user or guest with a pattern that covers the key, if v2 authentication is enabled"
        }
        Access::OwnUser => {
            "the user that the request names, a user with the role that it names, or a user with \
             the role `root`, if either authentication is enabled"
        }
        Access::Root => "a user with the role `root`, if either authentication is enabled",
    }
}

/// After changing a table, run `UPDATE=1 cargo test -p witan-api access_page`.
#[test]
fn the_access_page_is_up_to_date() {
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
        "docs/reference/access.md differs from the tables of routes"
    );
}
