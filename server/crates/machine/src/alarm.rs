//! The raised alarms. An alarm blocks v3 commands that would worsen the problem.
//!
//! Each member checks its quota and proposes an alarm if the quota is exhausted. The state machine applies the alarm on all
//! members.

use imbl::OrdSet;

use super::{
    kv, lease,
    member::{MemberId, MemberRegistry},
    record::{self, CorruptRecord, Emit, RecordChange},
};
use crate::pacing::Pacing;

/// An alarm command as stored in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AlarmCommand {
    /// An [`AlarmAction`].
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// The member that the alarm concerns. As in etcd, the member need not exist.
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    /// An [`AlarmType`].
    #[prost(enumeration = "AlarmType", tag = "3")]
    pub kind: i32,
}

/// The actions of an alarm command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum AlarmAction {
    Activate = 0,
    Deactivate = 1,
    /// Does not change an alarm. Each member hashes its state after this entry, so that the hashes can be compared.
    HashState = 2,
}

impl AlarmCommand {
    /// Creates a command that makes every member hash its state and does not raise an alarm. `member` and `kind` are
    /// placeholders.
    pub fn hash_state() -> Self {
        Self {
            action: AlarmAction::HashState as i32,
            member: 0,
            kind: AlarmType::Corrupt as i32,
        }
    }

    /// Returns whether the command makes every member hash its state.
    pub fn hashes_state(&self) -> bool {
        self.action == AlarmAction::HashState as i32
    }
}

/// etcd's `AlarmType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    /// No alarm.
    None = 0,
    /// The quota is exhausted: commands that add data are refused.
    NoSpace = 1,
    /// Members have different data: all v3 writes are refused.
    Corrupt = 2,
}

/// A raised alarm. Alarms are ordered by kind and member, as in etcd's alarm list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// An [`AlarmType`], or an unknown type from a client or a restored snapshot, which blocks nothing.
    pub kind: i32,
    /// The member that the alarm concerns.
    pub member: MemberId,
}

impl Alarm {
    /// Creates a member's alarm of a known type.
    pub fn new(member: MemberId, kind: AlarmType) -> Self {
        Self { kind: kind as i32, member }
    }

    /// Returns whether the alarm has this type.
    pub fn is(&self, kind: AlarmType) -> bool {
        self.kind == kind as i32
    }
}

/// All raised alarms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarms {
    raised: OrdSet<Alarm>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredAlarms {
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
    /// Returns the raised alarms of `kind`, or all raised alarms if `kind` is `None`, ordered by kind and member.
    pub fn list(&self, kind: Option<i32>) -> impl Iterator<Item = Alarm> {
        self.raised
            .iter()
            .copied()
            .filter(move |alarm| kind.is_none_or(|kind| alarm.kind == kind))
    }

    /// Returns whether this alarm is raised.
    pub fn contains(&self, alarm: Alarm) -> bool {
        self.raised.contains(&alarm)
    }

    /// Returns whether an alarm of this type is raised for any member.
    pub fn any(&self, kind: AlarmType) -> bool {
        self.list(Some(kind as i32)).next().is_some()
    }

    /// Raises or lowers the command's alarm and returns the alarm, even if the alarm to raise is already raised. Returns `None`
    /// if the alarm to lower is not raised or the command neither raises nor lowers an alarm. Also returns `None` if the limit
    /// `alarms_max` of [`Pacing`] excludes the alarm to raise.
    pub(crate) fn apply(
        &mut self,
        command: &AlarmCommand,
        members: &MemberRegistry,
    ) -> Option<Alarm> {
        let alarm = Alarm { kind: command.kind, member: MemberId(command.member) };
        if alarm.is(AlarmType::None) {
            return None;
        }
        match AlarmAction::try_from(command.action) {
            Ok(AlarmAction::Activate) => {
                let max = Pacing::of(members.level()).alarms_max;
                let allowed = self.raised.len() < max || is_member_alarm(alarm, members);
                if allowed {
                    self.raised.insert(alarm);
                }
                allowed.then_some(alarm)
            }
            Ok(AlarmAction::Deactivate) => self.raised.remove(&alarm),
            Ok(AlarmAction::HashState) | Err(_) => None,
        }
    }

    /// Refuses a v3 command that a raised alarm blocks: `Corrupt` blocks all commands, and `NoSpace` blocks commands with a
    /// put.
    pub(crate) fn check(&self, command: &kv::KvCommand) -> Result<(), kv::KvError> {
        if self.raised.is_empty() {
            Ok(())
        } else if self.any(AlarmType::Corrupt) {
            Err(kv::KvError::Corrupt)
        } else if self.any(AlarmType::NoSpace) && command.growth() > 0 {
            Err(kv::KvError::NoSpace)
        } else {
            Ok(())
        }
    }

    /// Refuses a lease command that a raised alarm blocks: `Corrupt` blocks grants, revocations and expirations, and `NoSpace`
    /// blocks grants. Lease checkpoints are never blocked.
    pub(crate) fn check_lease(
        &self,
        command: &lease::LeaseCommand,
    ) -> Result<(), lease::LeaseError> {
        use lease::LeaseOperation;
        match &command.operation {
            Some(
                LeaseOperation::Grant(_) | LeaseOperation::Revoke(_) | LeaseOperation::Expire(_),
            ) if self.any(AlarmType::Corrupt) => Err(lease::LeaseError::Corrupt),
            Some(LeaseOperation::Grant(_)) if self.any(AlarmType::NoSpace) => {
                Err(lease::LeaseError::NoSpace)
            }
            Some(
                LeaseOperation::Grant(_)
                | LeaseOperation::Revoke(_)
                | LeaseOperation::Expire(_)
                | LeaseOperation::Checkpoint(_),
            )
            | None => Ok(()),
        }
    }

    /// Emits one record with all raised alarms, unless the alarms equal `since`. `None` means no alarms.
    pub(crate) fn changes(&self, since: Option<&Alarms>, emit: &mut Emit<'_>) {
        if since == Some(self) || (since.is_none() && self.raised.is_empty()) {
            return;
        }
        let stored = StoredAlarms {
            raised: self
                .raised
                .iter()
                .map(|&Alarm { kind, member }| StoredAlarm { kind, member: member.0 })
                .collect(),
        };
        emit(RecordChange::Put {
            key: Vec::new(),
            value: prost::Message::encode_to_vec(&stored),
        });
    }

    /// Replaces the raised alarms with the alarms in a checkpoint record. Fails if this release cannot read the record.
    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), CorruptRecord> {
        let stored: StoredAlarms = record::decode("alarms", value)?;
        self.raised = stored
            .raised
            .into_iter()
            .map(|StoredAlarm { kind, member }| Alarm { kind, member: MemberId(member) })
            .collect();
        Ok(())
    }
}

