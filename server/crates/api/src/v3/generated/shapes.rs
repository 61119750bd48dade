// This file is @generated from the protos: what JSON must know about messages.
use crate::v3::shape::{EnumShape, FieldKind, FieldShape, MessageShape, Shaped};
static AUTHPB_USER_ADD_OPTIONS: MessageShape = MessageShape { fields: &[
    FieldShape { name: "no_password", json_name: "noPassword", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::authpb::UserAddOptions { const SHAPE: &'static MessageShape = &AUTHPB_USER_ADD_OPTIONS; }
static AUTHPB_USER: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 3, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "options", json_name: "options", number: 4, kind: FieldKind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
] };
impl Shaped for super::authpb::User { const SHAPE: &'static MessageShape = &AUTHPB_USER; }
static AUTHPB_PERMISSION_TYPE: EnumShape = EnumShape { name: "authpb.Permission_Type", values: &[("READ", 0), ("WRITE", 1), ("READWRITE", 2), ] };
static AUTHPB_PERMISSION: MessageShape = MessageShape { fields: &[
    FieldShape { name: "permType", json_name: "permType", number: 1, kind: FieldKind::Enum(&AUTHPB_PERMISSION_TYPE), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::authpb::Permission { const SHAPE: &'static MessageShape = &AUTHPB_PERMISSION; }
static AUTHPB_ROLE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "keyPermission", json_name: "keyPermission", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
] };
impl Shaped for super::authpb::Role { const SHAPE: &'static MessageShape = &AUTHPB_ROLE; }
static ETCDSERVERPB_RESPONSE_HEADER: MessageShape = MessageShape { fields: &[
    FieldShape { name: "cluster_id", json_name: "clusterId", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "member_id", json_name: "memberId", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "revision", json_name: "revision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "raft_term", json_name: "raftTerm", number: 4, kind: FieldKind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::ResponseHeader { const SHAPE: &'static MessageShape = &ETCDSERVERPB_RESPONSE_HEADER; }
static ETCDSERVERPB_AUTH_ENABLE_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthEnableRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ENABLE_REQUEST; }
static ETCDSERVERPB_AUTH_ENABLE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthEnableResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ENABLE_RESPONSE; }
static ETCDSERVERPB_AUTH_DISABLE_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthDisableRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_DISABLE_REQUEST; }
static ETCDSERVERPB_AUTH_DISABLE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthDisableResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_DISABLE_RESPONSE; }
static ETCDSERVERPB_AUTH_STATUS_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthStatusRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_STATUS_REQUEST; }
static ETCDSERVERPB_AUTH_STATUS_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "enabled", json_name: "enabled", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "authRevision", json_name: "authRevision", number: 3, kind: FieldKind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthStatusResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_STATUS_RESPONSE; }
static ETCDSERVERPB_AUTHENTICATE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthenticateRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTHENTICATE_REQUEST; }
static ETCDSERVERPB_AUTHENTICATE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "token", json_name: "token", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthenticateResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTHENTICATE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_ADD_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "options", json_name: "options", number: 3, kind: FieldKind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
    FieldShape { name: "hashedPassword", json_name: "hashedPassword", number: 4, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserAddRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_ADD_REQUEST; }
static ETCDSERVERPB_AUTH_USER_ADD_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserAddResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_ADD_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_GET_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGetRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_GET_REQUEST; }
static ETCDSERVERPB_AUTH_USER_GET_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 2, kind: FieldKind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGetResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_GET_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_LIST_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthUserListRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_LIST_REQUEST; }
static ETCDSERVERPB_AUTH_USER_LIST_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "users", json_name: "users", number: 2, kind: FieldKind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserListResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_LIST_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_DELETE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserDeleteRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_DELETE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_DELETE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserDeleteResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_DELETE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "hashedPassword", json_name: "hashedPassword", number: 3, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserChangePasswordRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_REQUEST; }
static ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserChangePasswordResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_GRANT_ROLE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "user", json_name: "user", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "role", json_name: "role", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGrantRoleRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_GRANT_ROLE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_GRANT_ROLE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserGrantRoleResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_GRANT_ROLE_RESPONSE; }
static ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "role", json_name: "role", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserRevokeRoleRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_REQUEST; }
static ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthUserRevokeRoleResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_ADD_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleAddRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_ADD_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_ADD_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleAddResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_ADD_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_GET_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGetRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_GET_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_GET_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "perm", json_name: "perm", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGetResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_GET_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_LIST_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::AuthRoleListRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_LIST_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_LIST_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 2, kind: FieldKind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleListResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_LIST_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_DELETE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleDeleteRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_DELETE_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_DELETE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleDeleteResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_DELETE_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "perm", json_name: "perm", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGrantPermissionRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleGrantPermissionResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_RESPONSE; }
static ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleRevokePermissionRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_REQUEST; }
static ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AuthRoleRevokePermissionResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_RESPONSE; }
static ETCDSERVERPB_MEMBER: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "name", json_name: "name", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 3, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "clientURLs", json_name: "clientURLs", number: 4, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "isLearner", json_name: "isLearner", number: 5, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::Member { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER; }
static ETCDSERVERPB_MEMBER_ADD_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 1, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "isLearner", json_name: "isLearner", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberAddRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_ADD_REQUEST; }
static ETCDSERVERPB_MEMBER_ADD_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "member", json_name: "member", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberAddResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_ADD_RESPONSE; }
static ETCDSERVERPB_MEMBER_REMOVE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberRemoveRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_REMOVE_REQUEST; }
static ETCDSERVERPB_MEMBER_REMOVE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberRemoveResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_REMOVE_RESPONSE; }
static ETCDSERVERPB_MEMBER_UPDATE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 2, kind: FieldKind::String, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberUpdateRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_UPDATE_REQUEST; }
static ETCDSERVERPB_MEMBER_UPDATE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberUpdateResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_UPDATE_RESPONSE; }
static ETCDSERVERPB_MEMBER_LIST_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "linearizable", json_name: "linearizable", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberListRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_LIST_REQUEST; }
static ETCDSERVERPB_MEMBER_LIST_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberListResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_LIST_RESPONSE; }
static ETCDSERVERPB_MEMBER_PROMOTE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberPromoteRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_PROMOTE_REQUEST; }
static ETCDSERVERPB_MEMBER_PROMOTE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::MemberPromoteResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MEMBER_PROMOTE_RESPONSE; }
static MVCCPB_KEY_VALUE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "create_revision", json_name: "createRevision", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "mod_revision", json_name: "modRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 5, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 6, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::mvccpb::KeyValue { const SHAPE: &'static MessageShape = &MVCCPB_KEY_VALUE; }
static MVCCPB_EVENT_EVENT_TYPE: EnumShape = EnumShape { name: "mvccpb.Event_EventType", values: &[("PUT", 0), ("DELETE", 1), ] };
static MVCCPB_EVENT: MessageShape = MessageShape { fields: &[
    FieldShape { name: "type", json_name: "type", number: 1, kind: FieldKind::Enum(&MVCCPB_EVENT_EVENT_TYPE), list: false, oneof: None },
    FieldShape { name: "kv", json_name: "kv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 3, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::mvccpb::Event { const SHAPE: &'static MessageShape = &MVCCPB_EVENT; }
static ETCDSERVERPB_RANGE_REQUEST_SORT_ORDER: EnumShape = EnumShape { name: "etcdserverpb.RangeRequest_SortOrder", values: &[("NONE", 0), ("ASCEND", 1), ("DESCEND", 2), ] };
static ETCDSERVERPB_RANGE_REQUEST_SORT_TARGET: EnumShape = EnumShape { name: "etcdserverpb.RangeRequest_SortTarget", values: &[("KEY", 0), ("VERSION", 1), ("CREATE", 2), ("MOD", 3), ("VALUE", 4), ] };
static ETCDSERVERPB_RANGE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "limit", json_name: "limit", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "revision", json_name: "revision", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "sort_order", json_name: "sortOrder", number: 5, kind: FieldKind::Enum(&ETCDSERVERPB_RANGE_REQUEST_SORT_ORDER), list: false, oneof: None },
    FieldShape { name: "sort_target", json_name: "sortTarget", number: 6, kind: FieldKind::Enum(&ETCDSERVERPB_RANGE_REQUEST_SORT_TARGET), list: false, oneof: None },
    FieldShape { name: "serializable", json_name: "serializable", number: 7, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "keys_only", json_name: "keysOnly", number: 8, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "count_only", json_name: "countOnly", number: 9, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "min_mod_revision", json_name: "minModRevision", number: 10, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "max_mod_revision", json_name: "maxModRevision", number: 11, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "min_create_revision", json_name: "minCreateRevision", number: 12, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "max_create_revision", json_name: "maxCreateRevision", number: 13, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_RANGE_REQUEST; }
static ETCDSERVERPB_RANGE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "kvs", json_name: "kvs", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
    FieldShape { name: "more", json_name: "more", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "count", json_name: "count", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_RANGE_RESPONSE; }
static ETCDSERVERPB_RANGE_STREAM_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "range_response", json_name: "rangeResponse", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::RangeStreamResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_RANGE_STREAM_RESPONSE; }
static ETCDSERVERPB_PUT_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "ignore_value", json_name: "ignoreValue", number: 5, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "ignore_lease", json_name: "ignoreLease", number: 6, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::PutRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_PUT_REQUEST; }
static ETCDSERVERPB_PUT_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::PutResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_PUT_RESPONSE; }
static ETCDSERVERPB_DELETE_RANGE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DeleteRangeRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DELETE_RANGE_REQUEST; }
static ETCDSERVERPB_DELETE_RANGE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "deleted", json_name: "deleted", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "prev_kvs", json_name: "prevKvs", number: 3, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::DeleteRangeResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DELETE_RANGE_RESPONSE; }
static ETCDSERVERPB_REQUEST_OP: MessageShape = MessageShape { fields: &[
    FieldShape { name: "request_range", json_name: "requestRange", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_put", json_name: "requestPut", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_PUT_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_delete_range", json_name: "requestDeleteRange", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_DELETE_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_txn", json_name: "requestTxn", number: 4, kind: FieldKind::Message(&ETCDSERVERPB_TXN_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
] };
impl Shaped for super::etcdserverpb::RequestOp { const SHAPE: &'static MessageShape = &ETCDSERVERPB_REQUEST_OP; }
static ETCDSERVERPB_RESPONSE_OP: MessageShape = MessageShape { fields: &[
    FieldShape { name: "response_range", json_name: "responseRange", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_put", json_name: "responsePut", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_PUT_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_delete_range", json_name: "responseDeleteRange", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_DELETE_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_txn", json_name: "responseTxn", number: 4, kind: FieldKind::Message(&ETCDSERVERPB_TXN_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
] };
impl Shaped for super::etcdserverpb::ResponseOp { const SHAPE: &'static MessageShape = &ETCDSERVERPB_RESPONSE_OP; }
static ETCDSERVERPB_COMPARE_COMPARE_RESULT: EnumShape = EnumShape { name: "etcdserverpb.Compare_CompareResult", values: &[("EQUAL", 0), ("GREATER", 1), ("LESS", 2), ("NOT_EQUAL", 3), ] };
static ETCDSERVERPB_COMPARE_COMPARE_TARGET: EnumShape = EnumShape { name: "etcdserverpb.Compare_CompareTarget", values: &[("VERSION", 0), ("CREATE", 1), ("MOD", 2), ("VALUE", 3), ("LEASE", 4), ] };
static ETCDSERVERPB_COMPARE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "result", json_name: "result", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_RESULT), list: false, oneof: None },
    FieldShape { name: "target", json_name: "target", number: 2, kind: FieldKind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_TARGET), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "create_revision", json_name: "createRevision", number: 5, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "mod_revision", json_name: "modRevision", number: 6, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "value", json_name: "value", number: 7, kind: FieldKind::Bytes, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "lease", json_name: "lease", number: 8, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 64, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::Compare { const SHAPE: &'static MessageShape = &ETCDSERVERPB_COMPARE; }
static ETCDSERVERPB_TXN_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "compare", json_name: "compare", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_COMPARE), list: true, oneof: None },
    FieldShape { name: "success", json_name: "success", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
    FieldShape { name: "failure", json_name: "failure", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::TxnRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_TXN_REQUEST; }
static ETCDSERVERPB_TXN_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "succeeded", json_name: "succeeded", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "responses", json_name: "responses", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_OP), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::TxnResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_TXN_RESPONSE; }
static ETCDSERVERPB_COMPACTION_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "revision", json_name: "revision", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "physical", json_name: "physical", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::CompactionRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_COMPACTION_REQUEST; }
static ETCDSERVERPB_COMPACTION_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::CompactionResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_COMPACTION_RESPONSE; }
static ETCDSERVERPB_LEASE_GRANT_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "TTL", json_name: "TTL", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseGrantRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_GRANT_REQUEST; }
static ETCDSERVERPB_LEASE_GRANT_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "error", json_name: "error", number: 4, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseGrantResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_GRANT_RESPONSE; }
static ETCDSERVERPB_LEASE_REVOKE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseRevokeRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_REVOKE_REQUEST; }
static ETCDSERVERPB_LEASE_REVOKE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseRevokeResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_REVOKE_RESPONSE; }
static ETCDSERVERPB_LEASE_CHECKPOINT: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "remaining_TTL", json_name: "remainingTTL", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpoint { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_CHECKPOINT; }
static ETCDSERVERPB_LEASE_CHECKPOINT_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "checkpoints", json_name: "checkpoints", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_LEASE_CHECKPOINT), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpointRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_CHECKPOINT_REQUEST; }
static ETCDSERVERPB_LEASE_CHECKPOINT_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseCheckpointResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_CHECKPOINT_RESPONSE; }
static ETCDSERVERPB_LEASE_KEEP_ALIVE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseKeepAliveRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_KEEP_ALIVE_REQUEST; }
static ETCDSERVERPB_LEASE_KEEP_ALIVE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseKeepAliveResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_KEEP_ALIVE_RESPONSE; }
static ETCDSERVERPB_LEASE_TIME_TO_LIVE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "keys", json_name: "keys", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseTimeToLiveRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_TIME_TO_LIVE_REQUEST; }
static ETCDSERVERPB_LEASE_TIME_TO_LIVE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "grantedTTL", json_name: "grantedTTL", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "keys", json_name: "keys", number: 5, kind: FieldKind::Bytes, list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseTimeToLiveResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_TIME_TO_LIVE_RESPONSE; }
static ETCDSERVERPB_LEASE_LEASES_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::LeaseLeasesRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_LEASES_REQUEST; }
static ETCDSERVERPB_LEASE_STATUS: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseStatus { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_STATUS; }
static ETCDSERVERPB_LEASE_LEASES_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "leases", json_name: "leases", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_LEASE_STATUS), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::LeaseLeasesResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_LEASE_LEASES_RESPONSE; }
static ETCDSERVERPB_ALARM_TYPE: EnumShape = EnumShape { name: "etcdserverpb.AlarmType", values: &[("NONE", 0), ("NOSPACE", 1), ("CORRUPT", 2), ] };
static ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION: EnumShape = EnumShape { name: "etcdserverpb.AlarmRequest_AlarmAction", values: &[("GET", 0), ("ACTIVATE", 1), ("DEACTIVATE", 2), ] };
static ETCDSERVERPB_ALARM_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "action", json_name: "action", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION), list: false, oneof: None },
    FieldShape { name: "memberID", json_name: "memberID", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "alarm", json_name: "alarm", number: 3, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_ALARM_REQUEST; }
