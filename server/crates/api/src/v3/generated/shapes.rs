// This file is @generated from the protos: what JSON must know about messages.
use crate::v3::shape::{Enum, Field, Kind, Message, Shaped};
static AUTHPB_USER_ADD_OPTIONS: Message = Message { fields: &[
    Field { name: "no_password", json_name: "noPassword", number: 1, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::authpb::UserAddOptions { const SHAPE: &'static Message = &AUTHPB_USER_ADD_OPTIONS; }
static AUTHPB_USER: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "password", json_name: "password", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "roles", json_name: "roles", number: 3, kind: Kind::String, list: true, oneof: None },
    Field { name: "options", json_name: "options", number: 4, kind: Kind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
] };
impl Shaped for super::authpb::User { const SHAPE: &'static Message = &AUTHPB_USER; }
static AUTHPB_PERMISSION_TYPE: Enum = Enum { name: "authpb.Permission_Type", values: &[("READ", 0), ("WRITE", 1), ("READWRITE", 2), ] };
static AUTHPB_PERMISSION: Message = Message { fields: &[
    Field { name: "permType", json_name: "permType", number: 1, kind: Kind::Enum(&AUTHPB_PERMISSION_TYPE), list: false, oneof: None },
    Field { name: "key", json_name: "key", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "range_end", json_name: "rangeEnd", number: 3, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::authpb::Permission { const SHAPE: &'static Message = &AUTHPB_PERMISSION; }
static AUTHPB_ROLE: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "keyPermission", json_name: "keyPermission", number: 2, kind: Kind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
] };
impl Shaped for super::authpb::Role { const SHAPE: &'static Message = &AUTHPB_ROLE; }
static ETCDSERVERPB_RESPONSE_HEADER: Message = Message { fields: &[
    Field { name: "cluster_id", json_name: "clusterId", number: 1, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "member_id", json_name: "memberId", number: 2, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "revision", json_name: "revision", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "raft_term", json_name: "raftTerm", number: 4, kind: Kind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::ResponseHeader { const SHAPE: &'static Message = &ETCDSERVERPB_RESPONSE_HEADER; }
static ETCDSERVERPB_AUTH_ENABLE_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthEnableRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ENABLE_REQUEST; }
static ETCDSERVERPB_AUTH_ENABLE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthEnableResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ENABLE_RESPONSE; }
static ETCDSERVERPB_AUTH_DISABLE_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthDisableRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_DISABLE_REQUEST; }
static ETCDSERVERPB_AUTH_DISABLE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthDisableResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_DISABLE_RESPONSE; }
static ETCDSERVERPB_AUTH_STATUS_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthStatusRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_STATUS_REQUEST; }
static ETCDSERVERPB_AUTH_STATUS_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "enabled", json_name: "enabled", number: 2, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "authRevision", json_name: "authRevision", number: 3, kind: Kind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthStatusResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_STATUS_RESPONSE; }
static ETCDSERVERPB_AUTHENTICATE_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "password", json_name: "password", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthenticateRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTHENTICATE_REQUEST; }
static ETCDSERVERPB_AUTHENTICATE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "token", json_name: "token", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthenticateResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTHENTICATE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_ADD_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "password", json_name: "password", number: 2, kind: Kind::String, list: false, oneof: None },
    Field { name: "options", json_name: "options", number: 3, kind: Kind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
    Field { name: "hashedPassword", json_name: "hashedPassword", number: 4, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserAddRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_ADD_REQUEST; }
static ETCDSERVERPB_AUTH_USER_ADD_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserAddResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_ADD_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_GET_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGetRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_GET_REQUEST; }
static ETCDSERVERPB_AUTH_USER_GET_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "roles", json_name: "roles", number: 2, kind: Kind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGetResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_GET_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_LIST_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthUserListRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_LIST_REQUEST; }
static ETCDSERVERPB_AUTH_USER_LIST_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "users", json_name: "users", number: 2, kind: Kind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserListResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_LIST_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_DELETE_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserDeleteRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_DELETE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_DELETE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserDeleteResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_DELETE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "password", json_name: "password", number: 2, kind: Kind::String, list: false, oneof: None },
    Field { name: "hashedPassword", json_name: "hashedPassword", number: 3, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserChangePasswordRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_REQUEST; }
static ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserChangePasswordResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_GRANT_ROLE_REQUEST: Message = Message { fields: &[
    Field { name: "user", json_name: "user", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "role", json_name: "role", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGrantRoleRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_GRANT_ROLE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_GRANT_ROLE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGrantRoleResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_GRANT_ROLE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "role", json_name: "role", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserRevokeRoleRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserRevokeRoleResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_ADD_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleAddRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_ADD_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_ADD_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleAddResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_ADD_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_GET_REQUEST: Message = Message { fields: &[
    Field { name: "role", json_name: "role", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGetRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_GET_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_GET_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "perm", json_name: "perm", number: 2, kind: Kind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGetResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_GET_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_LIST_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthRoleListRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_LIST_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_LIST_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "roles", json_name: "roles", number: 2, kind: Kind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleListResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_LIST_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_DELETE_REQUEST: Message = Message { fields: &[
    Field { name: "role", json_name: "role", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleDeleteRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_DELETE_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_DELETE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleDeleteResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_DELETE_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "perm", json_name: "perm", number: 2, kind: Kind::Message(&AUTHPB_PERMISSION), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGrantPermissionRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGrantPermissionResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_REQUEST: Message = Message { fields: &[
    Field { name: "role", json_name: "role", number: 1, kind: Kind::String, list: false, oneof: None },
    Field { name: "key", json_name: "key", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "range_end", json_name: "rangeEnd", number: 3, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleRevokePermissionRequest { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleRevokePermissionResponse { const SHAPE: &'static Message = &ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_RESPONSE; }
static ETCDSERVERPB_MEMBER: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "name", json_name: "name", number: 2, kind: Kind::String, list: false, oneof: None },
    Field { name: "peerURLs", json_name: "peerURLs", number: 3, kind: Kind::String, list: true, oneof: None },
    Field { name: "clientURLs", json_name: "clientURLs", number: 4, kind: Kind::String, list: true, oneof: None },
    Field { name: "isLearner", json_name: "isLearner", number: 5, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::Member { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER; }
static ETCDSERVERPB_MEMBER_ADD_REQUEST: Message = Message { fields: &[
    Field { name: "peerURLs", json_name: "peerURLs", number: 1, kind: Kind::String, list: true, oneof: None },
    Field { name: "isLearner", json_name: "isLearner", number: 2, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberAddRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_ADD_REQUEST; }
static ETCDSERVERPB_MEMBER_ADD_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "member", json_name: "member", number: 2, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: false, oneof: None },
    Field { name: "members", json_name: "members", number: 3, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberAddResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_ADD_RESPONSE; }
static ETCDSERVERPB_MEMBER_REMOVE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberRemoveRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_REMOVE_REQUEST; }
static ETCDSERVERPB_MEMBER_REMOVE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "members", json_name: "members", number: 2, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberRemoveResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_REMOVE_RESPONSE; }
static ETCDSERVERPB_MEMBER_UPDATE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "peerURLs", json_name: "peerURLs", number: 2, kind: Kind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberUpdateRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_UPDATE_REQUEST; }
static ETCDSERVERPB_MEMBER_UPDATE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "members", json_name: "members", number: 2, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberUpdateResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_UPDATE_RESPONSE; }
static ETCDSERVERPB_MEMBER_LIST_REQUEST: Message = Message { fields: &[
    Field { name: "linearizable", json_name: "linearizable", number: 1, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberListRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_LIST_REQUEST; }
static ETCDSERVERPB_MEMBER_LIST_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "members", json_name: "members", number: 2, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberListResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_LIST_RESPONSE; }
static ETCDSERVERPB_MEMBER_PROMOTE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberPromoteRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_PROMOTE_REQUEST; }
static ETCDSERVERPB_MEMBER_PROMOTE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "members", json_name: "members", number: 2, kind: Kind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberPromoteResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MEMBER_PROMOTE_RESPONSE; }
static MVCCPB_KEY_VALUE: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "create_revision", json_name: "createRevision", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "mod_revision", json_name: "modRevision", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 4, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "value", json_name: "value", number: 5, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "lease", json_name: "lease", number: 6, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::mvccpb::KeyValue { const SHAPE: &'static Message = &MVCCPB_KEY_VALUE; }
static MVCCPB_EVENT_EVENT_TYPE: Enum = Enum { name: "mvccpb.Event_EventType", values: &[("PUT", 0), ("DELETE", 1), ] };
static MVCCPB_EVENT: Message = Message { fields: &[
    Field { name: "type", json_name: "type", number: 1, kind: Kind::Enum(&MVCCPB_EVENT_EVENT_TYPE), list: false, oneof: None },
    Field { name: "kv", json_name: "kv", number: 2, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
    Field { name: "prev_kv", json_name: "prevKv", number: 3, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::mvccpb::Event { const SHAPE: &'static Message = &MVCCPB_EVENT; }
static ETCDSERVERPB_RANGE_REQUEST_SORT_ORDER: Enum = Enum { name: "etcdserverpb.RangeRequest_SortOrder", values: &[("NONE", 0), ("ASCEND", 1), ("DESCEND", 2), ] };
static ETCDSERVERPB_RANGE_REQUEST_SORT_TARGET: Enum = Enum { name: "etcdserverpb.RangeRequest_SortTarget", values: &[("KEY", 0), ("VERSION", 1), ("CREATE", 2), ("MOD", 3), ("VALUE", 4), ] };
static ETCDSERVERPB_RANGE_REQUEST: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "range_end", json_name: "rangeEnd", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "limit", json_name: "limit", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "revision", json_name: "revision", number: 4, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "sort_order", json_name: "sortOrder", number: 5, kind: Kind::Enum(&ETCDSERVERPB_RANGE_REQUEST_SORT_ORDER), list: false, oneof: None },
    Field { name: "sort_target", json_name: "sortTarget", number: 6, kind: Kind::Enum(&ETCDSERVERPB_RANGE_REQUEST_SORT_TARGET), list: false, oneof: None },
    Field { name: "serializable", json_name: "serializable", number: 7, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "keys_only", json_name: "keysOnly", number: 8, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "count_only", json_name: "countOnly", number: 9, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "min_mod_revision", json_name: "minModRevision", number: 10, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "max_mod_revision", json_name: "maxModRevision", number: 11, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "min_create_revision", json_name: "minCreateRevision", number: 12, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "max_create_revision", json_name: "maxCreateRevision", number: 13, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeRequest { const SHAPE: &'static Message = &ETCDSERVERPB_RANGE_REQUEST; }
static ETCDSERVERPB_RANGE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "kvs", json_name: "kvs", number: 2, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
    Field { name: "more", json_name: "more", number: 3, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "count", json_name: "count", number: 4, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeResponse { const SHAPE: &'static Message = &ETCDSERVERPB_RANGE_RESPONSE; }
static ETCDSERVERPB_RANGE_STREAM_RESPONSE: Message = Message { fields: &[
    Field { name: "range_response", json_name: "rangeResponse", number: 1, kind: Kind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeStreamResponse { const SHAPE: &'static Message = &ETCDSERVERPB_RANGE_STREAM_RESPONSE; }
static ETCDSERVERPB_PUT_REQUEST: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "value", json_name: "value", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "lease", json_name: "lease", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "prev_kv", json_name: "prevKv", number: 4, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "ignore_value", json_name: "ignoreValue", number: 5, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "ignore_lease", json_name: "ignoreLease", number: 6, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::PutRequest { const SHAPE: &'static Message = &ETCDSERVERPB_PUT_REQUEST; }
static ETCDSERVERPB_PUT_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "prev_kv", json_name: "prevKv", number: 2, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::PutResponse { const SHAPE: &'static Message = &ETCDSERVERPB_PUT_RESPONSE; }
static ETCDSERVERPB_DELETE_RANGE_REQUEST: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "range_end", json_name: "rangeEnd", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "prev_kv", json_name: "prevKv", number: 3, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DeleteRangeRequest { const SHAPE: &'static Message = &ETCDSERVERPB_DELETE_RANGE_REQUEST; }
static ETCDSERVERPB_DELETE_RANGE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "deleted", json_name: "deleted", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "prev_kvs", json_name: "prevKvs", number: 3, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::DeleteRangeResponse { const SHAPE: &'static Message = &ETCDSERVERPB_DELETE_RANGE_RESPONSE; }
static ETCDSERVERPB_REQUEST_OP: Message = Message { fields: &[
    Field { name: "request_range", json_name: "requestRange", number: 1, kind: Kind::Message(&ETCDSERVERPB_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    Field { name: "request_put", json_name: "requestPut", number: 2, kind: Kind::Message(&ETCDSERVERPB_PUT_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    Field { name: "request_delete_range", json_name: "requestDeleteRange", number: 3, kind: Kind::Message(&ETCDSERVERPB_DELETE_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    Field { name: "request_txn", json_name: "requestTxn", number: 4, kind: Kind::Message(&ETCDSERVERPB_TXN_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
] };
impl Shaped for super::etcdserverpb::RequestOp { const SHAPE: &'static Message = &ETCDSERVERPB_REQUEST_OP; }
static ETCDSERVERPB_RESPONSE_OP: Message = Message { fields: &[
    Field { name: "response_range", json_name: "responseRange", number: 1, kind: Kind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    Field { name: "response_put", json_name: "responsePut", number: 2, kind: Kind::Message(&ETCDSERVERPB_PUT_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    Field { name: "response_delete_range", json_name: "responseDeleteRange", number: 3, kind: Kind::Message(&ETCDSERVERPB_DELETE_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    Field { name: "response_txn", json_name: "responseTxn", number: 4, kind: Kind::Message(&ETCDSERVERPB_TXN_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
] };
impl Shaped for super::etcdserverpb::ResponseOp { const SHAPE: &'static Message = &ETCDSERVERPB_RESPONSE_OP; }
static ETCDSERVERPB_COMPARE_COMPARE_RESULT: Enum = Enum { name: "etcdserverpb.Compare_CompareResult", values: &[("EQUAL", 0), ("GREATER", 1), ("LESS", 2), ("NOT_EQUAL", 3), ] };
static ETCDSERVERPB_COMPARE_COMPARE_TARGET: Enum = Enum { name: "etcdserverpb.Compare_CompareTarget", values: &[("VERSION", 0), ("CREATE", 1), ("MOD", 2), ("VALUE", 3), ("LEASE", 4), ] };
static ETCDSERVERPB_COMPARE: Message = Message { fields: &[
    Field { name: "result", json_name: "result", number: 1, kind: Kind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_RESULT), list: false, oneof: None },
    Field { name: "target", json_name: "target", number: 2, kind: Kind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_TARGET), list: false, oneof: None },
    Field { name: "key", json_name: "key", number: 3, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 4, kind: Kind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    Field { name: "create_revision", json_name: "createRevision", number: 5, kind: Kind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    Field { name: "mod_revision", json_name: "modRevision", number: 6, kind: Kind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    Field { name: "value", json_name: "value", number: 7, kind: Kind::Bytes, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    Field { name: "lease", json_name: "lease", number: 8, kind: Kind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    Field { name: "range_end", json_name: "rangeEnd", number: 64, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::Compare { const SHAPE: &'static Message = &ETCDSERVERPB_COMPARE; }
static ETCDSERVERPB_TXN_REQUEST: Message = Message { fields: &[
    Field { name: "compare", json_name: "compare", number: 1, kind: Kind::Message(&ETCDSERVERPB_COMPARE), list: true, oneof: None },
    Field { name: "success", json_name: "success", number: 2, kind: Kind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
    Field { name: "failure", json_name: "failure", number: 3, kind: Kind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::TxnRequest { const SHAPE: &'static Message = &ETCDSERVERPB_TXN_REQUEST; }
static ETCDSERVERPB_TXN_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "succeeded", json_name: "succeeded", number: 2, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "responses", json_name: "responses", number: 3, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_OP), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::TxnResponse { const SHAPE: &'static Message = &ETCDSERVERPB_TXN_RESPONSE; }
static ETCDSERVERPB_COMPACTION_REQUEST: Message = Message { fields: &[
    Field { name: "revision", json_name: "revision", number: 1, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "physical", json_name: "physical", number: 2, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::CompactionRequest { const SHAPE: &'static Message = &ETCDSERVERPB_COMPACTION_REQUEST; }
static ETCDSERVERPB_COMPACTION_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::CompactionResponse { const SHAPE: &'static Message = &ETCDSERVERPB_COMPACTION_RESPONSE; }
static ETCDSERVERPB_LEASE_GRANT_REQUEST: Message = Message { fields: &[
    Field { name: "TTL", json_name: "TTL", number: 1, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "ID", json_name: "ID", number: 2, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseGrantRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_GRANT_REQUEST; }
static ETCDSERVERPB_LEASE_GRANT_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "ID", json_name: "ID", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "TTL", json_name: "TTL", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "error", json_name: "error", number: 4, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseGrantResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_GRANT_RESPONSE; }
static ETCDSERVERPB_LEASE_REVOKE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseRevokeRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_REVOKE_REQUEST; }
static ETCDSERVERPB_LEASE_REVOKE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseRevokeResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_REVOKE_RESPONSE; }
static ETCDSERVERPB_LEASE_CHECKPOINT: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "remaining_TTL", json_name: "remainingTTL", number: 2, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpoint { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_CHECKPOINT; }
static ETCDSERVERPB_LEASE_CHECKPOINT_REQUEST: Message = Message { fields: &[
    Field { name: "checkpoints", json_name: "checkpoints", number: 1, kind: Kind::Message(&ETCDSERVERPB_LEASE_CHECKPOINT), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpointRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_CHECKPOINT_REQUEST; }
static ETCDSERVERPB_LEASE_CHECKPOINT_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpointResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_CHECKPOINT_RESPONSE; }
static ETCDSERVERPB_LEASE_KEEP_ALIVE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseKeepAliveRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_KEEP_ALIVE_REQUEST; }
static ETCDSERVERPB_LEASE_KEEP_ALIVE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "ID", json_name: "ID", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "TTL", json_name: "TTL", number: 3, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseKeepAliveResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_KEEP_ALIVE_RESPONSE; }
static ETCDSERVERPB_LEASE_TIME_TO_LIVE_REQUEST: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "keys", json_name: "keys", number: 2, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseTimeToLiveRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_TIME_TO_LIVE_REQUEST; }
static ETCDSERVERPB_LEASE_TIME_TO_LIVE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "ID", json_name: "ID", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "TTL", json_name: "TTL", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "grantedTTL", json_name: "grantedTTL", number: 4, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "keys", json_name: "keys", number: 5, kind: Kind::Bytes, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseTimeToLiveResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_TIME_TO_LIVE_RESPONSE; }
static ETCDSERVERPB_LEASE_LEASES_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::LeaseLeasesRequest { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_LEASES_REQUEST; }
static ETCDSERVERPB_LEASE_STATUS: Message = Message { fields: &[
    Field { name: "ID", json_name: "ID", number: 1, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseStatus { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_STATUS; }
static ETCDSERVERPB_LEASE_LEASES_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "leases", json_name: "leases", number: 2, kind: Kind::Message(&ETCDSERVERPB_LEASE_STATUS), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseLeasesResponse { const SHAPE: &'static Message = &ETCDSERVERPB_LEASE_LEASES_RESPONSE; }
static ETCDSERVERPB_ALARM_TYPE: Enum = Enum { name: "etcdserverpb.AlarmType", values: &[("NONE", 0), ("NOSPACE", 1), ("CORRUPT", 2), ] };
static ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION: Enum = Enum { name: "etcdserverpb.AlarmRequest_AlarmAction", values: &[("GET", 0), ("ACTIVATE", 1), ("DEACTIVATE", 2), ] };
static ETCDSERVERPB_ALARM_REQUEST: Message = Message { fields: &[
    Field { name: "action", json_name: "action", number: 1, kind: Kind::Enum(&ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION), list: false, oneof: None },
    Field { name: "memberID", json_name: "memberID", number: 2, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "alarm", json_name: "alarm", number: 3, kind: Kind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmRequest { const SHAPE: &'static Message = &ETCDSERVERPB_ALARM_REQUEST; }
static ETCDSERVERPB_ALARM_MEMBER: Message = Message { fields: &[
    Field { name: "memberID", json_name: "memberID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "alarm", json_name: "alarm", number: 2, kind: Kind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmMember { const SHAPE: &'static Message = &ETCDSERVERPB_ALARM_MEMBER; }
static ETCDSERVERPB_ALARM_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "alarms", json_name: "alarms", number: 2, kind: Kind::Message(&ETCDSERVERPB_ALARM_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmResponse { const SHAPE: &'static Message = &ETCDSERVERPB_ALARM_RESPONSE; }
static ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION: Enum = Enum { name: "etcdserverpb.DowngradeRequest_DowngradeAction", values: &[("VALIDATE", 0), ("ENABLE", 1), ("CANCEL", 2), ] };
static ETCDSERVERPB_DOWNGRADE_REQUEST: Message = Message { fields: &[
    Field { name: "action", json_name: "action", number: 1, kind: Kind::Enum(&ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION), list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeRequest { const SHAPE: &'static Message = &ETCDSERVERPB_DOWNGRADE_REQUEST; }
static ETCDSERVERPB_DOWNGRADE_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeResponse { const SHAPE: &'static Message = &ETCDSERVERPB_DOWNGRADE_RESPONSE; }
static ETCDSERVERPB_DOWNGRADE_VERSION_TEST_REQUEST: Message = Message { fields: &[
    Field { name: "ver", json_name: "ver", number: 1, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeVersionTestRequest { const SHAPE: &'static Message = &ETCDSERVERPB_DOWNGRADE_VERSION_TEST_REQUEST; }
static ETCDSERVERPB_DOWNGRADE_INFO: Message = Message { fields: &[
    Field { name: "enabled", json_name: "enabled", number: 1, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "targetVersion", json_name: "targetVersion", number: 2, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeInfo { const SHAPE: &'static Message = &ETCDSERVERPB_DOWNGRADE_INFO; }
static ETCDSERVERPB_STATUS_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::StatusRequest { const SHAPE: &'static Message = &ETCDSERVERPB_STATUS_REQUEST; }
static ETCDSERVERPB_STATUS_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 2, kind: Kind::String, list: false, oneof: None },
    Field { name: "dbSize", json_name: "dbSize", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "leader", json_name: "leader", number: 4, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "raftIndex", json_name: "raftIndex", number: 5, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "raftTerm", json_name: "raftTerm", number: 6, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "raftAppliedIndex", json_name: "raftAppliedIndex", number: 7, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "errors", json_name: "errors", number: 8, kind: Kind::String, list: true, oneof: None },
    Field { name: "dbSizeInUse", json_name: "dbSizeInUse", number: 9, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "isLearner", json_name: "isLearner", number: 10, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "storageVersion", json_name: "storageVersion", number: 11, kind: Kind::String, list: false, oneof: None },
    Field { name: "dbSizeQuota", json_name: "dbSizeQuota", number: 12, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "downgradeInfo", json_name: "downgradeInfo", number: 13, kind: Kind::Message(&ETCDSERVERPB_DOWNGRADE_INFO), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::StatusResponse { const SHAPE: &'static Message = &ETCDSERVERPB_STATUS_RESPONSE; }
static ETCDSERVERPB_DEFRAGMENT_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::DefragmentRequest { const SHAPE: &'static Message = &ETCDSERVERPB_DEFRAGMENT_REQUEST; }
static ETCDSERVERPB_DEFRAGMENT_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DefragmentResponse { const SHAPE: &'static Message = &ETCDSERVERPB_DEFRAGMENT_RESPONSE; }
static ETCDSERVERPB_HASH_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::HashRequest { const SHAPE: &'static Message = &ETCDSERVERPB_HASH_REQUEST; }
static ETCDSERVERPB_HASH_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "hash", json_name: "hash", number: 2, kind: Kind::Uint32, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashResponse { const SHAPE: &'static Message = &ETCDSERVERPB_HASH_RESPONSE; }
static ETCDSERVERPB_HASH_KVREQUEST: Message = Message { fields: &[
    Field { name: "revision", json_name: "revision", number: 1, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashKvRequest { const SHAPE: &'static Message = &ETCDSERVERPB_HASH_KVREQUEST; }
static ETCDSERVERPB_HASH_KVRESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "hash", json_name: "hash", number: 2, kind: Kind::Uint32, list: false, oneof: None },
    Field { name: "compact_revision", json_name: "compactRevision", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "hash_revision", json_name: "hashRevision", number: 4, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashKvResponse { const SHAPE: &'static Message = &ETCDSERVERPB_HASH_KVRESPONSE; }
static ETCDSERVERPB_SNAPSHOT_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::SnapshotRequest { const SHAPE: &'static Message = &ETCDSERVERPB_SNAPSHOT_REQUEST; }
static ETCDSERVERPB_SNAPSHOT_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "remaining_bytes", json_name: "remainingBytes", number: 2, kind: Kind::Uint64, list: false, oneof: None },
    Field { name: "blob", json_name: "blob", number: 3, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "version", json_name: "version", number: 4, kind: Kind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::SnapshotResponse { const SHAPE: &'static Message = &ETCDSERVERPB_SNAPSHOT_RESPONSE; }
static ETCDSERVERPB_MOVE_LEADER_REQUEST: Message = Message { fields: &[
    Field { name: "targetID", json_name: "targetID", number: 1, kind: Kind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MoveLeaderRequest { const SHAPE: &'static Message = &ETCDSERVERPB_MOVE_LEADER_REQUEST; }
static ETCDSERVERPB_MOVE_LEADER_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MoveLeaderResponse { const SHAPE: &'static Message = &ETCDSERVERPB_MOVE_LEADER_RESPONSE; }
static ETCDSERVERPB_WATCH_REQUEST: Message = Message { fields: &[
    Field { name: "create_request", json_name: "createRequest", number: 1, kind: Kind::Message(&ETCDSERVERPB_WATCH_CREATE_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    Field { name: "cancel_request", json_name: "cancelRequest", number: 2, kind: Kind::Message(&ETCDSERVERPB_WATCH_CANCEL_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    Field { name: "progress_request", json_name: "progressRequest", number: 3, kind: Kind::Message(&ETCDSERVERPB_WATCH_PROGRESS_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
] };
impl Shaped for super::etcdserverpb::WatchRequest { const SHAPE: &'static Message = &ETCDSERVERPB_WATCH_REQUEST; }
static ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE: Enum = Enum { name: "etcdserverpb.WatchCreateRequest_FilterType", values: &[("NOPUT", 0), ("NODELETE", 1), ] };
static ETCDSERVERPB_WATCH_CREATE_REQUEST: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "range_end", json_name: "rangeEnd", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "start_revision", json_name: "startRevision", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "progress_notify", json_name: "progressNotify", number: 4, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "filters", json_name: "filters", number: 5, kind: Kind::Enum(&ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE), list: true, oneof: None },
    Field { name: "prev_kv", json_name: "prevKv", number: 6, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "watch_id", json_name: "watchId", number: 7, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "fragment", json_name: "fragment", number: 8, kind: Kind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchCreateRequest { const SHAPE: &'static Message = &ETCDSERVERPB_WATCH_CREATE_REQUEST; }
static ETCDSERVERPB_WATCH_CANCEL_REQUEST: Message = Message { fields: &[
    Field { name: "watch_id", json_name: "watchId", number: 1, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchCancelRequest { const SHAPE: &'static Message = &ETCDSERVERPB_WATCH_CANCEL_REQUEST; }
static ETCDSERVERPB_WATCH_PROGRESS_REQUEST: Message = Message { fields: &[
] };
impl Shaped for super::etcdserverpb::WatchProgressRequest { const SHAPE: &'static Message = &ETCDSERVERPB_WATCH_PROGRESS_REQUEST; }
static ETCDSERVERPB_WATCH_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "watch_id", json_name: "watchId", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "created", json_name: "created", number: 3, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "canceled", json_name: "canceled", number: 4, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "compact_revision", json_name: "compactRevision", number: 5, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "cancel_reason", json_name: "cancelReason", number: 6, kind: Kind::String, list: false, oneof: None },
    Field { name: "fragment", json_name: "fragment", number: 7, kind: Kind::Bool, list: false, oneof: None },
    Field { name: "events", json_name: "events", number: 11, kind: Kind::Message(&MVCCPB_EVENT), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchResponse { const SHAPE: &'static Message = &ETCDSERVERPB_WATCH_RESPONSE; }
static V3ELECTIONPB_CAMPAIGN_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "lease", json_name: "lease", number: 2, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "value", json_name: "value", number: 3, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::CampaignRequest { const SHAPE: &'static Message = &V3ELECTIONPB_CAMPAIGN_REQUEST; }
static V3ELECTIONPB_CAMPAIGN_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "leader", json_name: "leader", number: 2, kind: Kind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::CampaignResponse { const SHAPE: &'static Message = &V3ELECTIONPB_CAMPAIGN_RESPONSE; }
static V3ELECTIONPB_LEADER_KEY: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "key", json_name: "key", number: 2, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "rev", json_name: "rev", number: 3, kind: Kind::Int64, list: false, oneof: None },
    Field { name: "lease", json_name: "lease", number: 4, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderKey { const SHAPE: &'static Message = &V3ELECTIONPB_LEADER_KEY; }
static V3ELECTIONPB_LEADER_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderRequest { const SHAPE: &'static Message = &V3ELECTIONPB_LEADER_REQUEST; }
static V3ELECTIONPB_LEADER_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "kv", json_name: "kv", number: 2, kind: Kind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderResponse { const SHAPE: &'static Message = &V3ELECTIONPB_LEADER_RESPONSE; }
static V3ELECTIONPB_RESIGN_REQUEST: Message = Message { fields: &[
    Field { name: "leader", json_name: "leader", number: 1, kind: Kind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ResignRequest { const SHAPE: &'static Message = &V3ELECTIONPB_RESIGN_REQUEST; }
static V3ELECTIONPB_RESIGN_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ResignResponse { const SHAPE: &'static Message = &V3ELECTIONPB_RESIGN_RESPONSE; }
static V3ELECTIONPB_PROCLAIM_REQUEST: Message = Message { fields: &[
    Field { name: "leader", json_name: "leader", number: 1, kind: Kind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
    Field { name: "value", json_name: "value", number: 2, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ProclaimRequest { const SHAPE: &'static Message = &V3ELECTIONPB_PROCLAIM_REQUEST; }
static V3ELECTIONPB_PROCLAIM_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ProclaimResponse { const SHAPE: &'static Message = &V3ELECTIONPB_PROCLAIM_RESPONSE; }
static V3LOCKPB_LOCK_REQUEST: Message = Message { fields: &[
    Field { name: "name", json_name: "name", number: 1, kind: Kind::Bytes, list: false, oneof: None },
    Field { name: "lease", json_name: "lease", number: 2, kind: Kind::Int64, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::LockRequest { const SHAPE: &'static Message = &V3LOCKPB_LOCK_REQUEST; }
static V3LOCKPB_LOCK_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    Field { name: "key", json_name: "key", number: 2, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::LockResponse { const SHAPE: &'static Message = &V3LOCKPB_LOCK_RESPONSE; }
static V3LOCKPB_UNLOCK_REQUEST: Message = Message { fields: &[
    Field { name: "key", json_name: "key", number: 1, kind: Kind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::UnlockRequest { const SHAPE: &'static Message = &V3LOCKPB_UNLOCK_REQUEST; }
static V3LOCKPB_UNLOCK_RESPONSE: Message = Message { fields: &[
    Field { name: "header", json_name: "header", number: 1, kind: Kind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::UnlockResponse { const SHAPE: &'static Message = &V3LOCKPB_UNLOCK_RESPONSE; }
