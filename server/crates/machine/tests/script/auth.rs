//! Users and roles for scripts.
//!
//! `enable`, `disable`, `login USER`, `user add|add-no-password|delete|passwd NAME`, `user grant|revoke NAME ROLE`, `role
//! add|delete NAME`, `role grant NAME read|write|readwrite KEY [END]`, `role revoke NAME KEY [END]`, `show`. All other commands
//! operate on the v3 key space, and `read KEY [END]` checks read permission. `as USER [REVISION]` sets the caller, and `as
//! nobody` clears it. An end `^` means all keys at or above the first key.
//!
//! `v2 enable|disable|show`, `v2 user create|update|delete NAME [password] [+ROLE …] [-ROLE …]`, `v2 role create|update|delete
//! NAME [+rPATTERN …] [+wPATTERN …] [-rPATTERN …] [-wPATTERN …]` and `v2 may USER|- read|write|read-all|write-all PATH` are the
//! v2 commands; they print the tree's index.

use std::fmt::Write as _;

use bytes::Bytes;
use witan_machine::{
    Reply, StateMachine,
    auth::{
        AuthOperation, Authenticate, Caller, Disable, Enable, Permission, PermissionType, RoleAdd,
        RoleDelete, RoleGrant, RoleRevoke, UserAdd, UserDelete, UserGrant, UserPassword,
        UserRevoke,
    },
    command::Entry,
};

use crate::{ScriptRunner, auth_paths as paths, kv as keys};

#[derive(Default)]
pub(crate) struct AuthScript {
    machine: StateMachine,
    /// The user's name and the auth revision if it is not the current revision.
    caller: Option<(String, Option<u64>)>,
}

impl ScriptRunner for AuthScript {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let ["v2", words @ ..] = &words[..] {
            return paths::run(&mut self.machine, words);
        }
        if let Some(verb) = verb(&words) {
            let (command, caller) = (Some(verb.into()), self.caller());
            let entry = Entry { stamp: None, command, caller };
            let Reply::Auth(reply) = self.machine.apply(&entry).reply else {
                panic!("the reply belongs to a command on users")
            };
            return match reply {
                Ok(reply) => format!("{reply:?}\n"),
                Err(error) => format!("error: {error}\n"),
            };
        }
        match words[..] {
            ["as", "nobody"] => self.caller = None,
            ["as", name] => self.caller = Some((name.into(), None)),
            ["as", name, revision] => {
                self.caller = Some((name.into(), Some(revision.parse().unwrap())));
            }
            ["show"] => return self.show(),
            ["read", key] => return self.may_read(key, ""),
            ["read", key, end] => return self.may_read(key, end),
            _ => {
                let caller = self.caller();
                return keys::run(&mut self.machine, command, caller);
            }
        }
        String::new()
    }
}

impl AuthScript {
    fn caller(&self) -> Option<Caller> {
        let (user, revision) = self.caller.clone()?;
        Some(Caller {
            user,
            revision: revision.unwrap_or(self.machine.auth.revision()),
        })
    }

    fn may_read(&self, key: &str, end: &str) -> String {
        let caller = self.caller();
        let check = self.machine.check(caller.as_ref());
        match check.read(key.as_bytes(), &range_end(end)) {
            Ok(()) => "may\n".into(),
            Err(error) => format!("denied: {error}\n"),
        }
    }

    /// Prints the flag, the auth revision, all users with their password hashes, and all roles with their permissions.
    fn show(&self) -> String {
        let auth = &self.machine.auth;
        let mut out = String::new();
        let on = if auth.enabled() { "on" } else { "off" };
        writeln!(out, "{on} revision={}", auth.revision()).unwrap();
        for user in auth.users() {
            let (name, password) = (&user.name, String::from_utf8_lossy(&user.password));
            let no_password = if user.no_password { " no-password" } else { "" };
            writeln!(
                out,
                "user {name} [{password}] {:?}{no_password}",
                user.roles
            )
            .unwrap();
        }
        for role in auth.roles() {
            writeln!(out, "role {}", role.name).unwrap();
            for Permission { kind, key, range_end } in &role.permissions {
                let kind =
                    PermissionType::try_from(*kind).map_or("?".into(), |kind| format!("{kind:?}"));
                writeln!(out, "  {kind} {key:?} {range_end:?}").unwrap();
            }
        }
        out
    }
}

/// Parses a command on v3 users and roles. Returns `None` for any other command.
fn verb(words: &[&str]) -> Option<AuthOperation> {
    let text = |word: &str| word.to_owned();
    Some(match *words {
        ["enable"] => AuthOperation::Enable(Enable {}),
        ["disable"] => AuthOperation::Disable(Disable {}),
        ["login", user] => {
            AuthOperation::Authenticate(Authenticate { user: text(user), prefix: "secret".into() })
        }
        ["user", add @ ("add" | "add-no-password"), name] => AuthOperation::UserAdd(UserAdd {
            name: text(name),
            password: if add == "add" { "hash" } else { "" }.into(),
            no_password: add != "add",
        }),
        ["user", "add"] => AuthOperation::UserAdd(UserAdd::default()),
        ["user", "delete", name] => AuthOperation::UserDelete(UserDelete { name: text(name) }),
        ["user", "passwd", name] => {
            AuthOperation::UserPassword(UserPassword { name: text(name), password: "other".into() })
        }
        ["user", "grant", user, role] => {
            AuthOperation::UserGrant(UserGrant { user: text(user), role: text(role) })
        }
        ["user", "revoke", user, role] => {
            AuthOperation::UserRevoke(UserRevoke { user: text(user), role: text(role) })
        }
        ["role", "add"] => AuthOperation::RoleAdd(RoleAdd::default()),
        ["role", "add", name] => AuthOperation::RoleAdd(RoleAdd { name: text(name) }),
        ["role", "delete", name] => AuthOperation::RoleDelete(RoleDelete { name: text(name) }),
        ["role", "grant", role] => {
            AuthOperation::RoleGrant(RoleGrant { role: text(role), permission: None })
        }
        ["role", "grant", role, kind, key, ref end @ ..] => AuthOperation::RoleGrant(RoleGrant {
            role: text(role),
            permission: Some(Permission {
                kind: match kind {
                    "read" => PermissionType::Read as i32,
                    "write" => PermissionType::Write as i32,
                    "readwrite" => PermissionType::ReadWrite as i32,
                    number => number.parse().unwrap(),
                },
                key: text(key).into(),
                range_end: range_end(end.first().unwrap_or(&"")),
            }),
        }),
        ["role", "revoke", role, key, ref end @ ..] => AuthOperation::RoleRevoke(RoleRevoke {
            role: text(role),
            key: text(key).into(),
            range_end: range_end(end.first().unwrap_or(&"")),
        }),
        _ => return None,
    })
}

/// Parses an end, in which `^` means all keys at or above the first key.
fn range_end(word: &str) -> Bytes {
    match word {
        "^" => Bytes::from_static(b"\0"),
        end => Bytes::from(end.to_owned()),
    }
}
