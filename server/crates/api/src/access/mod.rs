//! All routes of all dialects, each with the access that it requires. The server routes and authorizes by these tables, and
//! `docs/reference/access.md` is generated from them. An end-to-end test calls every route as every kind of caller.
//!
//! A resource has the same protection in all dialects. Keys require the authentication of their key space. Administration
//! requires the root role if either authentication is enabled, because users, members and snapshots belong to both.
//!
//! Reading order: this file (kinds of access) → `http` → `grpc` → `page`.

#[macro_use]
mod grpc;
mod http;
mod page;

pub use grpc::{CallType, GRPC, GrpcRoute, gateway_paths};
pub use http::{HTTP, HttpRoute, PathScope, Resource, V2Resource};
pub use page::markdown;

/// The access that a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everybody: health, versions, schemas, authentication itself.
    Public,
    /// A permission on v3 keys, while v3 authentication is enabled.
    V3Keys,
    /// Any user, while v3 authentication is enabled.
    V3User,
    /// The root role, while v3 authentication is enabled, for calls that change only v3's key space.
    V3Root,
    /// A role with a pattern that covers the key, while v2 authentication is enabled. v1 has the same keys.
    V2Keys,
    /// The root role, or the user that the request concerns, while v2 or v3 authentication is enabled.
    OwnUser,
    /// The root role, while v2 or v3 authentication is enabled.
    Root,
}

/// The authentications that are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthSwitches {
    /// Whether v2 authentication is enabled, by `/v2/auth/enable`.
    pub v2: bool,
    /// Whether v3 authentication is enabled, by `AuthEnable`.
    pub v3: bool,
}

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// A request without a token or a password.
    Anonymous,
    /// A request with an invalid token or password.
    Invalid,
    /// A user without permissions.
    User,
    /// A user with the root role.
    Root,
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

    /// Returns whether callers must authenticate while the authentications `on` are enabled.
    pub fn is_asked(self, on: AuthSwitches) -> bool {
        match self {
            Self::Public => false,
            Self::V3Keys | Self::V3User | Self::V3Root => on.v3,
            Self::V2Keys => on.v2,
            Self::OwnUser | Self::Root => on.v2 || on.v3,
        }
    }

    /// Returns whether a caller of this kind has access to a resource that is not its own.
    pub fn admits(self, who: CallerKind, on: AuthSwitches) -> bool {
        if !self.is_asked(on) {
            return true;
        }
        match who {
            CallerKind::Anonymous | CallerKind::Invalid => false,
            CallerKind::User => self == Self::V3User,
            CallerKind::Root => true,
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

    /// Describes the access for the table in `docs/reference/access.md`.
    pub fn description(self) -> &'static str {
        match self {
            Self::Public => "everybody, without authentication",
            Self::V3Keys => "a user with a permission on the keys, while v3's authentication is on",
            Self::V3User => "any user, while v3's authentication is on",
            Self::V3Root => {
                "a user with the role root, while v3's authentication is on (only v3's history is affected)"
            }
            Self::V2Keys => {
                "a user, or the guest, with a pattern that covers the key, while v2's authentication is on"
            }
            Self::OwnUser => {
                "the user that the request concerns, or one with the role root, while the authentication \
                 of v2 or of v3 is on"
            }
            Self::Root => {
                "a user with the role root, while the authentication of v2 or of v3 is on"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: AuthSwitches = AuthSwitches { v2: false, v3: false };
    const V2: AuthSwitches = AuthSwitches { v2: true, ..OFF };
    const V3: AuthSwitches = AuthSwitches { v3: true, ..OFF };

    #[test]
    fn keys_require_authentication_of_their_key_space_and_administration_of_either() {
        for access in Access::ALL {
            assert!(access.admits(CallerKind::Anonymous, OFF), "{access:?}");
            for on in [V2, V3] {
                assert!(access.admits(CallerKind::Root, on), "{access:?}");
            }
        }
        for on in [V2, V3] {
            assert!(!Access::Root.admits(CallerKind::Anonymous, on));
            assert!(!Access::Root.admits(CallerKind::User, on));
            assert!(!Access::OwnUser.admits(CallerKind::User, on));
            assert!(Access::Public.admits(CallerKind::Invalid, on));
        }
        assert!(
            Access::V3Keys.admits(CallerKind::Anonymous, V2)
                && !Access::V3Keys.admits(CallerKind::User, V3)
        );
        assert!(
            Access::V2Keys.admits(CallerKind::Anonymous, V3)
                && !Access::V2Keys.admits(CallerKind::User, V2)
        );
        assert!(
            Access::V3User.admits(CallerKind::User, V3)
                && !Access::V3User.admits(CallerKind::Invalid, V3)
        );
        assert!(!Access::V3Root.admits(CallerKind::User, V3));
    }
}
