//! The state machine for scripts. Leases: `grant ID TTL`, `revoke ID`, `expire ID ...`, `note ID=SECONDS ...`, `leases` (each
//! with its TTL, its recorded remaining seconds, if any, and its keys). Alarms: `raise MEMBER KIND`, `lower MEMBER KIND`, `list
//! [KIND]`, where a kind is `nospace`, `corrupt` or a number. `restart` adds the changes since the last restart to the
//! checkpoint and loads the state from the checkpoint. All other commands operate on the v3 key space.

use std::{collections::BTreeMap, fmt::Write as _};

use witan_machine::{
    Reply, StateMachine,
    alarm::{Alarm, AlarmAction, AlarmCommand, AlarmType},
    command::{Command, Entry},
    lease::{
        self, LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseOperation, LeaseRevoke, RemainingTtl,
    },
    record::RecordChange,
};

use crate::{ScriptRunner, kv as keys};

#[derive(Default)]
pub(crate) struct MachineScript {
    machine: StateMachine,
    /// The state whose records are in `records`.
    written: Option<StateMachine>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ScriptRunner for MachineScript {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let id = |word: &str| word.parse::<i64>().unwrap();
        match words[..] {
            ["grant", of, ttl] => self.lease(LeaseOperation::Grant(LeaseGrant {
                id: id(of),
                ttl_s: id(ttl),
            })),
            ["revoke", of] => self.lease(LeaseOperation::Revoke(LeaseRevoke { id: id(of) })),
            ["expire", ref ids @ ..] => self.lease(LeaseOperation::Expire(LeaseExpire {
                ids: ids.iter().map(|of| id(of)).collect(),
            })),
            ["note", ref left @ ..] => self.lease(LeaseOperation::Checkpoint(LeaseCheckpoint {
                remaining: left
                    .iter()
                    .map(|word| word.split_once('=').unwrap())
                    .map(|(of, seconds)| RemainingTtl { id: id(of), seconds: id(seconds) })
                    .collect(),
            })),
            ["leases"] => self.leases(),
            ["restart"] => self.restart(),
            ["raise", member, of] => self.alarm(AlarmAction::Activate, member, of),
            ["lower", member, of] => self.alarm(AlarmAction::Deactivate, member, of),
            ["list"] => shown(self.machine.alarms.list(None)),
            ["list", of] => shown(self.machine.alarms.list(Some(kind(of)))),
            _ => keys::run(&mut self.machine, command, None),
        }
    }
}

impl MachineScript {
    fn lease(&mut self, verb: LeaseOperation) -> String {
        let Reply::Lease(reply) = self.apply(verb.into()) else {
            panic!("the reply belongs to a lease command")
        };
        let revision = self.machine.kv.revision();
        match reply {
            Ok(lease::LeaseReply::Granted(lease::Granted { ttl_s })) => {
                format!("granted {ttl_s}\nrev={revision}\n")
            }
            Ok(lease::LeaseReply::Revoked) => format!("revoked\nrev={revision}\n"),
            Ok(lease::LeaseReply::Expired { ids }) => {
                let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
                format!("expired {ids:?}\nrev={revision}\n")
            }
            Ok(lease::LeaseReply::Checkpointed) => "noted\n".into(),
            Err(error) => format!("error: {error}\n"),
        }
    }

    fn leases(&self) -> String {
        let leases = self.machine.kv.leases();
        let mut out = String::new();
        for (id, lease) in leases.iter() {
            write!(out, "{} ttl={}", id.0, lease.ttl_s).unwrap();
            if lease.remaining_ttl_s != 0 {
                write!(out, " left={}", lease.remaining_ttl_s).unwrap();
            }
            for key in leases.keys(id) {
                write!(out, " {}", key.escape_ascii()).unwrap();
            }
            out.push('\n');
        }
        writeln!(out, "{} leases, {} keys", leases.len(), leases.attached()).unwrap();
        out
    }

    /// Writes the changes since the last restart to the records, and replaces the state with a state that is loaded from the
    /// records.
    fn restart(&mut self) -> String {
        let records = &mut self.records;
        self.machine
            .changes(self.written.as_ref(), &mut |change| match change {
                RecordChange::Put { key, value } => {
                    records.insert(key, value);
                }
                RecordChange::Delete { key } => {
                    records.remove(&key);
                }
            });
        let mut loaded = StateMachine::default();
        for (key, value) in records {
            loaded.load(key, value).unwrap();
        }
        loaded.finish_load().unwrap();
        self.machine = loaded;
        self.written = Some(self.machine.clone());
        "ok\n".into()
    }

    fn alarm(&mut self, action: AlarmAction, member: &str, of: &str) -> String {
        let command = AlarmCommand {
            action: action as i32,
            member: member.parse().unwrap(),
            kind: kind(of),
        };
        let Reply::Alarm(alarm) = self.apply(Command::Alarm(command)) else {
            panic!("the reply belongs to an alarm command")
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

/// Prints the member and type of each alarm on a line, or `none` if there are no alarms.
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
