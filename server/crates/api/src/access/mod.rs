//! All routes of all dialects, each with the access that it requires. The server routes and authorizes requests by these
//! tables, and `docs/reference/access.md` is generated from them. An end-to-end test calls every route as every kind of caller.
//!
//! A resource has the same protection in all dialects. Keys require the authentication of their key space. Administration
//! requires the root role if v2 or v3 authentication is enabled, because users, members and snapshots belong to both.
//!
//! Reading order: this file (kinds of access) → `http` → `grpc` → `page`.

#[macro_use]
mod grpc;
mod http;
#[cfg(test)]
mod page;

pub use grpc::{CallType, GRPC, GrpcRoute, gateway_paths};
pub use http::{HTTP, HttpRoute, PathScope, Resource, V2Resource};

/// The access that a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everybody has access: health checks, versions, schemas and authentication itself.
    Public,
    /// A permission on v3 keys, while v3 authentication is enabled.
    V3Keys,
    /// Any user, while v3 authentication is enabled.
    V3User,
    /// The root role, while v3 authentication is enabled. The calls change only the v3 key space.
    V3Root,
    /// A role with a pattern that covers the key, while v2 authentication is enabled. v1 uses the same keys.
    V2Keys,
    /// The root role, the user that the request names, or a user with the role that the request names, while v2 or v3
    /// authentication is enabled.
    OwnUser,
    /// The root role, while v2 or v3 authentication is enabled.
    Root,
}

/// The kinds of authentication that are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthSwitches {
    /// Whether v2 authentication is enabled, by `/v2/auth/enable`.
    pub v2: bool,
    /// Whether v3 authentication is enabled, by `AuthEnable`.
    pub v3: bool,
}

impl Access {
    /// All kinds of access.
    pub const ALL: [Self; 7] = [
        Self::Public,
        Self::V3Keys,
        Self::V3User,
        Self::V3Root,
        Self::V2Keys,
        Self::OwnUser,
        Self::Root,
    ];

    /// Returns whether the access is restricted while the kinds of authentication in `on` are enabled. Callers must then
    /// authenticate, except for v2 keys that the guest role covers.
    pub fn needs_authentication(self, on: AuthSwitches) -> bool {
        match self {
            Self::Public => false,
            Self::V3Keys | Self::V3User | Self::V3Root => on.v3,
            Self::V2Keys => on.v2,
            Self::OwnUser | Self::Root => on.v2 || on.v3,
        }
    }

    /// Returns a short name for tests and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "everybody",
            Self::V3Keys => "v3 keys",
            Self::V3User => "v3 user",
            Self::V3Root => "v3 root",
            Self::V2Keys => "v2 keys",
            Self::OwnUser => "own user",
            Self::Root => "root",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_require_the_authentication_of_their_key_space_and_administration_requires_either() {
        let [v2, v3] = [true, false].map(|v2| AuthSwitches { v2, v3: !v2 });
        for access in Access::ALL {
            assert!(
                !access.needs_authentication(AuthSwitches::default()),
                "{access:?}"
            );
            let expect = match access {
                Access::Public => [false, false],
                Access::V2Keys => [true, false],
                Access::V3Keys | Access::V3User | Access::V3Root => [false, true],
                Access::OwnUser | Access::Root => [true, true],
            };
            assert_eq!(
                [v2, v3].map(|on| access.needs_authentication(on)),
                expect,
                "{access:?}"
            );
        }
    }
}
