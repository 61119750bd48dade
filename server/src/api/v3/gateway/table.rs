//! Every path of the gateway, below its prefix, and the verb behind it.

use witan_api::access::GatewayRoute;

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Verb {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
    MemberList,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberPromote,
    Status,
    Alarm,
    Defragment,
    Hash,
    HashKv,
    MoveLeader,
    Downgrade,
    LeaseGrant,
    LeaseRevoke,
    LeaseTimeToLive,
    LeaseLeases,
    AuthEnable,
    AuthDisable,
    AuthStatus,
    Authenticate,
    UserAdd,
    UserGet,
    UserList,
    UserDelete,
    UserPassword,
    UserGrant,
    UserRevoke,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleDelete,
    RoleGrant,
    RoleRevoke,
    /// Its answer is a stream.
    Snapshot,
    Lock,
    Unlock,
    Campaign,
    Proclaim,
    Leader,
    Resign,
    Streamed(Streamed),
}

/// What a path stands for whose answers are a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Streamed {
    Watch,
    LeaseKeepAlive,
    Observe,
}

const TABLE: &[(&str, Verb)] = &[
    ("kv/range", Verb::Range),
    ("kv/put", Verb::Put),
    ("kv/deleterange", Verb::DeleteRange),
    ("kv/txn", Verb::Txn),
    ("kv/compaction", Verb::Compact),
    ("cluster/member/list", Verb::MemberList),
    ("cluster/member/add", Verb::MemberAdd),
    ("cluster/member/remove", Verb::MemberRemove),
    ("cluster/member/update", Verb::MemberUpdate),
    ("cluster/member/promote", Verb::MemberPromote),
    ("maintenance/status", Verb::Status),
    ("maintenance/alarm", Verb::Alarm),
    ("watch", Verb::Streamed(Streamed::Watch)),
    ("lease/grant", Verb::LeaseGrant),
    ("lease/revoke", Verb::LeaseRevoke),
    ("kv/lease/revoke", Verb::LeaseRevoke),
    ("lease/keepalive", Verb::Streamed(Streamed::LeaseKeepAlive)),
    ("lease/timetolive", Verb::LeaseTimeToLive),
    ("kv/lease/timetolive", Verb::LeaseTimeToLive),
    ("lease/leases", Verb::LeaseLeases),
    ("kv/lease/leases", Verb::LeaseLeases),
    ("maintenance/defragment", Verb::Defragment),
    ("maintenance/hash", Verb::Hash),
    ("maintenance/hashkv", Verb::HashKv),
    ("maintenance/snapshot", Verb::Snapshot),
    ("maintenance/transfer-leadership", Verb::MoveLeader),
    ("maintenance/downgrade", Verb::Downgrade),
    ("auth/enable", Verb::AuthEnable),
    ("auth/disable", Verb::AuthDisable),
    ("auth/status", Verb::AuthStatus),
    ("auth/authenticate", Verb::Authenticate),
    ("auth/user/add", Verb::UserAdd),
    ("auth/user/get", Verb::UserGet),
    ("auth/user/list", Verb::UserList),
    ("auth/user/delete", Verb::UserDelete),
    ("auth/user/changepw", Verb::UserPassword),
    ("auth/user/grant", Verb::UserGrant),
    ("auth/user/revoke", Verb::UserRevoke),
    ("auth/role/add", Verb::RoleAdd),
    ("auth/role/get", Verb::RoleGet),
    ("auth/role/list", Verb::RoleList),
    ("auth/role/delete", Verb::RoleDelete),
    ("auth/role/grant", Verb::RoleGrant),
    ("auth/role/revoke", Verb::RoleRevoke),
    ("lock/lock", Verb::Lock),
    ("lock/unlock", Verb::Unlock),
    ("election/campaign", Verb::Campaign),
    ("election/proclaim", Verb::Proclaim),
    ("election/leader", Verb::Leader),
    ("election/observe", Verb::Streamed(Streamed::Observe)),
    ("election/resign", Verb::Resign),
];

/// Every path below the prefix.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(path, _)| *path)
}

/// The verb of a path below the prefix.
pub(in crate::api) fn verb(path: &str) -> Option<Verb> {
    TABLE
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, verb)| *verb)
}

/// The method of gRPC that a path below the prefix calls; empty if it calls none.
pub(super) fn method(path: &str) -> &'static str {
    GatewayRoute::of(path).map_or("", |route| route.method)
}

#[cfg(test)]
mod tests {
    use witan_api::access::GATEWAY;

    use super::*;

    #[test]
    fn every_path_is_listed_with_its_access() {
        let listed: Vec<&str> = GATEWAY.iter().map(|route| route.path).collect();
        for path in paths() {
            assert!(
                listed.contains(&path),
                "{path} has no row in witan_api::access"
            );
        }
        assert_eq!(listed.len(), paths().count());
    }

    #[test]
    fn paths_are_distinct_and_exact() {
        for (path, expect) in TABLE {
            assert_eq!(verb(path), Some(*expect), "{path} stands twice");
        }
        assert_eq!(verb("kv/range/"), None);
        assert_eq!(verb("kv"), None);
        assert_eq!(verb(""), None);
    }
}
