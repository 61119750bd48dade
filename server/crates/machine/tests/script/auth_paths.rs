//! Script commands for v2 users and roles.

use std::fmt::Write as _;

use witan_machine::{
    Reply, StateMachine,
    auth::{
        self, Auth, Disable, Enable, RoleDelete, UserDelete,
        path_permissions::{
            PathAccess, PathAuthOperation, PathAuthReply, PathPatterns, RoleCreate, RoleUpdate,
            UserCreate, UserUpdate,
        },
    },
    command::Entry,
};

/// Executes the words after `v2`.
pub(crate) fn run(machine: &mut StateMachine, words: &[&str]) -> String {
    match words {
        ["show"] => return show(machine),
        ["may", user, wish, path] => return may(machine, user, wish, path),
        _ => {}
    }
    let command = Some(verb(words).into());
    let entry = Entry { stamp: None, command, caller: None };
    let Reply::Auth(Ok(auth::AuthReply::Paths(done))) = machine.apply(&entry).reply else {
        panic!("the reply belongs to a v2 command")
    };
    let answer = match done.answer {
        Ok(PathAuthReply::Done) => "done".into(),
        Ok(PathAuthReply::Roles(roles)) => format!("roles {roles:?}"),
        Ok(PathAuthReply::Patterns(PathPatterns { read, write })) => {
            format!("read {read:?} write {write:?}")
        }
        Err(refusal) => format!("error: {refusal}"),
    };
    let ends = done
        .tokens_revoked_of
        .map(|user| format!(", tokens of {user} end"));
    let index = machine.tree.index();
    format!("{index}: {answer}{}\n", ends.unwrap_or_default())
}

/// Prints whether a user (`-` for an anonymous request) has access to a path. Panics if the user does not exist.
fn may(machine: &StateMachine, user: &str, wish: &str, path: &str) -> String {
    let auth = &machine.auth;
    let user = (user != "-").then(|| auth.user(user).unwrap());
    let wish = PathAccess {
        write: wish.starts_with("write"),
        recursive: wish.ends_with("-all"),
    };
    let may = auth.allows_path(user, path.as_bytes(), wish);
    if may { "may\n" } else { "may not\n" }.into()
}

fn show(machine: &StateMachine) -> String {
    let auth = &machine.auth;
    let mut out = String::new();
    let on = if auth.path_auth_enabled() {
        "on"
    } else {
        "off"
    };
    writeln!(out, "{on} index={}", machine.tree.index()).unwrap();
    for user in auth.users() {
        let password = String::from_utf8_lossy(&user.password);
        let roles = Auth::path_roles(user);
        writeln!(out, "user {} [{password}] {roles:?}", user.name).unwrap();
    }
    for role in auth.path_role_names() {
        let PathPatterns { read, write } = auth.patterns(&role).unwrap();
        writeln!(out, "role {role} read {read:?} write {write:?}").unwrap();
    }
    out
}

/// Parses a command that changes v2 users, roles or the flag. Panics for any other command.
fn verb(words: &[&str]) -> PathAuthOperation {
    match words {
        ["enable"] => PathAuthOperation::Enable(Enable {}),
        ["disable"] => PathAuthOperation::Disable(Disable {}),
        ["user", "delete", name] => {
            PathAuthOperation::UserDelete(UserDelete { name: (*name).into() })
        }
        ["role", "delete", name] => {
            PathAuthOperation::RoleDelete(RoleDelete { name: (*name).into() })
        }
        ["user", "create", name, rest @ ..] => PathAuthOperation::UserCreate(UserCreate {
            name: (*name).into(),
            password: "hash".into(),
            roles: after(rest, "+"),
        }),
        ["user", "update", name, rest @ ..] => PathAuthOperation::UserUpdate(UserUpdate {
            name: (*name).into(),
            password: if rest.contains(&"password") {
                "other"
            } else {
                ""
            }
            .into(),
            grant: after(rest, "+"),
            revoke: after(rest, "-"),
        }),
        ["role", "create", name, rest @ ..] => PathAuthOperation::RoleCreate(RoleCreate {
            name: (*name).into(),
            patterns: patterns(rest, ["+r", "+w"]),
        }),
        ["role", "update", name, rest @ ..] => PathAuthOperation::RoleUpdate(RoleUpdate {
            name: (*name).into(),
            grant: patterns(rest, ["+r", "+w"]),
            revoke: patterns(rest, ["-r", "-w"]),
        }),
        _ => panic!("unknown v2 command: {words:?}"),
    }
}

fn patterns(words: &[&str], [read, write]: [&str; 2]) -> PathPatterns {
    PathPatterns { read: after(words, read), write: after(words, write) }
}

fn after(words: &[&str], sign: &str) -> Vec<String> {
    let found = words.iter().filter_map(|word| word.strip_prefix(sign));
    found.map(str::to_owned).collect()
}
