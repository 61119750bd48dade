//! Leases as a room for scripts: `grant ID TTL`, `revoke ID`, `expire ID ...`, `note ID=SECONDS ...`,
//! `leases` (each with its seconds, what it has left if that was noted, and its keys), `restart` (from
//! checkpoints: one of the state before the last restart, and what changed since), `raise KIND`;
//! every other command is one of the v3 key space.

use std::{collections::BTreeMap, fmt::Write as _};

use witan_machine::{
    Reply, StateMachine,
    alarm::{self, AlarmType},
    command::{Command, Entry},
    kv,
    lease::{
        self, LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseOperation, LeaseRevoke, RemainingTtl,
    },
    record::RecordChange,
};

use crate::{Room, kv as keys};

#[derive(Default)]
pub(crate) struct LeaseRoom {
    machine: StateMachine,
    /// The state that the records below were made of.
    written: Option<StateMachine>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Room for LeaseRoom {
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
            ["raise", kind] => self.raise(kind),
            ["get", ..] => keys::read(&self.machine.kv, command),
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

impl LeaseRoom {
    fn lease(&mut self, verb: LeaseOperation) -> String {
        let reply = self.apply(Command::Lease(lease::LeaseCommand {
            operation: Some(verb),
        }));
        let Reply::Lease(reply) = reply else {
            panic!("{reply:?}")
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

    fn raise(&mut self, kind: &str) -> String {
        let kind = match kind {
            "nospace" => AlarmType::NoSpace,
            "corrupt" => AlarmType::Corrupt,
            other => panic!("no alarm {other:?}"),
        };
        self.apply(Command::Alarm(alarm::AlarmCommand {
            action: alarm::AlarmAction::Activate as i32,
            member: 1,
            kind: kind as i32,
        }));
        "ok\n".into()
    }

    fn apply(&mut self, command: Command) -> Reply {
        let entry = Entry { stamp: None, command: Some(command), caller: None };
        self.machine.apply(&entry).reply
    }
}
