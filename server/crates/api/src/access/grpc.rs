//! Every method of gRPC, and every path of the JSON gateway with the method that it calls.

use super::Access::{self, Own, Public, Root, V3Keys, V3Root, V3User};

/// A method of gRPC and who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcRoute {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// What it asks for.
    pub access: Access,
}

/// A path of the gateway below `/v3`, `/v3beta` and `/v3alpha`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayRoute {
    /// Without the prefix.
    pub path: &'static str,
    /// The method of gRPC that it calls, whose access it asks for.
    pub method: &'static str,
}

/// All methods that are served.
#[rustfmt::skip]
pub const GRPC: &[GrpcRoute] = &[
    grpc("/etcdserverpb.KV/Range", V3Keys),
    grpc("/etcdserverpb.KV/RangeStream", V3Keys),
    grpc("/etcdserverpb.KV/Put", V3Keys),
    grpc("/etcdserverpb.KV/DeleteRange", V3Keys),
    grpc("/etcdserverpb.KV/Txn", V3Keys),
    grpc("/etcdserverpb.KV/Compact", V3Root),
    grpc("/etcdserverpb.Watch/Watch", V3Keys),
    grpc("/etcdserverpb.Lease/LeaseGrant", V3User),
    grpc("/etcdserverpb.Lease/LeaseRevoke", V3Keys),
    grpc("/etcdserverpb.Lease/LeaseKeepAlive", V3Keys),
    grpc("/etcdserverpb.Lease/LeaseTimeToLive", V3Keys),
    grpc("/etcdserverpb.Lease/LeaseLeases", V3Keys),
    grpc("/etcdserverpb.Cluster/MemberAdd", Root),
    grpc("/etcdserverpb.Cluster/MemberRemove", Root),
    grpc("/etcdserverpb.Cluster/MemberUpdate", Root),
    grpc("/etcdserverpb.Cluster/MemberList", V3User),
    grpc("/etcdserverpb.Cluster/MemberPromote", Root),
    // listing alarms asks for less than raising one, and is judged by the verb
    grpc("/etcdserverpb.Maintenance/Alarm", V3User),
    grpc("/etcdserverpb.Maintenance/Status", V3User),
    grpc("/etcdserverpb.Maintenance/Defragment", Root),
    grpc("/etcdserverpb.Maintenance/Hash", Root),
    grpc("/etcdserverpb.Maintenance/HashKV", Root),
    grpc("/etcdserverpb.Maintenance/Snapshot", Root),
    grpc("/etcdserverpb.Maintenance/MoveLeader", Root),
    grpc("/etcdserverpb.Maintenance/Downgrade", Root),
    grpc("/etcdserverpb.Auth/AuthEnable", Root),
    grpc("/etcdserverpb.Auth/AuthDisable", Root),
    grpc("/etcdserverpb.Auth/AuthStatus", Root),
    grpc("/etcdserverpb.Auth/Authenticate", Public),
    grpc("/etcdserverpb.Auth/UserAdd", Root),
    grpc("/etcdserverpb.Auth/UserGet", Own),
    grpc("/etcdserverpb.Auth/UserList", Root),
    grpc("/etcdserverpb.Auth/UserDelete", Root),
    grpc("/etcdserverpb.Auth/UserChangePassword", Root),
    grpc("/etcdserverpb.Auth/UserGrantRole", Root),
    grpc("/etcdserverpb.Auth/UserRevokeRole", Root),
    grpc("/etcdserverpb.Auth/RoleAdd", Root),
    grpc("/etcdserverpb.Auth/RoleGet", Own),
    grpc("/etcdserverpb.Auth/RoleList", Root),
    grpc("/etcdserverpb.Auth/RoleDelete", Root),
    grpc("/etcdserverpb.Auth/RoleGrantPermission", Root),
    grpc("/etcdserverpb.Auth/RoleRevokePermission", Root),
    grpc("/v3lockpb.Lock/Lock", V3Keys),
    grpc("/v3lockpb.Lock/Unlock", V3Keys),
    grpc("/v3electionpb.Election/Campaign", V3Keys),
    grpc("/v3electionpb.Election/Proclaim", V3Keys),
    grpc("/v3electionpb.Election/Leader", V3Keys),
    grpc("/v3electionpb.Election/Observe", V3Keys),
    grpc("/v3electionpb.Election/Resign", V3Keys),
    grpc("/grpc.health.v1.Health/Check", Public),
    grpc("/grpc.health.v1.Health/Watch", Public),
    grpc("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Public),
    grpc("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Public),
];

/// All paths of the gateway.
#[rustfmt::skip]
pub const GATEWAY: &[GatewayRoute] = &[
    json("kv/range", "/etcdserverpb.KV/Range"),
    json("kv/put", "/etcdserverpb.KV/Put"),
    json("kv/deleterange", "/etcdserverpb.KV/DeleteRange"),
    json("kv/txn", "/etcdserverpb.KV/Txn"),
    json("kv/compaction", "/etcdserverpb.KV/Compact"),
    json("watch", "/etcdserverpb.Watch/Watch"),
    json("lease/grant", "/etcdserverpb.Lease/LeaseGrant"),
    json("lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    json("kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    json("lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive"),
    json("lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    json("kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    json("lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    json("kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    json("cluster/member/list", "/etcdserverpb.Cluster/MemberList"),
    json("cluster/member/add", "/etcdserverpb.Cluster/MemberAdd"),
    json("cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove"),
    json("cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate"),
    json("cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote"),
    json("maintenance/status", "/etcdserverpb.Maintenance/Status"),
    json("maintenance/alarm", "/etcdserverpb.Maintenance/Alarm"),
    json("maintenance/defragment", "/etcdserverpb.Maintenance/Defragment"),
    json("maintenance/hash", "/etcdserverpb.Maintenance/Hash"),
    json("maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV"),
    json("maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot"),
    json("maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader"),
    json("maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade"),
    json("auth/enable", "/etcdserverpb.Auth/AuthEnable"),
    json("auth/disable", "/etcdserverpb.Auth/AuthDisable"),
    json("auth/status", "/etcdserverpb.Auth/AuthStatus"),
    json("auth/authenticate", "/etcdserverpb.Auth/Authenticate"),
    json("auth/user/add", "/etcdserverpb.Auth/UserAdd"),
    json("auth/user/get", "/etcdserverpb.Auth/UserGet"),
    json("auth/user/list", "/etcdserverpb.Auth/UserList"),
    json("auth/user/delete", "/etcdserverpb.Auth/UserDelete"),
    json("auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword"),
    json("auth/user/grant", "/etcdserverpb.Auth/UserGrantRole"),
    json("auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole"),
    json("auth/role/add", "/etcdserverpb.Auth/RoleAdd"),
    json("auth/role/get", "/etcdserverpb.Auth/RoleGet"),
    json("auth/role/list", "/etcdserverpb.Auth/RoleList"),
    json("auth/role/delete", "/etcdserverpb.Auth/RoleDelete"),
    json("auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission"),
    json("auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission"),
    json("lock/lock", "/v3lockpb.Lock/Lock"),
    json("lock/unlock", "/v3lockpb.Lock/Unlock"),
    json("election/campaign", "/v3electionpb.Election/Campaign"),
    json("election/proclaim", "/v3electionpb.Election/Proclaim"),
    json("election/leader", "/v3electionpb.Election/Leader"),
    json("election/observe", "/v3electionpb.Election/Observe"),
    json("election/resign", "/v3electionpb.Election/Resign"),
];

const fn grpc(method: &'static str, access: Access) -> GrpcRoute {
    GrpcRoute { method, access }
}

const fn json(path: &'static str, method: &'static str) -> GatewayRoute {
    GatewayRoute { path, method }
}

impl GrpcRoute {
    /// The route of a method.
    pub fn of(method: &str) -> Option<&'static Self> {
        GRPC.iter().find(|route| route.method == method)
    }
}

impl GatewayRoute {
    /// The route of a path without its prefix.
    pub fn of(path: &str) -> Option<&'static Self> {
        GATEWAY.iter().find(|route| route.path == path)
    }

    /// What it asks for.
    pub fn access(&self) -> Access {
        // a test shows that every path calls a method of the list
        GrpcRoute::of(self.method).map_or(Root, |route| route.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_calls_a_listed_method_and_none_is_listed_twice() {
        for route in GATEWAY {
            assert!(GrpcRoute::of(route.method).is_some(), "{}", route.method);
            assert_eq!(GatewayRoute::of(route.path), Some(route));
        }
        for route in GRPC {
            assert_eq!(GrpcRoute::of(route.method), Some(route));
        }
    }
}
