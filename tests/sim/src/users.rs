//! The callers of requests. In runs with users, clients change users, roles and permissions, and most writes have a caller
//! while authentication is enabled. The other runs have no users.

use bytes::Bytes;
use witan_machine::{
    auth::{
        AuthOperation, Authenticate, Caller, Disable, Enable, Permission, PermissionType, ROOT,
        RoleAdd, RoleDelete, RoleGrant, RoleRevoke, UserAdd, UserDelete, UserGrant, UserPassword,
        UserRevoke,
    },
    command::Command,
    view::View,
};

use crate::rng::Rng;

/// Percentage of requests about users and roles in a run with users.
const REQUESTS_PERCENT: u64 = 12;

/// Percentage of callers that were authenticated before the last change of users or roles.
const STALE_PERCENT: u64 = 5;

/// The users: the administrator and two others.
const USERS: [&str; 3] = [ROOT, "u0", "u1"];

const ROLES: [&str; 3] = [ROOT, "r0", "r1"];

/// First keys and ends of the ranges: single keys, and ranges that overlap.
const RANGES: [(&str, &str); 6] = [
    ("k0", ""),
    ("k1", "k4"),
    ("k3", "k6"),
    ("k2", "\0"),
    ("k", "l"),
    ("l", "m"),
];

/// Draws a request about users and roles, or `None` in most cases.
pub(crate) fn draw(rng: &mut Rng) -> Option<Command> {
    let asks = rng.chance(REQUESTS_PERCENT);
    asks.then(|| operation(rng).into())
}

/// Draws the caller of an operation: an existing user while authentication is enabled, or `None`. A few callers have an
/// outdated auth revision.
pub(crate) fn caller(rng: &mut Rng, view: &View) -> Option<Caller> {
    let user = match rng.range(0, 99) {
        0..=44 => ROOT,
        45..=69 => "u0",
        70..=94 => "u1",
        _ => return None,
    };
    let auth = &view.machine.auth;
    let stale = u64::from(rng.chance(STALE_PERCENT));
    let known = auth.enabled() && auth.user(user).is_some();
    known.then(|| Caller {
        user: String::from(user),
        revision: (auth.revision() - stale).max(1),
    })
}

fn operation(rng: &mut Rng) -> AuthOperation {
    let user = String::from(*rng.pick(&USERS));
    let role = String::from(*rng.pick(&ROLES));
    let (key, range_end) = *rng.pick(&RANGES);
    let (key, range_end) = (Bytes::from(key), Bytes::from(range_end));
    let kinds = [
        PermissionType::Read,
        PermissionType::Write,
        PermissionType::ReadWrite,
    ];
    let password = Bytes::from_static(b"a hash");
    match rng.range(0, 99) {
        0..=17 => {
            AuthOperation::UserAdd(UserAdd { name: user, password, no_password: rng.chance(20) })
        }
        18..=31 => AuthOperation::RoleAdd(RoleAdd { name: role }),
        32..=51 => AuthOperation::UserGrant(UserGrant { user, role }),
        52..=66 => AuthOperation::RoleGrant(RoleGrant {
            role,
            permission: Some(Permission { kind: *rng.pick(&kinds) as i32, key, range_end }),
        }),
        67..=81 => AuthOperation::Enable(Enable {}),
        82..=83 => AuthOperation::Disable(Disable {}),
        84..=86 => AuthOperation::UserRevoke(UserRevoke { user, role }),
        87..=90 => AuthOperation::RoleRevoke(RoleRevoke { role, key, range_end }),
        91..=92 => AuthOperation::UserDelete(UserDelete { name: user }),
        93..=94 => AuthOperation::RoleDelete(RoleDelete { name: role }),
        95..=96 => AuthOperation::UserPassword(UserPassword { name: user, password }),
        _ => AuthOperation::Authenticate(Authenticate { user, prefix: String::from("token") }),
    }
}
