//! All HTTP/1 paths except the gateway's, with their methods and the required access.

use self::PathScope::{One, Token, Tree};
use super::Access::{self, Public, Root, V2Keys, V3User};
use crate::{discovery, top};

/// The resource at a path. It selects the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Keys, watches, members and statistics of v1.
    V1,
    /// A resource of v2.
    V2(V2Resource),
    /// Versions, metrics, health checks, `/debug/vars` and `/debug/top`.
    Operations,
    /// The log level.
    LogLevel,
    /// The recordings of the flight recorder.
    FlightRecorder,
    /// The progress of following another cluster, and the cut-over.
    Follow,
    /// The feature level of the cluster.
    Level,
    /// The gateway's OpenAPI document.
    OpenApi,
    /// Files of the console.
    Console,
    /// The path that creates discovery tokens.
    NewToken,
    /// A discovery token and the members that have registered below it.
    Token,
}

/// The resources of v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V2Resource {
    /// Keys of v2.
    Keys,
    /// Members in v2's format.
    Members,
    /// Users, roles and the authentication switch of v2.
    Auth,
    /// Client URLs of all members as text.
    Machines,
    /// Statistics of this member.
    StatsSelf,
    /// The leader's statistics about its followers.
    StatsLeader,
    /// Counters of operations on v2 keys.
    StatsStore,
}

/// The paths that a route covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathScope {
    /// Only the path.
    One,
    /// The path and everything below it.
    Tree,
    /// Any discovery token and everything below it.
    Token,
}

/// A path, and the access that each of its methods requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// The decoded and cleaned path; `/<token>` for [`PathScope::Token`].
    pub path: &'static str,
    /// The paths that the route covers.
    pub scope: PathScope,
    /// The resource at these paths.
    pub resource: Resource,
    /// The methods, each with the access that it requires.
    pub methods: &'static [(&'static str, Access)],
}

const READ_BY_USERS: &[(&str, Access)] = &[("GET", V3User), ("HEAD", V3User)];
const SHOWN_TO_USERS: &[(&str, Access)] = &[("GET", V3User)];
const PUBLIC_GET: &[(&str, Access)] = &[("GET", Public)];
const ROOT_ONLY: &[(&str, Access)] = &[("GET", Root), ("PUT", Root), ("DELETE", Root)];

/// All routes. The first route that matches a path applies.
#[rustfmt::skip]
pub const HTTP: &[HttpRoute] = &[
    route("/v2/keys", Tree, Resource::V2(V2Resource::Keys), &[("GET", V2Keys), ("HEAD", V2Keys), ("PUT", V2Keys), ("POST", V2Keys), ("DELETE", V2Keys)]),
    route("/v2/members", Tree, Resource::V2(V2Resource::Members), &[("GET", V3User), ("POST", Root), ("PUT", Root), ("DELETE", Root)]),
    route("/v2/auth/enable", One, Resource::V2(V2Resource::Auth), &[("GET", Public), ("PUT", Root), ("DELETE", Root)]),
    route("/v2/auth/users", Tree, Resource::V2(V2Resource::Auth), ROOT_ONLY),
    route("/v2/auth/roles", Tree, Resource::V2(V2Resource::Auth), ROOT_ONLY),
    route("/v2/machines", One, Resource::V2(V2Resource::Machines), READ_BY_USERS),
    route("/v2/stats/self", One, Resource::V2(V2Resource::StatsSelf), SHOWN_TO_USERS),
    route("/v2/stats/leader", One, Resource::V2(V2Resource::StatsLeader), SHOWN_TO_USERS),
    route("/v2/stats/store", One, Resource::V2(V2Resource::StatsStore), PUBLIC_GET),
    route("/v1/keys/_etcd/machines", Tree, Resource::V1, SHOWN_TO_USERS),
    route("/v1/keys", Tree, Resource::V1, &[("GET", V2Keys), ("PUT", V2Keys), ("POST", V2Keys), ("DELETE", V2Keys)]),
    route("/v1/watch", Tree, Resource::V1, &[("GET", V2Keys), ("POST", V2Keys)]),
    route("/v1/leader", One, Resource::V1, SHOWN_TO_USERS),
    route("/leader", One, Resource::V1, SHOWN_TO_USERS),
    route("/v1/machines", One, Resource::V1, SHOWN_TO_USERS),
    route("/machines", One, Resource::V1, SHOWN_TO_USERS),
    route("/v1/stats/self", One, Resource::V1, SHOWN_TO_USERS),
    route("/v1/stats/leader", One, Resource::V1, SHOWN_TO_USERS),
    route("/v1/stats/store", One, Resource::V1, PUBLIC_GET),
    route("/version", One, Resource::Operations, PUBLIC_GET),
    route("/health", One, Resource::Operations, PUBLIC_GET),
    route("/livez", Tree, Resource::Operations, PUBLIC_GET),
    route("/readyz", Tree, Resource::Operations, PUBLIC_GET),
    // As in etcd, every method is handled as GET.
    route("/metrics", One, Resource::Operations, &[("GET", Public), ("HEAD", Public), ("POST", Public), ("PUT", Public), ("DELETE", Public)]),
    // Shows the command line and Raft's state.
    route("/debug/vars", One, Resource::Operations, &[("GET", Root)]),
    // Contains keys, user names and member addresses.
    route("/debug/flight-recorder", One, Resource::FlightRecorder, &[("GET", Root)]),
    // Shows prefixes of keys.
    route(top::PATH, One, Resource::Operations, &[("GET", Root)]),
    route("/config/local/log", One, Resource::LogLevel, &[("PUT", Root)]),
    route("/follow", One, Resource::Follow, &[("GET", Root)]),
    route("/follow/cut-over", One, Resource::Follow, &[("POST", Root)]),
    route("/follow/source-gone", One, Resource::Follow, &[("POST", Root)]),
    route("/level", One, Resource::Level, &[("GET", Root)]),
    route("/level/raise", One, Resource::Level, &[("POST", Root)]),
    route("/openapi.json", One, Resource::OpenApi, &[("GET", Public), ("HEAD", Public)]),
    // The files contain no data. The page requests data with the credentials of its user.
    route("/console", Tree, Resource::Console, &[("GET", Public), ("HEAD", Public)]),
    // Every method creates a token, as in the public service.
    route(discovery::NEW, One, Resource::NewToken, &[("GET", Root), ("HEAD", Root), ("POST", Root), ("PUT", Root), ("DELETE", Root)]),
    // The token itself is the credential, because members without a cluster have no user.
    route("/<token>", Token, Resource::Token, &[("GET", Public), ("HEAD", Public), ("PUT", Public), ("DELETE", Public)]),
];

