//! The table of calls: every gRPC method with its required access and its gateway paths. The gRPC services, the gateway's
//! dispatch, the metrics, the authorization, the OpenAPI document and the clients use this table.

use super::Access::{self, OwnUser, Public, Root, V3Keys, V3Root, V3User};

/// The kind of a gRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallType {
    /// One request, one response.
    Unary,
    /// One request, a stream of responses.
    ServerStream,
    /// A stream of requests, a stream of responses.
    BidiStream,
}

/// A gRPC method and the access that it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcRoute {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// Whether the request and the response are single messages or streams.
    pub call_type: CallType,
    /// The access that the method requires.
    pub access: Access,
    /// Gateway paths of the method, without the prefix `/v3/`, `/v3beta/` or `/v3alpha/`.
    pub paths: &'static [&'static str],
}

/// Passes the rows of the table to the macro `$apply`. The rows are grouped by service, each with its package and client:
/// `"/METHOD" MODULE::VERB(REQUEST) -> RESPONSE, ACCESS, [GATEWAY PATHS];`
///
/// `hot` calls are the most frequent unary calls. `large` calls are unary calls that can read a lot of data, so they hold a
/// permit until the response is encoded. `unary` calls are all other unary calls.
#[macro_export]
#[rustfmt::skip]
macro_rules! calls {
    ($apply:ident) => {
        $apply! {
            etcdserverpb kv_client::KvClient {
                hot {
                    "/etcdserverpb.KV/Put" kv::put(PutRequest) -> PutResponse, V3Keys, ["kv/put"];
                }
                large {
                    "/etcdserverpb.KV/Range" kv::range(RangeRequest) -> RangeResponse, V3Keys, ["kv/range"];
                    "/etcdserverpb.KV/Txn" kv::txn(TxnRequest) -> TxnResponse, V3Keys, ["kv/txn"];
                    "/etcdserverpb.KV/DeleteRange" kv::delete_range(DeleteRangeRequest) -> DeleteRangeResponse, V3Keys, ["kv/deleterange"];
                }
                unary {
                    "/etcdserverpb.KV/Compact" kv::compact(CompactionRequest) -> CompactionResponse, V3Root, ["kv/compaction"];
                }
                server_stream {
                    "/etcdserverpb.KV/RangeStream" range_stream::range_stream(RangeRequest) -> RangeStreamResponse, V3Keys, [];
                }
            }
            etcdserverpb watch_client::WatchClient {
                bidi_stream {
                    "/etcdserverpb.Watch/Watch" watch::watch(WatchRequest) -> WatchResponse, V3Keys, ["watch"];
                }
            }
            etcdserverpb lease_client::LeaseClient {
                unary {
                    "/etcdserverpb.Lease/LeaseGrant" lease::lease_grant(LeaseGrantRequest) -> LeaseGrantResponse, V3User, ["lease/grant"];
                    "/etcdserverpb.Lease/LeaseRevoke" lease::lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse, V3Keys, ["lease/revoke", "kv/lease/revoke"];
                    "/etcdserverpb.Lease/LeaseLeases" lease::lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse, V3Keys, ["lease/leases", "kv/lease/leases"];
                }
                large {
                    "/etcdserverpb.Lease/LeaseTimeToLive" lease::lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse, V3Keys, ["lease/timetolive", "kv/lease/timetolive"];
                }
                bidi_stream {
                    "/etcdserverpb.Lease/LeaseKeepAlive" lease::lease_keep_alive(LeaseKeepAliveRequest) -> LeaseKeepAliveResponse, V3Keys, ["lease/keepalive"];
                }
            }
            etcdserverpb cluster_client::ClusterClient {
                unary {
                    "/etcdserverpb.Cluster/MemberAdd" cluster::member_add(MemberAddRequest) -> MemberAddResponse, Root, ["cluster/member/add"];
                    "/etcdserverpb.Cluster/MemberRemove" cluster::member_remove(MemberRemoveRequest) -> MemberRemoveResponse, Root, ["cluster/member/remove"];
                    "/etcdserverpb.Cluster/MemberUpdate" cluster::member_update(MemberUpdateRequest) -> MemberUpdateResponse, Root, ["cluster/member/update"];
                    "/etcdserverpb.Cluster/MemberList" cluster::member_list(MemberListRequest) -> MemberListResponse, V3User, ["cluster/member/list"];
                    "/etcdserverpb.Cluster/MemberPromote" cluster::member_promote(MemberPromoteRequest) -> MemberPromoteResponse, Root, ["cluster/member/promote"];
                }
            }
            etcdserverpb maintenance_client::MaintenanceClient {
                unary {
                    // Listing alarms requires less access than raising an alarm, so the handler itself checks the access.
                    "/etcdserverpb.Maintenance/Alarm" maintenance::alarm(AlarmRequest) -> AlarmResponse, V3User, ["maintenance/alarm"];
                    "/etcdserverpb.Maintenance/Status" maintenance::status(StatusRequest) -> StatusResponse, V3User, ["maintenance/status"];
                    "/etcdserverpb.Maintenance/Defragment" maintenance::defragment(DefragmentRequest) -> DefragmentResponse, Root, ["maintenance/defragment"];
                    "/etcdserverpb.Maintenance/Hash" maintenance::hash(HashRequest) -> HashResponse, Root, ["maintenance/hash"];
                    "/etcdserverpb.Maintenance/HashKV" maintenance::hash_kv(HashKvRequest) -> HashKvResponse, Root, ["maintenance/hashkv"];
                    "/etcdserverpb.Maintenance/MoveLeader" maintenance::move_leader(MoveLeaderRequest) -> MoveLeaderResponse, Root, ["maintenance/transfer-leadership"];
                    "/etcdserverpb.Maintenance/Downgrade" maintenance::downgrade(DowngradeRequest) -> DowngradeResponse, Root, ["maintenance/downgrade"];
                }
                server_stream {
                    "/etcdserverpb.Maintenance/Snapshot" snapshot::snapshot(SnapshotRequest) -> SnapshotResponse, Root, ["maintenance/snapshot"];
                }
            }
            etcdserverpb auth_client::AuthClient {
                unary {
                    "/etcdserverpb.Auth/AuthEnable" auth::auth_enable(AuthEnableRequest) -> AuthEnableResponse, Root, ["auth/enable"];
                    "/etcdserverpb.Auth/AuthDisable" auth::auth_disable(AuthDisableRequest) -> AuthDisableResponse, Root, ["auth/disable"];
                    "/etcdserverpb.Auth/AuthStatus" auth::auth_status(AuthStatusRequest) -> AuthStatusResponse, Public, ["auth/status"];
                    "/etcdserverpb.Auth/Authenticate" auth::authenticate(AuthenticateRequest) -> AuthenticateResponse, Public, ["auth/authenticate"];
                    "/etcdserverpb.Auth/UserAdd" auth::user_add(AuthUserAddRequest) -> AuthUserAddResponse, Root, ["auth/user/add"];
                    "/etcdserverpb.Auth/UserGet" auth::user_get(AuthUserGetRequest) -> AuthUserGetResponse, OwnUser, ["auth/user/get"];
                    "/etcdserverpb.Auth/UserList" auth::user_list(AuthUserListRequest) -> AuthUserListResponse, Root, ["auth/user/list"];
                    "/etcdserverpb.Auth/UserDelete" auth::user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse, Root, ["auth/user/delete"];
                    "/etcdserverpb.Auth/UserChangePassword" auth::user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse, Root, ["auth/user/changepw"];
                    "/etcdserverpb.Auth/UserGrantRole" auth::user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse, Root, ["auth/user/grant"];
                    "/etcdserverpb.Auth/UserRevokeRole" auth::user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse, Root, ["auth/user/revoke"];
                    "/etcdserverpb.Auth/RoleAdd" auth::role_add(AuthRoleAddRequest) -> AuthRoleAddResponse, Root, ["auth/role/add"];
                    "/etcdserverpb.Auth/RoleGet" auth::role_get(AuthRoleGetRequest) -> AuthRoleGetResponse, OwnUser, ["auth/role/get"];
                    "/etcdserverpb.Auth/RoleList" auth::role_list(AuthRoleListRequest) -> AuthRoleListResponse, Root, ["auth/role/list"];
                    "/etcdserverpb.Auth/RoleDelete" auth::role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, Root, ["auth/role/delete"];
                    "/etcdserverpb.Auth/RoleGrantPermission" auth::role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse, Root, ["auth/role/grant"];
                    "/etcdserverpb.Auth/RoleRevokePermission" auth::role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse, Root, ["auth/role/revoke"];
                }
            }
            v3lockpb lock_client::LockClient {
                unary {
                    "/v3lockpb.Lock/Lock" lock::lock(LockRequest) -> LockResponse, V3Keys, ["lock/lock"];
                    "/v3lockpb.Lock/Unlock" lock::unlock(UnlockRequest) -> UnlockResponse, V3Keys, ["lock/unlock"];
                }
            }
            v3electionpb election_client::ElectionClient {
                unary {
                    "/v3electionpb.Election/Campaign" election::campaign(CampaignRequest) -> CampaignResponse, V3Keys, ["election/campaign"];
                    "/v3electionpb.Election/Proclaim" election::proclaim(ProclaimRequest) -> ProclaimResponse, V3Keys, ["election/proclaim"];
                    "/v3electionpb.Election/Leader" election::leader(LeaderRequest) -> LeaderResponse, V3Keys, ["election/leader"];
                    "/v3electionpb.Election/Resign" election::resign(ResignRequest) -> ResignResponse, V3Keys, ["election/resign"];
                }
                server_stream {
                    "/v3electionpb.Election/Observe" election::observe(LeaderRequest) -> LeaderResponse, V3Keys, ["election/observe"];
                }
            }
        }
    };
}

