//! All HTTP/1 paths except those of the gateway, with their methods.

use super::Access::{self, Public, Root, V2Keys, V3User};
use crate::{discovery, top};

/// The resource behind a path, which selects its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Keys, watches, members and counters of v1.
    V1,
    /// One of v2.
    V2(V2Resource),
    /// Versions, metrics, health checks, variables, who uses which keys.
    Operations,
    /// The log level, which can be changed.
    LogLevel,
    /// The recordings of the flight recorder.
    FlightRecorder,
    /// How far another cluster was followed, and the cut-over.
    Follow,
    /// OpenAPI document of the gateway.
    OpenApi,
    /// Files of the console.
    Console,
    /// Makes tokens of discovery.
    NewToken,
    /// A token of discovery with the members that have registered.
    Token,
}

/// The resources of v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V2Resource {
    /// Keys of v2.
    Keys,
    /// Members in v2's form.
    Members,
    /// v2's users and roles, and whether its authentication is on.
    Auth,
    /// Client URLs of all members, as text.
    Machines,
    /// Counters of the member.
    StatsSelf,
    /// Statistics that the leader has of its followers.
    StatsLeader,
    /// Counters of operations on v2's keys.
    StatsStore,
}

/// The paths that belong to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathScope {
    /// The path alone.
    One,
    /// The path and all below it.
    Tree,
    /// Every token of discovery and all below it.
    Token,
}

/// A path, and who may use it with which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Decoded and clean; `/<token>` for [`PathScope::Token`].
    pub path: &'static str,
    /// The paths that belong to the route.
    pub scope: PathScope,
    /// The resource of the route.
    pub resource: Resource,
    /// Methods with the access that each requires.
    pub methods: &'static [(&'static str, Access)],
}

const READ_BY_USERS: &[(&str, Access)] = &[("GET", V3User), ("HEAD", V3User)];
const SHOWN_TO_USERS: &[(&str, Access)] = &[("GET", V3User)];
const SHOWN: &[(&str, Access)] = &[("GET", Public)];
const MANAGED: &[(&str, Access)] = &[("GET", Root), ("PUT", Root), ("DELETE", Root)];