/// Returns whether an alarm concerns an existing member and has a known type, which exempts it from `alarms_max`.
fn is_member_alarm(alarm: Alarm, members: &MemberRegistry) -> bool {
    members.by_id.contains_key(&alarm.member)
        && (alarm.is(AlarmType::NoSpace) || alarm.is(AlarmType::Corrupt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Member;

    fn command(action: AlarmAction, member: u64, kind: i32) -> AlarmCommand {
        AlarmCommand { action: action as i32, member, kind }
    }

    #[test]
    fn alarms_of_unknown_members_are_bounded_and_block_no_alarm_of_a_member() {
        let mut members = MemberRegistry::default();
        let member = Member { id: 7, ..Member::default() };
        members.by_id.insert(member.member_id(), member);
        let mut alarms = Alarms::default();
        let max = Pacing::of(members.level()).alarms_max as u64;
        for i in 0..max + 9 {
            let raised = alarms.apply(&command(AlarmAction::Activate, 100 + i, 1), &members);
            assert_eq!(raised.is_some(), i < max, "{i}");
        }
        assert_eq!(
            alarms.apply(&command(AlarmAction::Activate, 7, 3), &members),
            None,
            "an alarm of an unknown type is not exempt from the limit"
        );
        let raised = alarms.apply(&command(AlarmAction::Activate, 7, 1), &members);
        assert_eq!(raised, Some(Alarm::new(MemberId(7), AlarmType::NoSpace)));
        let lowered = alarms.apply(&command(AlarmAction::Deactivate, 7, 1), &members);
        assert_eq!(lowered, raised);
    }

    #[test]
    fn alarms_survive_a_checkpoint() {
        let members = MemberRegistry::default();
        let mut alarms = Alarms::default();
        let mut records = Vec::new();
        alarms.changes(None, &mut |change| records.push(change));
        assert_eq!(records, [], "a state without alarms has no alarm record");
        alarms.apply(&command(AlarmAction::Activate, 7, 1), &members);
        alarms.apply(&command(AlarmAction::Activate, 9, 2), &members);
        let raised = alarms.clone();
        alarms.apply(&command(AlarmAction::Deactivate, 9, 2), &members);
        let mut loaded = Alarms::default();
        for (state, since) in [(&raised, None), (&alarms, Some(&raised))] {
            state.changes(since, &mut |change| records.push(change));
            let Some(RecordChange::Put { value, .. }) = records.pop() else {
                panic!("there is no alarm record")
            };
            loaded.load(&value).unwrap();
            assert_eq!(&loaded, state);
        }
        alarms.changes(Some(&alarms.clone()), &mut |change| records.push(change));
        assert_eq!(records, [], "nothing has changed");
    }
}