static ETCDSERVERPB_ALARM_MEMBER: MessageShape = MessageShape { fields: &[
    FieldShape { name: "memberID", json_name: "memberID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "alarm", json_name: "alarm", number: 2, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmMember { const SHAPE: &'static MessageShape = &ETCDSERVERPB_ALARM_MEMBER; }
static ETCDSERVERPB_ALARM_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "alarms", json_name: "alarms", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_ALARM_MEMBER), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::AlarmResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_ALARM_RESPONSE; }
static ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION: EnumShape = EnumShape { name: "etcdserverpb.DowngradeRequest_DowngradeAction", values: &[("VALIDATE", 0), ("ENABLE", 1), ("CANCEL", 2), ] };
static ETCDSERVERPB_DOWNGRADE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "action", json_name: "action", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION), list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DOWNGRADE_REQUEST; }
static ETCDSERVERPB_DOWNGRADE_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DOWNGRADE_RESPONSE; }
static ETCDSERVERPB_DOWNGRADE_VERSION_TEST_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "ver", json_name: "ver", number: 1, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeVersionTestRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DOWNGRADE_VERSION_TEST_REQUEST; }
static ETCDSERVERPB_DOWNGRADE_INFO: MessageShape = MessageShape { fields: &[
    FieldShape { name: "enabled", json_name: "enabled", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "targetVersion", json_name: "targetVersion", number: 2, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DowngradeInfo { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DOWNGRADE_INFO; }
static ETCDSERVERPB_STATUS_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::StatusRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_STATUS_REQUEST; }
static ETCDSERVERPB_STATUS_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "dbSize", json_name: "dbSize", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "leader", json_name: "leader", number: 4, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "raftIndex", json_name: "raftIndex", number: 5, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "raftTerm", json_name: "raftTerm", number: 6, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "raftAppliedIndex", json_name: "raftAppliedIndex", number: 7, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "errors", json_name: "errors", number: 8, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "dbSizeInUse", json_name: "dbSizeInUse", number: 9, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "isLearner", json_name: "isLearner", number: 10, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "storageVersion", json_name: "storageVersion", number: 11, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "dbSizeQuota", json_name: "dbSizeQuota", number: 12, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "downgradeInfo", json_name: "downgradeInfo", number: 13, kind: FieldKind::Message(&ETCDSERVERPB_DOWNGRADE_INFO), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::StatusResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_STATUS_RESPONSE; }
static ETCDSERVERPB_DEFRAGMENT_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::DefragmentRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DEFRAGMENT_REQUEST; }
static ETCDSERVERPB_DEFRAGMENT_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::DefragmentResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_DEFRAGMENT_RESPONSE; }
static ETCDSERVERPB_HASH_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::HashRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_HASH_REQUEST; }
static ETCDSERVERPB_HASH_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "hash", json_name: "hash", number: 2, kind: FieldKind::Uint32, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_HASH_RESPONSE; }
static ETCDSERVERPB_HASH_KVREQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "revision", json_name: "revision", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashKvRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_HASH_KVREQUEST; }
static ETCDSERVERPB_HASH_KVRESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "hash", json_name: "hash", number: 2, kind: FieldKind::Uint32, list: false, oneof: None },
    FieldShape { name: "compact_revision", json_name: "compactRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "hash_revision", json_name: "hashRevision", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::HashKvResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_HASH_KVRESPONSE; }
static ETCDSERVERPB_SNAPSHOT_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::SnapshotRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_SNAPSHOT_REQUEST; }
static ETCDSERVERPB_SNAPSHOT_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "remaining_bytes", json_name: "remainingBytes", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "blob", json_name: "blob", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::String, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::SnapshotResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_SNAPSHOT_RESPONSE; }
static ETCDSERVERPB_MOVE_LEADER_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "targetID", json_name: "targetID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MoveLeaderRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MOVE_LEADER_REQUEST; }
static ETCDSERVERPB_MOVE_LEADER_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::MoveLeaderResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_MOVE_LEADER_RESPONSE; }
static ETCDSERVERPB_WATCH_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "create_request", json_name: "createRequest", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_CREATE_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    FieldShape { name: "cancel_request", json_name: "cancelRequest", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_CANCEL_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    FieldShape { name: "progress_request", json_name: "progressRequest", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_PROGRESS_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
] };
impl Shaped for super::etcdserverpb::WatchRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_WATCH_REQUEST; }
static ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE: EnumShape = EnumShape { name: "etcdserverpb.WatchCreateRequest_FilterType", values: &[("NOPUT", 0), ("NODELETE", 1), ] };
static ETCDSERVERPB_WATCH_CREATE_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "start_revision", json_name: "startRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "progress_notify", json_name: "progressNotify", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "filters", json_name: "filters", number: 5, kind: FieldKind::Enum(&ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE), list: true, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 6, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "watch_id", json_name: "watchId", number: 7, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "fragment", json_name: "fragment", number: 8, kind: FieldKind::Bool, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchCreateRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_WATCH_CREATE_REQUEST; }
static ETCDSERVERPB_WATCH_CANCEL_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "watch_id", json_name: "watchId", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchCancelRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_WATCH_CANCEL_REQUEST; }
static ETCDSERVERPB_WATCH_PROGRESS_REQUEST: MessageShape = MessageShape { fields: &[
] };
impl Shaped for super::etcdserverpb::WatchProgressRequest { const SHAPE: &'static MessageShape = &ETCDSERVERPB_WATCH_PROGRESS_REQUEST; }
static ETCDSERVERPB_WATCH_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "watch_id", json_name: "watchId", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "created", json_name: "created", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "canceled", json_name: "canceled", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "compact_revision", json_name: "compactRevision", number: 5, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "cancel_reason", json_name: "cancelReason", number: 6, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "fragment", json_name: "fragment", number: 7, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "events", json_name: "events", number: 11, kind: FieldKind::Message(&MVCCPB_EVENT), list: true, oneof: None },
] };
impl Shaped for super::etcdserverpb::WatchResponse { const SHAPE: &'static MessageShape = &ETCDSERVERPB_WATCH_RESPONSE; }
static V3ELECTIONPB_CAMPAIGN_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::CampaignRequest { const SHAPE: &'static MessageShape = &V3ELECTIONPB_CAMPAIGN_REQUEST; }
static V3ELECTIONPB_CAMPAIGN_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "leader", json_name: "leader", number: 2, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::CampaignResponse { const SHAPE: &'static MessageShape = &V3ELECTIONPB_CAMPAIGN_RESPONSE; }
static V3ELECTIONPB_LEADER_KEY: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "rev", json_name: "rev", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderKey { const SHAPE: &'static MessageShape = &V3ELECTIONPB_LEADER_KEY; }
static V3ELECTIONPB_LEADER_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderRequest { const SHAPE: &'static MessageShape = &V3ELECTIONPB_LEADER_REQUEST; }
static V3ELECTIONPB_LEADER_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "kv", json_name: "kv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::LeaderResponse { const SHAPE: &'static MessageShape = &V3ELECTIONPB_LEADER_RESPONSE; }
static V3ELECTIONPB_RESIGN_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "leader", json_name: "leader", number: 1, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ResignRequest { const SHAPE: &'static MessageShape = &V3ELECTIONPB_RESIGN_REQUEST; }
static V3ELECTIONPB_RESIGN_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ResignResponse { const SHAPE: &'static MessageShape = &V3ELECTIONPB_RESIGN_RESPONSE; }
static V3ELECTIONPB_PROCLAIM_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "leader", json_name: "leader", number: 1, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ProclaimRequest { const SHAPE: &'static MessageShape = &V3ELECTIONPB_PROCLAIM_REQUEST; }
static V3ELECTIONPB_PROCLAIM_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3electionpb::ProclaimResponse { const SHAPE: &'static MessageShape = &V3ELECTIONPB_PROCLAIM_RESPONSE; }
static V3LOCKPB_LOCK_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::LockRequest { const SHAPE: &'static MessageShape = &V3LOCKPB_LOCK_REQUEST; }
static V3LOCKPB_LOCK_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::LockResponse { const SHAPE: &'static MessageShape = &V3LOCKPB_LOCK_RESPONSE; }
static V3LOCKPB_UNLOCK_REQUEST: MessageShape = MessageShape { fields: &[
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::UnlockRequest { const SHAPE: &'static MessageShape = &V3LOCKPB_UNLOCK_REQUEST; }
static V3LOCKPB_UNLOCK_RESPONSE: MessageShape = MessageShape { fields: &[
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
] };
impl Shaped for super::v3lockpb::UnlockResponse { const SHAPE: &'static MessageShape = &V3LOCKPB_UNLOCK_RESPONSE; }
