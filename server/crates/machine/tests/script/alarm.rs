//! Alarms as a room for scripts: `raise MEMBER KIND`, `lower MEMBER KIND`, `list [KIND]`, where a
//! kind is `nospace`, `corrupt` or a number; every other command is one of the v3 key space.

use std::fmt::Write as _;

use witan_machine::{
    Reply, StateMachine,
    alarm::{Alarm, AlarmAction, AlarmCommand, AlarmType},
    command::{Command, Entry},
    kv,
};

use crate::{Room, kv as keys};

#[derive(Default)]
pub(crate) struct AlarmRoom {
    machine: StateMachine,
}

impl Room for AlarmRoom {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["raise", member, of] => self.alarm(AlarmAction::Activate, member, of),
            ["lower", member, of] => self.alarm(AlarmAction::Deactivate, member, of),
            ["list"] => shown(self.machine.alarms.list(None)),
            ["list", of] => shown(self.machine.alarms.list(Some(kind(of)))),
            _ => {
                let verb = Some(keys::verb(command));
                let reply = self.apply(Command::Kv(kv::KvCommand { operation: verb }));
                let Reply::Kv(reply) = reply else {
                    panic!("{reply:?}")
                };
                keys::shown_reply(&reply, self.machine.kv.revision())
            }
        }
    }
}

impl AlarmRoom {
    fn alarm(&mut self, action: AlarmAction, member: &str, of: &str) -> String {
        let command = AlarmCommand {
            action: action as i32,
            member: member.parse().unwrap(),
            kind: kind(of),
        };
        let reply = self.apply(Command::Alarm(command));
        let Reply::Alarm(alarm) = reply else {
            panic!("{reply:?}")
        };
        shown(alarm.into_iter())
    }

    fn apply(&mut self, command: Command) -> Reply {
        let entry = Entry { stamp: None, command: Some(command), caller: None };
        self.machine.apply(&entry).reply
    }
}

fn kind(word: &str) -> i32 {
    match word {
        "nospace" => AlarmType::NoSpace as i32,
        "corrupt" => AlarmType::Corrupt as i32,
        number => number.parse().unwrap(),
    }
}

fn shown(alarms: impl Iterator<Item = Alarm>) -> String {
    let mut out = String::new();
    for Alarm { kind, member } in alarms {
        match AlarmType::try_from(kind) {
            Ok(kind) => {
                writeln!(out, "{} {}", member.0, format!("{kind:?}").to_lowercase()).unwrap()
            }
            Err(_) => writeln!(out, "{} {kind}", member.0).unwrap(),
        }
    }
    if out.is_empty() {
        out.push_str("none\n");
    }
    out
}
