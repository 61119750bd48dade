//! Checks that an older release's log entries about users keep their effect.

use witan_machine::{
    Reply, StateMachine,
    auth::{self, AuthError, path_permissions},
    command::{Command, Entry},
};

fn apply(machine: &mut StateMachine, verb: auth::AuthOperation, by_either: bool) -> Reply {
    let command = auth::AuthCommand { operation: Some(verb), by_either };
    let entry = Entry { command: Some(Command::Auth(command)), ..Entry::default() };
    machine.apply(&entry).reply
}

/// Returns a state with a root user, v2 authentication enabled and v3 authentication disabled.
fn guarded_by_v2() -> StateMachine {
    let mut machine = StateMachine::default();
    let user = auth::UserAdd {
        name: "root".into(),
        no_password: true,
        ..auth::UserAdd::default()
    };
    let role = auth::RoleAdd { name: "root".into() };
    let grant = auth::UserGrant { user: "root".into(), role: "root".into() };
    let enable = path_permissions::PathAuthCommand {
        operation: Some(path_permissions::PathAuthOperation::Enable(auth::Enable {})),
    };
    for verb in [
        auth::AuthOperation::UserAdd(user),
        auth::AuthOperation::RoleAdd(role),
        auth::AuthOperation::UserGrant(grant),
        auth::AuthOperation::Paths(enable),
    ] {
        apply(&mut machine, verb, true);
    }
    machine
}

#[test]
fn an_old_entry_that_enables_v3_authentication_still_enables_it() {
    let enable = auth::AuthOperation::Enable(auth::Enable {});
    let mut machine = guarded_by_v2();
    let refused = apply(&mut machine, enable.clone(), true);
    assert_eq!(refused, Reply::Auth(Err(AuthError::UserEmpty)));
    let replayed = apply(&mut machine, enable, false);
    assert_eq!(replayed, Reply::Auth(Ok(auth::AuthReply::Done)));
    let refused = apply(
        &mut machine,
        auth::AuthOperation::Disable(auth::Disable {}),
        false,
    );
    assert_eq!(refused, Reply::Auth(Err(AuthError::UserEmpty)));
}

#[test]
fn an_old_entry_that_changes_a_user_is_still_refused_while_only_v2_is_enabled() {
    let role = auth::AuthOperation::RoleAdd(auth::RoleAdd { name: "r".into() });
    let replayed = apply(&mut guarded_by_v2(), role, false);
    assert_eq!(replayed, Reply::Auth(Err(AuthError::PermissionDenied)));
}
