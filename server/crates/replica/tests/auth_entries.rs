//! Log entries about users that an older release wrote keep the meaning that they had.

use witan_replica::machine::{
    Machine, Reply,
    auth::{self, Error, paths},
    command::{Command, Entry},
};

fn apply(machine: &mut Machine, verb: auth::Verb, by_either: bool) -> Reply {
    let command = auth::Command {
        verb: Some(verb),
        by_either,
    };
    let entry = Entry {
        command: Some(Command::Auth(command)),
        ..Entry::default()
    };
    machine.apply(&entry).reply
}

/// Users and a root, with auth of v2 on and of v3 off.
fn guarded_by_v2() -> Machine {
    let mut machine = Machine::default();
    let user = auth::UserAdd {
        name: "root".into(),
        no_password: true,
        ..auth::UserAdd::default()
    };
    let role = auth::RoleAdd {
        name: "root".into(),
    };
    let grant = auth::UserGrant {
        user: "root".into(),
        role: "root".into(),
    };
    let enable = paths::Command {
        verb: Some(paths::Verb::Enable(auth::Enable {})),
    };
    for verb in [
        auth::Verb::UserAdd(user),
        auth::Verb::RoleAdd(role),
        auth::Verb::UserGrant(grant),
        auth::Verb::Paths(enable),
    ] {
        apply(&mut machine, verb, true);
    }
    machine
}

#[test]
fn an_old_entry_that_enables_auth_of_v3_still_enables_it() {
    let enable = auth::Verb::Enable(auth::Enable {});
    let mut machine = guarded_by_v2();
    let refused = apply(&mut machine, enable.clone(), true);
    assert_eq!(refused, Reply::Auth(Err(Error::UserEmpty)));
    let replayed = apply(&mut machine, enable, false);
    assert_eq!(replayed, Reply::Auth(Ok(auth::Reply::Done)));
    let refused = apply(&mut machine, auth::Verb::Disable(auth::Disable {}), false);
    assert_eq!(refused, Reply::Auth(Err(Error::UserEmpty)));
}

#[test]
fn an_old_entry_that_changes_a_user_beside_v2_alone_is_still_refused() {
    let role = auth::Verb::RoleAdd(auth::RoleAdd { name: "r".into() });
    let replayed = apply(&mut guarded_by_v2(), role, false);
    assert_eq!(replayed, Reply::Auth(Err(Error::PermissionDenied)));
}
