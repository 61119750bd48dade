//! Every path of the gateway, below its prefix, and the verb behind it.

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
    /// Its answer is a stream.
    Snapshot,
    Streamed(Streamed),
    /// Known, and not served yet: the name of the call.
    Unserved(&'static str),
}

/// What a path stands for whose answers are a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Streamed {
    Watch,
    LeaseKeepAlive,
}

use Verb::Unserved;

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
    ("auth/enable", Unserved("etcdserverpb.Auth/AuthEnable")),
    ("auth/disable", Unserved("etcdserverpb.Auth/AuthDisable")),
    ("auth/status", Unserved("etcdserverpb.Auth/AuthStatus")),
    (
        "auth/authenticate",
        Unserved("etcdserverpb.Auth/Authenticate"),
    ),
    ("auth/user/add", Unserved("etcdserverpb.Auth/UserAdd")),
    ("auth/user/get", Unserved("etcdserverpb.Auth/UserGet")),
    ("auth/user/list", Unserved("etcdserverpb.Auth/UserList")),
    ("auth/user/delete", Unserved("etcdserverpb.Auth/UserDelete")),
    (
        "auth/user/changepw",
        Unserved("etcdserverpb.Auth/UserChangePassword"),
    ),
    (
        "auth/user/grant",
        Unserved("etcdserverpb.Auth/UserGrantRole"),
    ),
    (
        "auth/user/revoke",
        Unserved("etcdserverpb.Auth/UserRevokeRole"),
    ),
    ("auth/role/add", Unserved("etcdserverpb.Auth/RoleAdd")),
    ("auth/role/get", Unserved("etcdserverpb.Auth/RoleGet")),
    ("auth/role/list", Unserved("etcdserverpb.Auth/RoleList")),
    ("auth/role/delete", Unserved("etcdserverpb.Auth/RoleDelete")),
    (
        "auth/role/grant",
        Unserved("etcdserverpb.Auth/RoleGrantPermission"),
    ),
    (
        "auth/role/revoke",
        Unserved("etcdserverpb.Auth/RoleRevokePermission"),
    ),
    ("lock/lock", Unserved("v3lockpb.Lock/Lock")),
    ("lock/unlock", Unserved("v3lockpb.Lock/Unlock")),
    (
        "election/campaign",
        Unserved("v3electionpb.Election/Campaign"),
    ),
    (
        "election/proclaim",
        Unserved("v3electionpb.Election/Proclaim"),
    ),
    ("election/leader", Unserved("v3electionpb.Election/Leader")),
    (
        "election/observe",
        Unserved("v3electionpb.Election/Observe"),
    ),
    ("election/resign", Unserved("v3electionpb.Election/Resign")),
];

/// The verb of a path below the prefix.
pub(in crate::api) fn verb(path: &str) -> Option<Verb> {
    TABLE
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, verb)| *verb)
}

#[cfg(test)]
mod tests {
    use super::*;

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