const fn route(
    path: &'static str,
    scope: PathScope,
    resource: Resource,
    methods: &'static [(&'static str, Access)],
) -> HttpRoute {
    HttpRoute { path, scope, resource, methods }
}

impl HttpRoute {
    /// Returns the route of a decoded and cleaned path, or `None` if the path is unknown.
    pub fn of(path: &[u8]) -> Option<&'static Self> {
        HTTP.iter().find(|route| route.covers(path))
    }

    /// Returns the access that a method requires. An unlisted method requires [`Access::Root`], and the handler rejects it.
    pub fn access(&self, method: &str) -> Access {
        let listed = self.methods.iter().find(|(known, _)| *known == method);
        listed.map_or(Root, |(_, access)| *access)
    }

    /// Returns whether a request with this method can change members, users, roles, the feature level or following, or create a
    /// discovery token. GET and HEAD change nothing, except that every method of `/new` creates a token. The caller's access is
    /// not checked again when such a change is applied.
    pub fn changes_cluster(&self, method: &str) -> bool {
        let of_cluster = matches!(
            self.resource,
            Resource::V2(V2Resource::Members | V2Resource::Auth)
                | Resource::Level
                | Resource::Follow
        );
        let creates_token = self.resource == Resource::NewToken;
        creates_token || of_cluster && !matches!(method, "GET" | "HEAD")
    }

    /// Returns whether the route covers a decoded and cleaned path.
    fn covers(&self, path: &[u8]) -> bool {
        let below = path.strip_prefix(self.path.as_bytes());
        match self.scope {
            PathScope::One => below == Some(b""),
            PathScope::Tree => below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
            PathScope::Token => discovery::split_token(path).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_the_cluster_are_checked_against_its_latest_state() {
        for (method, path, expect) in [
            ("GET", "/v2/members", false),
            ("POST", "/v2/members", true),
            ("DELETE", "/v2/members/1", true),
            ("GET", "/v2/auth/users", false),
            ("PUT", "/v2/auth/users/alice", true),
            ("PUT", "/v2/auth/enable", true),
            ("GET", "/level", false),
            ("POST", "/level/raise", true),
            ("POST", "/follow/cut-over", true),
            ("GET", "/new", true),
            ("PUT", "/config/local/log", false),
            ("POST", "/metrics", false),
            ("GET", "/debug/vars", false),
            ("PUT", "/v2/keys/a", false),
        ] {
            let route = HttpRoute::of(path.as_bytes()).unwrap();
            assert_eq!(route.changes_cluster(method), expect, "{method} {path}");
        }
    }

    #[test]
    fn every_row_is_reachable_and_an_unlisted_method_requires_root() {
        for route in HTTP {
            let path = route.path.replace("<token>", &"a1".repeat(16));
            assert_eq!(HttpRoute::of(path.as_bytes()), Some(route));
            assert_eq!(route.access("BREW"), Root, "{}", route.path);
            for (method, access) in route.methods {
                assert_eq!(route.access(method), *access, "{} twice", route.path);
            }
        }
    }
}