macro_rules! routes {
    ($($package:ident $clients:ident::$client:ident {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($request:ident) -> $response:ident,
            $access:ident, [$($path:literal),*];
        )+}
    )+})+) => {
        /// All gRPC methods of the server.
        pub const GRPC: &[GrpcRoute] = &[
            $($($(GrpcRoute {
                method: $method,
                call_type: routes!($group),
                access: $access,
                paths: &[$($path),*],
            },)+)+)+
            of_library("/grpc.health.v1.Health/Check", CallType::Unary),
            of_library("/grpc.health.v1.Health/Watch", CallType::ServerStream),
            of_library("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", CallType::BidiStream),
            of_library("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", CallType::BidiStream),
        ];
    };
    (hot) => { CallType::Unary };
    (large) => { CallType::Unary };
    (unary) => { CallType::Unary };
    (server_stream) => { CallType::ServerStream };
    (bidi_stream) => { CallType::BidiStream };
}

calls!(routes);

/// Returns the row for a method that a library implements. The method is public and has no gateway path.
const fn of_library(method: &'static str, call_type: CallType) -> GrpcRoute {
    GrpcRoute { method, call_type, access: Public, paths: &[] }
}

impl GrpcRoute {
    /// Returns the row for a method, named `/package.Service/Method`, or `None` if the method is unknown.
    pub fn of(method: &str) -> Option<&'static Self> {
        GRPC.iter().find(|route| route.method == method)
    }

    /// Returns the row of a gateway path, given without its version prefix, such as `kv/put`. Returns `None` if the path is
    /// unknown.
    pub fn of_path(path: &str) -> Option<&'static Self> {
        GRPC.iter().find(|route| route.paths.contains(&path))
    }

    /// Returns the full name of the service, such as `etcdserverpb.KV`, and the name of the method.
    pub fn names(&self) -> (&'static str, &'static str) {
        let full = self.method.trim_start_matches('/');
        full.split_once('/').unwrap_or((full, ""))
    }
}

/// Iterates over all gateway paths without their version prefixes, each with its row.
pub fn gateway_paths() -> impl Iterator<Item = (&'static str, &'static GrpcRoute)> {
    let of = |route: &'static GrpcRoute| route.paths.iter().map(move |path| (*path, route));
    GRPC.iter().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_and_each_path_is_listed_once() {
        for route in GRPC {
            assert_eq!(GrpcRoute::of(route.method), Some(route));
        }
        for (path, route) in gateway_paths() {
            assert_eq!(GrpcRoute::of_path(path), Some(route), "{path}");
        }
        assert_eq!(gateway_paths().count(), 51);
        for absent in ["kv/range/", "kv", ""] {
            assert_eq!(GrpcRoute::of_path(absent), None, "{absent:?}");
        }
    }
}
