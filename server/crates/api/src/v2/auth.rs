//! JSON of `/v2/auth`. Fields have the order on the wire.

#![expect(missing_docs, reason = "the names come from etcd's JSON")]

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// Path for reading and changing whether authentication is enabled.
pub const ENABLE: &str = "/v2/auth/enable";
pub const USERS: &str = "/v2/auth/users";
pub const ROLES: &str = "/v2/auth/roles";

/// Error 401: the caller is not authenticated or lacks a permission.
pub const INSUFFICIENT: &str = "Insufficient credentials";
/// Error 400: there is no resource at this path, for example because the name contains a slash.
pub const INVALID_PATH: &str = "Invalid path";
/// Error 400: the body is incomplete, too large, or not valid JSON of the expected type.
pub const INVALID_JSON: &str = "Invalid JSON in request body.";
/// Error 400: the body and the path name different users.
pub const OTHER_USER: &str = "User JSON name does not match the name in the URL";
/// Error 400: the body and the path name different roles.
pub const OTHER_ROLE: &str = "Role JSON name does not match the name in the URL";
/// Error 400: the body contains both `roles`, which create a user, and `grant` or `revoke`, which change one.
pub const ROLES_AND_GRANT: &str = "User JSON contains both roles and grant/revoke";
/// Error 400: the body contains both `permissions`, which create a role, and `grant` or `revoke`, which change one.
pub const PERMISSIONS_AND_GRANT: &str = "Role JSON contains both permissions and grant/revoke";

/// Implements `Deserialize` for the types in request bodies. As in Go, the case of names does not matter, the last of several
/// fields with the same name wins, and `null` sets nothing. Other fields are skipped without being copied.
macro_rules! read_fields {
    ($($type:ident { $($field:ident),+ })+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> Visitor<'de> for Fields {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<$type, A::Error> {
                        let mut read = $type::default();
                        while let Some(name) = from.next_key::<String>()? {
                            $(if name.eq_ignore_ascii_case(stringify!($field)) {
                                let value: Option<_> = from.next_value()?;
                                if let Some(value) = value {
                                    read.$field = value;
                                }
                                continue;
                            })+
                            from.next_value::<IgnoredAny>()?;
                        }
                        Ok(read)
                    }
                }

                from.deserialize_map(Fields)
            }
        }
    )+};
}

read_fields! {
    Patterns { read, write }
    Permissions { kv }
    RoleChange { role, permissions, grant, revoke }
    UserChange { user, password, roles, grant, revoke }
}

/// Patterns of paths. A list is `null` if it was never set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Patterns {
    pub read: Option<Vec<String>>,
    pub write: Option<Vec<String>>,
}

impl Patterns {
    /// Returns whether both lists are empty or absent.
    pub fn is_empty(&self) -> bool {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        empty(&self.read) && empty(&self.write)
    }
}

/// Permissions of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    pub kv: Patterns,
}

/// A role in a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Role {
    pub role: String,
    pub permissions: Permissions,
}

/// A role in a request that creates or changes the role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleChange {
    pub role: String,
    /// Permissions of a new role.
    pub permissions: Option<Permissions>,
    pub grant: Option<Permissions>,
    pub revoke: Option<Permissions>,
}

/// A user in a request that creates or changes the user.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserChange {
    pub user: String,
    /// Password in plain text; absent or empty for none.
    pub password: Option<String>,
    /// Names of the roles of a new user.
    pub roles: Option<Vec<String>>,
    pub grant: Option<Vec<String>>,
    pub revoke: Option<Vec<String>>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_in_go() {
        let user = r#"{"user":"a","x":[{"":0}],"user":"b","roles":["r"],"grant":null}"#;
        let user: UserChange = serde_json::from_str(user).unwrap();
        let roles = Some(vec!["r".to_owned()]);
        assert!(user == UserChange { user: "b".into(), roles, ..UserChange::default() });
        let role = r#"{"grant":{"kv":{"read":["/a"],"read":["/b"],"write":null}},"role":"r"}"#;
        let role: RoleChange = serde_json::from_str(role).unwrap();
        let kv = Patterns { read: Some(vec!["/b".into()]), write: None };
        let grant = Some(Permissions { kv });
        assert_eq!(
            role,
            RoleChange { role: "r".into(), grant, ..RoleChange::default() }
        );
        let role = r#"{"Role":"r","permissions":{"KV":null},"role":null}"#;
        let role: RoleChange = serde_json::from_str(role).unwrap();
        let permissions = Some(Permissions::default());
        assert_eq!(
            role,
            RoleChange { role: "r".into(), permissions, ..RoleChange::default() }
        );
        for body in ["[]", "null", r#"{"user":1}"#, r#"{"user":1,"user":"a"}"#] {
            assert!(serde_json::from_str::<UserChange>(body).is_err(), "{body}");
        }
    }
}
