//! The requests in etcd's log: `raft_internal.proto`, `membership.proto`, and v2's `etcdserver.proto`.

#![expect(
    missing_docs,
    reason = "some names come from etcd and need no description"
)]

use bytes::Bytes;
use witan_api::v3::etcdserverpb::{
    AlarmRequest, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest, CompactionRequest, DeleteRangeRequest, LeaseCheckpointRequest,
    LeaseGrantRequest, LeaseRevokeRequest, PutRequest, TxnRequest,
};

/// Identifies a request and its proposer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestHeader {
    /// Unique on the member that proposed the request.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The user's name; empty if authentication is disabled.
    #[prost(string, tag = "2")]
    pub username: String,
    /// The auth revision at which the user's permission was checked.
    #[prost(uint64, tag = "3")]
    pub auth_revision: u64,
}

/// A v3 request: one field after `id` is set, or none if the entry is a read or a login, which change nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InternalRaftRequest {
    #[prost(message, optional, tag = "100")]
    pub header: Option<RequestHeader>,
    /// The ID of the request if there is no header.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(message, optional, boxed, tag = "2")]
    pub v2: Option<Box<RequestV2>>,
    #[prost(message, optional, tag = "4")]
    pub put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    pub delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    pub txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    pub compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    pub lease_grant: Option<LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    pub lease_revoke: Option<LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    pub alarm: Option<AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    pub lease_checkpoint: Option<LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "1000")]
    pub auth_enable: Option<AuthEnableRequest>,
    #[prost(message, optional, tag = "1011")]
    pub auth_disable: Option<AuthDisableRequest>,
    #[prost(message, optional, tag = "1100")]
    pub auth_user_add: Option<AuthUserAddRequest>,
    #[prost(message, optional, tag = "1101")]
    pub auth_user_delete: Option<AuthUserDeleteRequest>,
    #[prost(message, optional, tag = "1103")]
    pub auth_user_change_password: Option<AuthUserChangePasswordRequest>,
    #[prost(message, optional, tag = "1104")]
    pub auth_user_grant_role: Option<AuthUserGrantRoleRequest>,
    #[prost(message, optional, tag = "1105")]
    pub auth_user_revoke_role: Option<AuthUserRevokeRoleRequest>,
    #[prost(message, optional, tag = "1200")]
    pub auth_role_add: Option<AuthRoleAddRequest>,
    #[prost(message, optional, tag = "1201")]
    pub auth_role_delete: Option<AuthRoleDeleteRequest>,
    #[prost(message, optional, tag = "1203")]
    pub auth_role_grant_permission: Option<AuthRoleGrantPermissionRequest>,
    #[prost(message, optional, tag = "1204")]
    pub auth_role_revoke_permission: Option<AuthRoleRevokePermissionRequest>,
    #[prost(message, optional, tag = "1300")]
    pub cluster_version_set: Option<ClusterVersionSetRequest>,
    #[prost(message, optional, tag = "1301")]
    pub cluster_member_attr_set: Option<ClusterMemberAttrSetRequest>,
    #[prost(message, optional, tag = "1302")]
    pub downgrade_info_set: Option<DowngradeInfoSetRequest>,
}

pub(crate) const ID_TAG: u32 = 1;
pub(crate) const HEADER_TAG: u32 = 100;

/// Returns whether etcd's `InternalRaftRequest` has a field with this tag.
pub(crate) fn is_known(tag: u32) -> bool {
    matches!(
        tag,
        1..=11 | 100 | 1000 | 1011..=1013 | 1100..=1107 | 1200..=1204 | 1300..=1302 | 9900
    )
}

/// Sets the cluster version. Logged since etcd 3.5.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClusterVersionSetRequest {
    #[prost(string, tag = "1")]
    pub version: String,
}

/// Sets the attributes that a member publishes. Logged since etcd 3.5.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClusterMemberAttrSetRequest {
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    #[prost(message, optional, tag = "2")]
    pub attributes: Option<MemberAttributes>,
}

/// The attributes that a member publishes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberAttributes {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub client_urls: Vec<String>,
}

/// Starts or ends a downgrade. Logged since etcd 3.5.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DowngradeInfoSetRequest {
    /// Whether a downgrade is in progress.
    #[prost(bool, tag = "1")]
    pub enabled: bool,
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A v2 request, without the options of reads. In etcd 3.4, it can also set a member's attributes or the cluster version. etcd
/// does not check that its strings are UTF-8.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestV2 {
    /// Unique on the member that proposed the request.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// GET, PUT, POST, DELETE, QGET or SYNC.
    #[prost(string, tag = "2")]
    pub method: String,
    /// Path in the v2 store with its namespace: `/1/...` for keys, `/0/...` for members and the version.
    #[prost(bytes = "bytes", tag = "3")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub val: Bytes,
    /// Whether the node is a directory.
    #[prost(bool, tag = "5")]
    pub dir: bool,
    /// The required previous value.
    #[prost(bytes = "bytes", tag = "6")]
    pub prev_value: Bytes,
    /// The required index of the node; 0 for no condition.
    #[prost(uint64, tag = "7")]
    pub prev_index: u64,
    /// Whether the node must exist.
    #[prost(bool, optional, tag = "8")]
    pub prev_exist: Option<bool>,
    /// Expiration in Unix nanoseconds; 0 for none.
    #[prost(int64, tag = "9")]
    pub expiration: i64,
    /// Whether the request includes all nodes below the path.
    #[prost(bool, tag = "12")]
    pub recursive: bool,
    /// The time in Unix nanoseconds up to which a SYNC expires nodes.
    #[prost(int64, tag = "15")]
    pub time: i64,
    /// Whether to change only the expiration.
    #[prost(bool, optional, tag = "17")]
    pub refresh: Option<bool>,
}
