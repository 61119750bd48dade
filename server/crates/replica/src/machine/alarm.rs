//! Alarms: which member has raised which. They block the v3 commands that would make things worse.
//!
//! Whether a member's quota is used up is *not* decided here: the member measures and proposes the
//! alarm. What an alarm blocks is part of the state machine, so it is the same on all members.

use imbl::OrdSet;

use super::{
    kv, lease,
    member::Members,
    record::{Change, Corrupt},
};
use crate::limits::ALARMS_MAX;

/// An alarm command as stored in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Command {
    /// An [`AlarmAction`].
    #[prost(enumeration = "Action", tag = "1")]
    pub action: i32,
    /// Member that the alarm is about. As in etcd it need not exist.
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    /// An [`AlarmType`]; one of a later version is stored and blocks nothing.
    #[prost(enumeration = "Kind", tag = "3")]
    pub kind: i32,
}

/// Raises or lowers an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum Action {
    Raise = 0,
    Lower = 1,
}

/// As etcd's `AlarmType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// No alarm.
    None = 0,
    /// The quota is used up: commands that add data are refused.
    NoSpace = 1,
    /// Members disagree about the data: all writes are refused.
    Corrupt = 2,
}

/// One raised alarm. Ordered as listings show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// A [`Kind`], or the number of a later version's.
    pub kind: i32,
    /// Id of the member.
    pub member: u64,
}

impl Alarm {
    /// A member's alarm of a known type.
    pub fn new(member: u64, kind: Kind) -> Self {
        Self {
            kind: kind as i32,
            member,
        }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as i32
    }
}

/// All raised alarms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarms {
    raised: OrdSet<Alarm>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    raised: Vec<StoredAlarm>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredAlarm {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(fixed64, tag = "2")]
    member: u64,
}

impl Alarms {
    /// All, or those of one kind.
    pub fn list(&self, kind: Option<i32>) -> impl Iterator<Item = Alarm> {
        self.raised
            .iter()
            .copied()
            .filter(move |alarm| kind.is_none_or(|kind| alarm.kind == kind))
    }

    /// Whether exactly this alarm is raised.
    pub fn contains(&self, alarm: Alarm) -> bool {
        self.raised.contains(&alarm)
    }

    /// Whether any member has raised this kind.
    pub fn any(&self, kind: Kind) -> bool {
        self.list(Some(kind as i32)).next().is_some()
    }

    /// Raises or lowers an alarm. Returns the alarm that the command was about, if it is (or was)
    /// raised.
    pub(crate) fn apply(&mut self, command: &Command, members: &Members) -> Option<Alarm> {
        let alarm = Alarm {
            kind: command.kind,
            member: command.member,
        };
        if alarm.is(Kind::None) {
            return None;
        }
        match Action::try_from(command.action) {
            Ok(Action::Raise) => {
                let room = self.raised.len() < ALARMS_MAX || serious(alarm, members);
                if room {
                    self.raised.insert(alarm);
                }
                room.then_some(alarm)
            }
            Ok(Action::Lower) => self.raised.remove(&alarm),
            Err(_) => None,
        }
    }

    /// Whether a command of the key space is executed now.
    pub(crate) fn admit(&self, command: &kv::Command) -> Result<(), kv::Error> {
        if self.raised.is_empty() {
            Ok(())
        } else if self.any(Kind::Corrupt) {
            Err(kv::Error::Corrupt)
        } else if self.any(Kind::NoSpace) && command.puts() {
            Err(kv::Error::NoSpace)
        } else {
            Ok(())
        }
    }

    /// Whether a lease command is executed now. What is left of a lease may always be noted.
    pub(crate) fn admit_lease(&self, command: &lease::Command) -> Result<(), lease::Error> {
        use lease::Verb;
        match &command.verb {
            Some(Verb::Grant(_) | Verb::Revoke(_) | Verb::Expire(_)) if self.any(Kind::Corrupt) => {
                Err(lease::Error::Corrupt)
            }
            Some(Verb::Grant(_)) if self.any(Kind::NoSpace) => Err(lease::Error::NoSpace),
            Some(Verb::Grant(_) | Verb::Revoke(_) | Verb::Expire(_) | Verb::Checkpoint(_))
            | None => Ok(()),
        }
    }

