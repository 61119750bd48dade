//! Leases as a room for scripts: `grant ID TTL`, `revoke ID`, `expire ID ...`, `note ID=SECONDS ...`,
//! `leases` (each with its seconds, what it has left if that was noted, and its keys), `restart` (from
//! checkpoints: one of the state before the last restart, and what changed since), `raise KIND`;
//! every other command is one of the v3 key space.

use std::{collections::BTreeMap, fmt::Write as _};

use witan_replica::machine::{
    Machine, Reply,
    alarm::{self, Kind},
    command::{Command, Entry},
    kv,
    lease::{self, Checkpoint, Expire, Grant, Left, Revoke, Verb},
    record::Change,
};

use crate::{Room, kv as keys};

#[derive(Default)]
pub(crate) struct LeaseRoom {
    machine: Machine,
    /// The state that the records below were made of.
    written: Option<Machine>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Room for LeaseRoom {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let id = |word: &str| word.parse::<i64>().unwrap();
        match words[..] {
            ["grant", of, ttl] => self.lease(Verb::Grant(Grant {
                id: id(of),
                ttl_s: id(ttl),
            })),
            ["revoke", of] => self.lease(Verb::Revoke(Revoke { id: id(of) })),
            ["expire", ref ids @ ..] => self.lease(Verb::Expire(Expire {
                ids: ids.iter().map(|of| id(of)).collect(),
            })),
            ["note", ref left @ ..] => self.lease(Verb::Checkpoint(Checkpoint {
                left: left
                    .iter()
                    .map(|word| word.split_once('=').unwrap())
                    .map(|(of, seconds)| Left {
                        id: id(of),
                        seconds: id(seconds),
                    })
                    .collect(),
            })),
            ["leases"] => self.leases(),
            ["restart"] => self.restart(),
            ["raise", kind] => self.raise(kind),
            ["get", ..] => keys::read(&self.machine.kv, command),
            _ => {
                let verb = Some(keys::verb(command));
                let reply = self.apply(Command::Kv(kv::Command { verb }));
                let Reply::Kv(reply) = reply else {
                    panic!("{reply:?}")
                };
                keys::shown_reply(&reply, self.machine.kv.revision())
            }
        }
    }
}

impl LeaseRoom {
    fn lease(&mut self, verb: Verb) -> String {
        let reply = self.apply(Command::Lease(lease::Command { verb: Some(verb) }));
        let Reply::Lease(reply) = reply else {
            panic!("{reply:?}")
        };
        let revision = self.machine.kv.revision();
        match reply {
            Ok(lease::Reply::Granted(lease::Granted { ttl_s })) => {
                format!("granted {ttl_s}\nrev={revision}\n")
            }
            Ok(lease::Reply::Revoked) => format!("revoked\nrev={revision}\n"),
            Ok(lease::Reply::Expired { ids }) => format!("expired {ids:?}\nrev={revision}\n"),
            Ok(lease::Reply::Noted) => "noted\n".into(),
            Err(error) => format!("error: {error}\n"),
        }
    }

    fn leases(&self) -> String {
        let leases = self.machine.kv.leases();
        let mut out = String::new();
        for (id, lease) in leases.iter() {
            write!(out, "{id} ttl={}", lease.ttl_s).unwrap();
            if lease.left_s != 0 {
                write!(out, " left={}", lease.left_s).unwrap();
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
                Change::Put { key, value } => {
                    records.insert(key, value);
                }
                Change::Delete { key } => {
                    records.remove(&key);
                }
            });
        let mut loaded = Machine::default();
        for (key, value) in records {
            loaded.load(key, value).unwrap();
        }
        loaded.loaded().unwrap();
        self.machine = loaded;
        self.written = Some(self.machine.clone());
        "ok\n".into()
    }

    fn raise(&mut self, kind: &str) -> String {
        let kind = match kind {
            "nospace" => Kind::NoSpace,
            "corrupt" => Kind::Corrupt,
            other => panic!("no alarm {other:?}"),
        };
        self.apply(Command::Alarm(alarm::Command {
            action: alarm::Action::Raise as i32,
            member: 1,
            kind: kind as i32,
        }));
        "ok\n".into()
    }

    fn apply(&mut self, command: Command) -> Reply {
        let entry = Entry {
            stamp: None,
            command: Some(command),
            caller: None,
        };
        self.machine.apply(&entry).reply
    }
}
