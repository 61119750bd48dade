// This file is @generated from the protos: what JSON must know about messages.
use crate::v3::shape::{EnumShape, FieldKind, FieldShape, shaped};
shaped!(AUTHPB_USER_ADD_OPTIONS, super::authpb::UserAddOptions, [
    FieldShape { name: "no_password", json_name: "noPassword", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(AUTHPB_USER, super::authpb::User, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 3, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "options", json_name: "options", number: 4, kind: FieldKind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
]);
static AUTHPB_PERMISSION_TYPE: EnumShape = EnumShape { name: "authpb.Permission_Type", values: &[("READ", 0), ("WRITE", 1), ("READWRITE", 2), ] };
shaped!(AUTHPB_PERMISSION, super::authpb::Permission, [
    FieldShape { name: "permType", json_name: "permType", number: 1, kind: FieldKind::Enum(&AUTHPB_PERMISSION_TYPE), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(AUTHPB_ROLE, super::authpb::Role, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "keyPermission", json_name: "keyPermission", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_RESPONSE_HEADER, super::etcdserverpb::ResponseHeader, [
    FieldShape { name: "cluster_id", json_name: "clusterId", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "member_id", json_name: "memberId", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "revision", json_name: "revision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "raft_term", json_name: "raftTerm", number: 4, kind: FieldKind::Uint64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ENABLE_REQUEST, super::etcdserverpb::AuthEnableRequest, [
]);
shaped!(ETCDSERVERPB_AUTH_ENABLE_RESPONSE, super::etcdserverpb::AuthEnableResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_DISABLE_REQUEST, super::etcdserverpb::AuthDisableRequest, [
]);
shaped!(ETCDSERVERPB_AUTH_DISABLE_RESPONSE, super::etcdserverpb::AuthDisableResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_STATUS_REQUEST, super::etcdserverpb::AuthStatusRequest, [
]);
shaped!(ETCDSERVERPB_AUTH_STATUS_RESPONSE, super::etcdserverpb::AuthStatusResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "enabled", json_name: "enabled", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "authRevision", json_name: "authRevision", number: 3, kind: FieldKind::Uint64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTHENTICATE_REQUEST, super::etcdserverpb::AuthenticateRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTHENTICATE_RESPONSE, super::etcdserverpb::AuthenticateResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "token", json_name: "token", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_ADD_REQUEST, super::etcdserverpb::AuthUserAddRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "options", json_name: "options", number: 3, kind: FieldKind::Message(&AUTHPB_USER_ADD_OPTIONS), list: false, oneof: None },
    FieldShape { name: "hashedPassword", json_name: "hashedPassword", number: 4, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_ADD_RESPONSE, super::etcdserverpb::AuthUserAddResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_GET_REQUEST, super::etcdserverpb::AuthUserGetRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_GET_RESPONSE, super::etcdserverpb::AuthUserGetResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 2, kind: FieldKind::String, list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_LIST_REQUEST, super::etcdserverpb::AuthUserListRequest, [
]);
shaped!(ETCDSERVERPB_AUTH_USER_LIST_RESPONSE, super::etcdserverpb::AuthUserListResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "users", json_name: "users", number: 2, kind: FieldKind::String, list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_DELETE_REQUEST, super::etcdserverpb::AuthUserDeleteRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_DELETE_RESPONSE, super::etcdserverpb::AuthUserDeleteResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_REQUEST, super::etcdserverpb::AuthUserChangePasswordRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "password", json_name: "password", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "hashedPassword", json_name: "hashedPassword", number: 3, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_CHANGE_PASSWORD_RESPONSE, super::etcdserverpb::AuthUserChangePasswordResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_GRANT_ROLE_REQUEST, super::etcdserverpb::AuthUserGrantRoleRequest, [
    FieldShape { name: "user", json_name: "user", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "role", json_name: "role", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_GRANT_ROLE_RESPONSE, super::etcdserverpb::AuthUserGrantRoleResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_REQUEST, super::etcdserverpb::AuthUserRevokeRoleRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "role", json_name: "role", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_USER_REVOKE_ROLE_RESPONSE, super::etcdserverpb::AuthUserRevokeRoleResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_ADD_REQUEST, super::etcdserverpb::AuthRoleAddRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_ADD_RESPONSE, super::etcdserverpb::AuthRoleAddResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_GET_REQUEST, super::etcdserverpb::AuthRoleGetRequest, [
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_GET_RESPONSE, super::etcdserverpb::AuthRoleGetResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "perm", json_name: "perm", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_LIST_REQUEST, super::etcdserverpb::AuthRoleListRequest, [
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_LIST_RESPONSE, super::etcdserverpb::AuthRoleListResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "roles", json_name: "roles", number: 2, kind: FieldKind::String, list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_DELETE_REQUEST, super::etcdserverpb::AuthRoleDeleteRequest, [
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_DELETE_RESPONSE, super::etcdserverpb::AuthRoleDeleteResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_REQUEST, super::etcdserverpb::AuthRoleGrantPermissionRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "perm", json_name: "perm", number: 2, kind: FieldKind::Message(&AUTHPB_PERMISSION), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_GRANT_PERMISSION_RESPONSE, super::etcdserverpb::AuthRoleGrantPermissionResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_REQUEST, super::etcdserverpb::AuthRoleRevokePermissionRequest, [
    FieldShape { name: "role", json_name: "role", number: 1, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_AUTH_ROLE_REVOKE_PERMISSION_RESPONSE, super::etcdserverpb::AuthRoleRevokePermissionResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER, super::etcdserverpb::Member, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "name", json_name: "name", number: 2, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 3, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "clientURLs", json_name: "clientURLs", number: 4, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "isLearner", json_name: "isLearner", number: 5, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_ADD_REQUEST, super::etcdserverpb::MemberAddRequest, [
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 1, kind: FieldKind::String, list: true, oneof: None },
    FieldShape { name: "isLearner", json_name: "isLearner", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_ADD_RESPONSE, super::etcdserverpb::MemberAddResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "member", json_name: "member", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_REMOVE_REQUEST, super::etcdserverpb::MemberRemoveRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_REMOVE_RESPONSE, super::etcdserverpb::MemberRemoveResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_UPDATE_REQUEST, super::etcdserverpb::MemberUpdateRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "peerURLs", json_name: "peerURLs", number: 2, kind: FieldKind::String, list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_UPDATE_RESPONSE, super::etcdserverpb::MemberUpdateResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_LIST_REQUEST, super::etcdserverpb::MemberListRequest, [
    FieldShape { name: "linearizable", json_name: "linearizable", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_LIST_RESPONSE, super::etcdserverpb::MemberListResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_PROMOTE_REQUEST, super::etcdserverpb::MemberPromoteRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MEMBER_PROMOTE_RESPONSE, super::etcdserverpb::MemberPromoteResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "members", json_name: "members", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_MEMBER), list: true, oneof: None },
]);
shaped!(MVCCPB_KEY_VALUE, super::mvccpb::KeyValue, [
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "create_revision", json_name: "createRevision", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "mod_revision", json_name: "modRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 5, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 6, kind: FieldKind::Int64, list: false, oneof: None },
]);
static MVCCPB_EVENT_EVENT_TYPE: EnumShape = EnumShape { name: "mvccpb.Event_EventType", values: &[("PUT", 0), ("DELETE", 1), ] };
shaped!(MVCCPB_EVENT, super::mvccpb::Event, [
    FieldShape { name: "type", json_name: "type", number: 1, kind: FieldKind::Enum(&MVCCPB_EVENT_EVENT_TYPE), list: false, oneof: None },
    FieldShape { name: "kv", json_name: "kv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 3, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
]);
static ETCDSERVERPB_RANGE_REQUEST_SORT_ORDER: EnumShape = EnumShape { name: "etcdserverpb.RangeRequest_SortOrder", values: &[("NONE", 0), ("ASCEND", 1), ("DESCEND", 2), ] };
static ETCDSERVERPB_RANGE_REQUEST_SORT_TARGET: EnumShape = EnumShape { name: "etcdserverpb.RangeRequest_SortTarget", values: &[("KEY", 0), ("VERSION", 1), ("CREATE", 2), ("MOD", 3), ("VALUE", 4), ] };
shaped!(ETCDSERVERPB_RANGE_REQUEST, super::etcdserverpb::RangeRequest, [
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
]);
shaped!(ETCDSERVERPB_RANGE_RESPONSE, super::etcdserverpb::RangeResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "kvs", json_name: "kvs", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
    FieldShape { name: "more", json_name: "more", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "count", json_name: "count", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_RANGE_STREAM_RESPONSE, super::etcdserverpb::RangeStreamResponse, [
    FieldShape { name: "range_response", json_name: "rangeResponse", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_PUT_REQUEST, super::etcdserverpb::PutRequest, [
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "ignore_value", json_name: "ignoreValue", number: 5, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "ignore_lease", json_name: "ignoreLease", number: 6, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_PUT_RESPONSE, super::etcdserverpb::PutResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_DELETE_RANGE_REQUEST, super::etcdserverpb::DeleteRangeRequest, [
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_DELETE_RANGE_RESPONSE, super::etcdserverpb::DeleteRangeResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "deleted", json_name: "deleted", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "prev_kvs", json_name: "prevKvs", number: 3, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_REQUEST_OP, super::etcdserverpb::RequestOp, [
    FieldShape { name: "request_range", json_name: "requestRange", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_put", json_name: "requestPut", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_PUT_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_delete_range", json_name: "requestDeleteRange", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_DELETE_RANGE_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
    FieldShape { name: "request_txn", json_name: "requestTxn", number: 4, kind: FieldKind::Message(&ETCDSERVERPB_TXN_REQUEST), list: false, oneof: Some("etcdserverpb.RequestOp.request") },
]);
shaped!(ETCDSERVERPB_RESPONSE_OP, super::etcdserverpb::ResponseOp, [
    FieldShape { name: "response_range", json_name: "responseRange", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_put", json_name: "responsePut", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_PUT_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_delete_range", json_name: "responseDeleteRange", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_DELETE_RANGE_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
    FieldShape { name: "response_txn", json_name: "responseTxn", number: 4, kind: FieldKind::Message(&ETCDSERVERPB_TXN_RESPONSE), list: false, oneof: Some("etcdserverpb.ResponseOp.response") },
]);
static ETCDSERVERPB_COMPARE_COMPARE_RESULT: EnumShape = EnumShape { name: "etcdserverpb.Compare_CompareResult", values: &[("EQUAL", 0), ("GREATER", 1), ("LESS", 2), ("NOT_EQUAL", 3), ] };
static ETCDSERVERPB_COMPARE_COMPARE_TARGET: EnumShape = EnumShape { name: "etcdserverpb.Compare_CompareTarget", values: &[("VERSION", 0), ("CREATE", 1), ("MOD", 2), ("VALUE", 3), ("LEASE", 4), ] };
shaped!(ETCDSERVERPB_COMPARE, super::etcdserverpb::Compare, [
    FieldShape { name: "result", json_name: "result", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_RESULT), list: false, oneof: None },
    FieldShape { name: "target", json_name: "target", number: 2, kind: FieldKind::Enum(&ETCDSERVERPB_COMPARE_COMPARE_TARGET), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "create_revision", json_name: "createRevision", number: 5, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "mod_revision", json_name: "modRevision", number: 6, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "value", json_name: "value", number: 7, kind: FieldKind::Bytes, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "lease", json_name: "lease", number: 8, kind: FieldKind::Int64, list: false, oneof: Some("etcdserverpb.Compare.target_union") },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 64, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_TXN_REQUEST, super::etcdserverpb::TxnRequest, [
    FieldShape { name: "compare", json_name: "compare", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_COMPARE), list: true, oneof: None },
    FieldShape { name: "success", json_name: "success", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
    FieldShape { name: "failure", json_name: "failure", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_REQUEST_OP), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_TXN_RESPONSE, super::etcdserverpb::TxnResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "succeeded", json_name: "succeeded", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "responses", json_name: "responses", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_OP), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_COMPACTION_REQUEST, super::etcdserverpb::CompactionRequest, [
    FieldShape { name: "revision", json_name: "revision", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "physical", json_name: "physical", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_COMPACTION_RESPONSE, super::etcdserverpb::CompactionResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_GRANT_REQUEST, super::etcdserverpb::LeaseGrantRequest, [
    FieldShape { name: "TTL", json_name: "TTL", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_GRANT_RESPONSE, super::etcdserverpb::LeaseGrantResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "error", json_name: "error", number: 4, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_REVOKE_REQUEST, super::etcdserverpb::LeaseRevokeRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_REVOKE_RESPONSE, super::etcdserverpb::LeaseRevokeResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_CHECKPOINT, super::etcdserverpb::LeaseCheckpoint, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "remaining_TTL", json_name: "remainingTTL", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_CHECKPOINT_REQUEST, super::etcdserverpb::LeaseCheckpointRequest, [
    FieldShape { name: "checkpoints", json_name: "checkpoints", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_LEASE_CHECKPOINT), list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_CHECKPOINT_RESPONSE, super::etcdserverpb::LeaseCheckpointResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_KEEP_ALIVE_REQUEST, super::etcdserverpb::LeaseKeepAliveRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_KEEP_ALIVE_RESPONSE, super::etcdserverpb::LeaseKeepAliveResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_TIME_TO_LIVE_REQUEST, super::etcdserverpb::LeaseTimeToLiveRequest, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "keys", json_name: "keys", number: 2, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_TIME_TO_LIVE_RESPONSE, super::etcdserverpb::LeaseTimeToLiveResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "ID", json_name: "ID", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "TTL", json_name: "TTL", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "grantedTTL", json_name: "grantedTTL", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "keys", json_name: "keys", number: 5, kind: FieldKind::Bytes, list: true, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_LEASES_REQUEST, super::etcdserverpb::LeaseLeasesRequest, [
]);
shaped!(ETCDSERVERPB_LEASE_STATUS, super::etcdserverpb::LeaseStatus, [
    FieldShape { name: "ID", json_name: "ID", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_LEASE_LEASES_RESPONSE, super::etcdserverpb::LeaseLeasesResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "leases", json_name: "leases", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_LEASE_STATUS), list: true, oneof: None },
]);
static ETCDSERVERPB_ALARM_TYPE: EnumShape = EnumShape { name: "etcdserverpb.AlarmType", values: &[("NONE", 0), ("NOSPACE", 1), ("CORRUPT", 2), ] };
static ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION: EnumShape = EnumShape { name: "etcdserverpb.AlarmRequest_AlarmAction", values: &[("GET", 0), ("ACTIVATE", 1), ("DEACTIVATE", 2), ] };
shaped!(ETCDSERVERPB_ALARM_REQUEST, super::etcdserverpb::AlarmRequest, [
    FieldShape { name: "action", json_name: "action", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_REQUEST_ALARM_ACTION), list: false, oneof: None },
    FieldShape { name: "memberID", json_name: "memberID", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "alarm", json_name: "alarm", number: 3, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_ALARM_MEMBER, super::etcdserverpb::AlarmMember, [
    FieldShape { name: "memberID", json_name: "memberID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "alarm", json_name: "alarm", number: 2, kind: FieldKind::Enum(&ETCDSERVERPB_ALARM_TYPE), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_ALARM_RESPONSE, super::etcdserverpb::AlarmResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "alarms", json_name: "alarms", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_ALARM_MEMBER), list: true, oneof: None },
]);
static ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION: EnumShape = EnumShape { name: "etcdserverpb.DowngradeRequest_DowngradeAction", values: &[("VALIDATE", 0), ("ENABLE", 1), ("CANCEL", 2), ] };
shaped!(ETCDSERVERPB_DOWNGRADE_REQUEST, super::etcdserverpb::DowngradeRequest, [
    FieldShape { name: "action", json_name: "action", number: 1, kind: FieldKind::Enum(&ETCDSERVERPB_DOWNGRADE_REQUEST_DOWNGRADE_ACTION), list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_DOWNGRADE_RESPONSE, super::etcdserverpb::DowngradeResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_DOWNGRADE_VERSION_TEST_REQUEST, super::etcdserverpb::DowngradeVersionTestRequest, [
    FieldShape { name: "ver", json_name: "ver", number: 1, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_DOWNGRADE_INFO, super::etcdserverpb::DowngradeInfo, [
    FieldShape { name: "enabled", json_name: "enabled", number: 1, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "targetVersion", json_name: "targetVersion", number: 2, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_STATUS_REQUEST, super::etcdserverpb::StatusRequest, [
]);
shaped!(ETCDSERVERPB_STATUS_RESPONSE, super::etcdserverpb::StatusResponse, [
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
]);
shaped!(ETCDSERVERPB_DEFRAGMENT_REQUEST, super::etcdserverpb::DefragmentRequest, [
]);
shaped!(ETCDSERVERPB_DEFRAGMENT_RESPONSE, super::etcdserverpb::DefragmentResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_HASH_REQUEST, super::etcdserverpb::HashRequest, [
]);
shaped!(ETCDSERVERPB_HASH_RESPONSE, super::etcdserverpb::HashResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "hash", json_name: "hash", number: 2, kind: FieldKind::Uint32, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_HASH_KVREQUEST, super::etcdserverpb::HashKvRequest, [
    FieldShape { name: "revision", json_name: "revision", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_HASH_KVRESPONSE, super::etcdserverpb::HashKvResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "hash", json_name: "hash", number: 2, kind: FieldKind::Uint32, list: false, oneof: None },
    FieldShape { name: "compact_revision", json_name: "compactRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "hash_revision", json_name: "hashRevision", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_SNAPSHOT_REQUEST, super::etcdserverpb::SnapshotRequest, [
]);
shaped!(ETCDSERVERPB_SNAPSHOT_RESPONSE, super::etcdserverpb::SnapshotResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "remaining_bytes", json_name: "remainingBytes", number: 2, kind: FieldKind::Uint64, list: false, oneof: None },
    FieldShape { name: "blob", json_name: "blob", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "version", json_name: "version", number: 4, kind: FieldKind::String, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MOVE_LEADER_REQUEST, super::etcdserverpb::MoveLeaderRequest, [
    FieldShape { name: "targetID", json_name: "targetID", number: 1, kind: FieldKind::Uint64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_MOVE_LEADER_RESPONSE, super::etcdserverpb::MoveLeaderResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_WATCH_REQUEST, super::etcdserverpb::WatchRequest, [
    FieldShape { name: "create_request", json_name: "createRequest", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_CREATE_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    FieldShape { name: "cancel_request", json_name: "cancelRequest", number: 2, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_CANCEL_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
    FieldShape { name: "progress_request", json_name: "progressRequest", number: 3, kind: FieldKind::Message(&ETCDSERVERPB_WATCH_PROGRESS_REQUEST), list: false, oneof: Some("etcdserverpb.WatchRequest.request_union") },
]);
static ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE: EnumShape = EnumShape { name: "etcdserverpb.WatchCreateRequest_FilterType", values: &[("NOPUT", 0), ("NODELETE", 1), ] };
shaped!(ETCDSERVERPB_WATCH_CREATE_REQUEST, super::etcdserverpb::WatchCreateRequest, [
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "range_end", json_name: "rangeEnd", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "start_revision", json_name: "startRevision", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "progress_notify", json_name: "progressNotify", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "filters", json_name: "filters", number: 5, kind: FieldKind::Enum(&ETCDSERVERPB_WATCH_CREATE_REQUEST_FILTER_TYPE), list: true, oneof: None },
    FieldShape { name: "prev_kv", json_name: "prevKv", number: 6, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "watch_id", json_name: "watchId", number: 7, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "fragment", json_name: "fragment", number: 8, kind: FieldKind::Bool, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_WATCH_CANCEL_REQUEST, super::etcdserverpb::WatchCancelRequest, [
    FieldShape { name: "watch_id", json_name: "watchId", number: 1, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(ETCDSERVERPB_WATCH_PROGRESS_REQUEST, super::etcdserverpb::WatchProgressRequest, [
]);
shaped!(ETCDSERVERPB_WATCH_RESPONSE, super::etcdserverpb::WatchResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "watch_id", json_name: "watchId", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "created", json_name: "created", number: 3, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "canceled", json_name: "canceled", number: 4, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "compact_revision", json_name: "compactRevision", number: 5, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "cancel_reason", json_name: "cancelReason", number: 6, kind: FieldKind::String, list: false, oneof: None },
    FieldShape { name: "fragment", json_name: "fragment", number: 7, kind: FieldKind::Bool, list: false, oneof: None },
    FieldShape { name: "events", json_name: "events", number: 11, kind: FieldKind::Message(&MVCCPB_EVENT), list: true, oneof: None },
]);
shaped!(V3ELECTIONPB_CAMPAIGN_REQUEST, super::v3electionpb::CampaignRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 3, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_CAMPAIGN_RESPONSE, super::v3electionpb::CampaignResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "leader", json_name: "leader", number: 2, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_LEADER_KEY, super::v3electionpb::LeaderKey, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "rev", json_name: "rev", number: 3, kind: FieldKind::Int64, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 4, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_LEADER_REQUEST, super::v3electionpb::LeaderRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_LEADER_RESPONSE, super::v3electionpb::LeaderResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "kv", json_name: "kv", number: 2, kind: FieldKind::Message(&MVCCPB_KEY_VALUE), list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_RESIGN_REQUEST, super::v3electionpb::ResignRequest, [
    FieldShape { name: "leader", json_name: "leader", number: 1, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_RESIGN_RESPONSE, super::v3electionpb::ResignResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_PROCLAIM_REQUEST, super::v3electionpb::ProclaimRequest, [
    FieldShape { name: "leader", json_name: "leader", number: 1, kind: FieldKind::Message(&V3ELECTIONPB_LEADER_KEY), list: false, oneof: None },
    FieldShape { name: "value", json_name: "value", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(V3ELECTIONPB_PROCLAIM_RESPONSE, super::v3electionpb::ProclaimResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
shaped!(V3LOCKPB_LOCK_REQUEST, super::v3lockpb::LockRequest, [
    FieldShape { name: "name", json_name: "name", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
    FieldShape { name: "lease", json_name: "lease", number: 2, kind: FieldKind::Int64, list: false, oneof: None },
]);
shaped!(V3LOCKPB_LOCK_RESPONSE, super::v3lockpb::LockResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
    FieldShape { name: "key", json_name: "key", number: 2, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(V3LOCKPB_UNLOCK_REQUEST, super::v3lockpb::UnlockRequest, [
    FieldShape { name: "key", json_name: "key", number: 1, kind: FieldKind::Bytes, list: false, oneof: None },
]);
shaped!(V3LOCKPB_UNLOCK_RESPONSE, super::v3lockpb::UnlockResponse, [
    FieldShape { name: "header", json_name: "header", number: 1, kind: FieldKind::Message(&ETCDSERVERPB_RESPONSE_HEADER), list: false, oneof: None },
]);