    pub(crate) fn changes(&self, since: Option<&Alarms>, emit: &mut dyn FnMut(Change)) {
        if since == Some(self) || (since.is_none() && self.raised.is_empty()) {
            return;
        }
        let stored = Stored {
            raised: self
                .raised
                .iter()
                .map(|&Alarm { kind, member }| StoredAlarm { kind, member })
                .collect(),
        };
        emit(Change::Put {
            key: Vec::new(),
            value: prost::Message::encode_to_vec(&stored),
        });
    }

    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), Corrupt> {
        let stored: Stored =
            prost::Message::decode(value).map_err(|e| Corrupt::new(format!("alarms: {e}")))?;
        self.raised = stored
            .raised
            .into_iter()
            .map(|StoredAlarm { kind, member }| Alarm { kind, member })
            .collect();
        Ok(())
    }
}

/// Whether an alarm is of an existing member and a known type; the bound does not apply to those.
fn serious(alarm: Alarm, members: &Members) -> bool {
    members.book.contains_key(&alarm.member) && (alarm.is(Kind::NoSpace) || alarm.is(Kind::Corrupt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::member::Member;

    fn command(action: Action, member: u64, kind: i32) -> Command {
        Command {
            action: action as i32,
            member,
            kind,
        }
    }

    #[test]
    fn invented_alarms_are_bounded_and_leave_room_for_real_ones() {
        let mut members = Members::default();
        let member = Member {
            id: 7,
            ..Member::default()
        };
        members.book.insert(7, member);
        let mut alarms = Alarms::default();
        for i in 0..ALARMS_MAX as u64 + 9 {
            let raised = alarms.apply(&command(Action::Raise, 100 + i, 1), &members);
            assert_eq!(raised.is_some(), i < ALARMS_MAX as u64, "{i}");
        }
        assert_eq!(
            alarms.apply(&command(Action::Raise, 7, 3), &members),
            None,
            "a kind that nobody raises has no place kept"
        );
        let raised = alarms.apply(&command(Action::Raise, 7, 1), &members);
        assert_eq!(raised, Some(Alarm::new(7, Kind::NoSpace)));
        let lowered = alarms.apply(&command(Action::Lower, 7, 1), &members);
        assert_eq!(lowered, raised);
    }

    #[test]
    fn alarms_are_part_of_a_view() {
        let mut view = crate::machine::view::View::default();
        let members = Members::default();
        let raise = command(Action::Raise, 7, 1);
        view.machine.alarms.apply(&raise, &members);
        let mut records = Vec::new();
        view.changes(None, &mut |change| match change {
            Change::Put { key, value } => records.push(Ok::<_, Corrupt>((key, value))),
            Change::Delete { key } => panic!("{key:?} is in no checkpoint yet"),
        });
        records.sort_by_key(|record| record.clone().map(|(key, _)| key).ok());
        let restored = crate::machine::view::View::restore(records.into_iter()).unwrap();
        assert_eq!(restored.machine.alarms, view.machine.alarms);
    }

    #[test]
    fn alarms_survive_a_checkpoint() {
        let members = Members::default();
        let mut alarms = Alarms::default();
        let mut records = Vec::new();
        alarms.changes(None, &mut |change| records.push(change));
        assert_eq!(records, [], "a state without alarms has no record of them");
        alarms.apply(&command(Action::Raise, 7, 1), &members);
        alarms.apply(&command(Action::Raise, 9, 2), &members);
        let raised = alarms.clone();
        alarms.apply(&command(Action::Lower, 9, 2), &members);
        let mut loaded = Alarms::default();
        for (state, since) in [(&raised, None), (&alarms, Some(&raised))] {
            state.changes(since, &mut |change| records.push(change));
            let Some(Change::Put { value, .. }) = records.pop() else {
                panic!("no record")
            };
            loaded.load(&value).unwrap();
            assert_eq!(&loaded, state);
        }
        alarms.changes(Some(&alarms.clone()), &mut |change| records.push(change));
        assert_eq!(records, [], "nothing has changed");
    }
}