/// All routes; the first one that matches a path counts.
#[rustfmt::skip]
pub const HTTP: &[HttpRoute] = &[
    tree("/v2/keys", Resource::V2(V2Resource::Keys), &[("GET", V2Keys), ("HEAD", V2Keys), ("PUT", V2Keys), ("POST", V2Keys), ("DELETE", V2Keys)]),
    tree("/v2/members", Resource::V2(V2Resource::Members), &[("GET", V3User), ("POST", Root), ("PUT", Root), ("DELETE", Root)]),
    one("/v2/auth/enable", Resource::V2(V2Resource::Auth), &[("GET", Public), ("PUT", Root), ("DELETE", Root)]),
    tree("/v2/auth/users", Resource::V2(V2Resource::Auth), MANAGED),
    tree("/v2/auth/roles", Resource::V2(V2Resource::Auth), MANAGED),
    one("/v2/machines", Resource::V2(V2Resource::Machines), READ_BY_USERS),
    one("/v2/stats/self", Resource::V2(V2Resource::StatsSelf), SHOWN_TO_USERS),
    one("/v2/stats/leader", Resource::V2(V2Resource::StatsLeader), SHOWN_TO_USERS),
    one("/v2/stats/store", Resource::V2(V2Resource::StatsStore), SHOWN),
    // the members as files, which requests can only read
    tree("/v1/keys/_etcd/machines", Resource::V1, SHOWN_TO_USERS),
    tree("/v1/keys", Resource::V1, &[("GET", V2Keys), ("PUT", V2Keys), ("POST", V2Keys), ("DELETE", V2Keys)]),
    tree("/v1/watch", Resource::V1, &[("GET", V2Keys), ("POST", V2Keys)]),
    one("/v1/leader", Resource::V1, SHOWN_TO_USERS),
    one("/leader", Resource::V1, SHOWN_TO_USERS),
    one("/v1/machines", Resource::V1, SHOWN_TO_USERS),
    one("/machines", Resource::V1, SHOWN_TO_USERS),
    one("/v1/stats/self", Resource::V1, SHOWN_TO_USERS),
    one("/v1/stats/leader", Resource::V1, SHOWN_TO_USERS),
    one("/v1/stats/store", Resource::V1, SHOWN),
    one("/version", Resource::Operations, SHOWN),
    one("/health", Resource::Operations, SHOWN),
    tree("/livez", Resource::Operations, SHOWN),
    tree("/readyz", Resource::Operations, SHOWN),
    // any method counts as GET, as in etcd
    one("/metrics", Resource::Operations, &[("GET", Public), ("HEAD", Public), ("POST", Public), ("PUT", Public), ("DELETE", Public)]),
    // shows the command line and raft's state
    one("/debug/vars", Resource::Operations, &[("GET", Root)]),
    // shows keys, names of users and addresses of members
    one("/debug/flight-recorder", Resource::FlightRecorder, &[("GET", Root)]),
    // shows names of keys, and addresses of clients
    one(top::PATH, Resource::Operations, &[("GET", Root)]),
    one("/config/local/log", Resource::LogLevel, &[("PUT", Root)]),
    one("/follow", Resource::Follow, &[("GET", Root)]),
    one("/follow/cut-over", Resource::Follow, &[("POST", Root)]),
    one("/follow/source-gone", Resource::Follow, &[("POST", Root)]),
    one("/openapi.json", Resource::OpenApi, &[("GET", Public), ("HEAD", Public)]),
    // the same files for everybody: what the page shows it asks for as its user
    tree("/console", Resource::Console, &[("GET", Public), ("HEAD", Public)]),
    // every method makes a token, as on the public service
    one(discovery::NEW, Resource::NewToken, &[("GET", Root), ("HEAD", Root), ("POST", Root), ("PUT", Root), ("DELETE", Root)]),
    // the token itself is the proof: members that do not have a cluster yet have no user either
    HttpRoute { path: "/<token>", scope: PathScope::Token, resource: Resource::Token, methods: &[("GET", Public), ("HEAD", Public), ("PUT", Public), ("DELETE", Public)] },
];

/// A route of this path alone.
const fn one(
    path: &'static str,
    resource: Resource,
    methods: &'static [(&'static str, Access)],
) -> HttpRoute {
    HttpRoute { path, scope: PathScope::One, resource, methods }
}

/// A route of this path and all below it.
const fn tree(
    path: &'static str,
    resource: Resource,
    methods: &'static [(&'static str, Access)],
) -> HttpRoute {
    HttpRoute { path, scope: PathScope::Tree, resource, methods }
}

impl HttpRoute {
    /// The route of a decoded and cleaned path.
    pub fn of(path: &[u8]) -> Option<&'static Self> {
        HTTP.iter().find(|route| route.holds(path))
    }

    /// Access that a method requires. A method that is not listed requires [`Access::Root`], so
    /// that it is never open to everybody; the handler of the path refuses it.
    pub fn access(&self, method: &str) -> Access {
        let listed = self.methods.iter().find(|(known, _)| *known == method);
        listed.map_or(Root, |(_, access)| *access)
    }

    /// Whether the path belongs to this route.
    fn holds(&self, path: &[u8]) -> bool {
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
    fn whole_components_name_a_route() {
        let named = |path: &str| HttpRoute::of(path.as_bytes()).map(|route| route.path);
        assert_eq!(named("/v2/keys"), Some("/v2/keys"));
        assert_eq!(named("/v2/keys/a/b"), Some("/v2/keys"));
        assert_eq!(named("/v2/keysfoo"), None);
        assert_eq!(named("/v2/stats/self/"), None);
        assert_eq!(
            named("/v1/keys/_etcd/machines/a"),
            Some("/v1/keys/_etcd/machines")
        );
        assert_eq!(named("/v1/keys/_etcd/machinesx"), Some("/v1/keys"));
        assert_eq!(named("/"), None);
    }

    #[test]
    fn every_row_can_be_reached_and_an_unlisted_method_asks_for_root() {
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
