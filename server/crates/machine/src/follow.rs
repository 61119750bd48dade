//! Following: the cluster copies another cluster (the source) revision by revision and refuses client writes until the
//! cut-over. The commands are payloads of log entries, so field numbers never change.
//!
//! The crate `follow` reads the source, `witan_node` refuses client writes, and `kv/follow.rs` applies the revisions.
//!
//! A cluster that follows does not expire leases or compact by itself. It copies expirations and compactions from the source.

use bytes::Bytes;

use super::{
    StateMachine,
    auth::{Auth, AuthOperation},
    command::Command,
    counters::check_import,
    kv::{Compact, KvError},
    lease::{LeaseGrant, LeaseId},
    member::MemberRegistry,
    record::RecordChange,
    secrets::debug_without_secrets,
};
use crate::revision::Revision;

/// A command for following, as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowCommand {
    /// The operation.
    #[prost(oneof = "FollowOperation", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub operation: Option<FollowOperation>,
}

impl FollowCommand {
    /// Returns whether the command is the cut-over.
    pub(super) fn ends_following(&self) -> bool {
        matches!(self.operation, Some(FollowOperation::CutOver(_)))
    }
}

/// The operation of a [`FollowCommand`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FollowOperation {
    /// Applies revisions copied from the source cluster.
    #[prost(message, tag = "1")]
    Revisions(FollowRevisions),
    /// Repeats a compaction of the source.
    #[prost(message, tag = "2")]
    Compact(Compact),
    /// Adds and removes leases as the source did.
    #[prost(message, tag = "3")]
    Leases(FollowLeases),
    /// Replaces users and roles with the users and roles of the source.
    #[prost(message, tag = "4")]
    Users(FollowUsers),
    /// Stops following, so that the cluster accepts writes.
    #[prost(message, tag = "5")]
    CutOver(CutOver),
    /// Starts an attempt at a cut-over and abandons any earlier attempt.
    #[prost(message, tag = "6")]
    BeginCutOver(BeginCutOver),
    /// Records a new fence id, because the source accepts writes after the cut-over and must be fenced again.
    #[prost(message, tag = "7")]
    FenceAgain(FenceAgain),
    /// Stops the checks of the source's fence, because an operator has declared the source gone.
    #[prost(message, tag = "8")]
    SourceGone(SourceGone),
}

/// Revisions in ascending order. Revisions that the key space already has are skipped.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowRevisions {
    /// The revisions.
    #[prost(message, repeated, tag = "1")]
    pub revisions: Vec<FollowedRevision>,
}

/// All writes of one revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowedRevision {
    /// The revision.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// The writes in order. A key can occur more than once.
    #[prost(message, repeated, tag = "2")]
    pub writes: Vec<FollowedWrite>,
}

/// One version of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowedWrite {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value; empty for a deletion.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Number of puts since the key was created; 0 for a deletion.
    #[prost(int64, tag = "3")]
    pub version: i64,
    /// Attached lease; 0 for no lease.
    #[prost(sfixed64, tag = "4")]
    pub lease: i64,
}

impl FollowedWrite {
    /// Returns the attached lease.
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.lease)
    }

    /// Returns whether the write deletes the key.
    pub fn deletes(&self) -> bool {
        self.version == 0
    }
}

/// Adds and removes leases.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowLeases {
    /// Leases to add. Existing leases are skipped.
    #[prost(message, repeated, tag = "1")]
    pub granted: Vec<LeaseGrant>,
    /// Leases to remove, unless they have keys. The deletion of their keys arrives as a revision.
    #[prost(sfixed64, repeated, tag = "2")]
    pub ended: Vec<i64>,
}

/// Replaces all users and roles.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FollowUsers {
    /// Records in checkpoint form.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<UserRecord>,
}

/// A checkpoint record of a user, of a role or its v2 patterns, or of a flag that enables authentication.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct UserRecord {
    /// The record's key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The record's value, which may contain a password hash.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

debug_without_secrets!(UserRecord);

/// Starts an attempt at a cut-over and invalidates all earlier attempts. Otherwise, a delayed entry of an earlier attempt could
/// end following after the source accepts writes again.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BeginCutOver {
    /// The number of the last attempt plus one. Only this attempt can end following. See also [`MemberRegistry::fence_id`].
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
}

/// Stops following the source.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CutOver {
    /// The last revision of the source, which must be the current revision of the key space.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// The attempt that [`BeginCutOver`] started.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// Creates a new fence after the cut-over. The fence has a new id, because a delayed request may still lower an older fence.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct FenceAgain {
    /// The number of the last attempt plus one.
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
}

/// Stops the checks of the source's fence.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SourceGone {}

/// The reason why a follow command was refused. The parts of the command before the error stay applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The cluster does not follow another cluster.
    #[error("this cluster follows no source")]
    NotFollowing,
    /// The cluster still follows another cluster.
    #[error("this cluster still follows another one; cut over first")]
    Following,
    /// The command does not belong to the last attempt at a cut-over.
    #[error("this cut-over was abandoned, or another one has begun")]
    GivenUp,
    /// The command does not match the current revision.
    #[error("the key space is at revision {revision}, but another revision was expected")]
    Gap {
        /// The current revision.
        revision: Revision,
    },
    /// The key space differs from the key space of the source before this revision.
    #[error("revision {revision} does not match the key space: a key has a different version here")]
    Differs {
        /// The revision. None of its writes was applied.
        revision: Revision,
    },
    /// The lease of a write does not exist.
    #[error("lease {lease} does not exist")]
    LeaseNotFound {
        /// The lease.
        lease: LeaseId,
    },
    /// The compaction was refused.
    #[error(transparent)]
    Compact(KvError),
    /// The user records or their auth revision are invalid.
    #[error("cannot decode the records of users and roles")]
    Users,
}

impl FollowUsers {
    /// Encodes users, roles, the auth revision and the flags that enable authentication as records.
    pub fn of(auth: &Auth) -> Self {
        let mut records = Vec::new();
        auth.changes(None, &mut |change| {
            // Without an earlier state, no record is deleted.
            if let RecordChange::Put { key, value } = change {
                records.push(UserRecord { key, value });
            }
        });
        Self { records }
    }

    /// Returns `false` if a later release wrote any of the records, otherwise `true`, even if a record is invalid.
    pub(crate) fn is_known(&self) -> bool {
        let mut auth = Auth::default();
        self.records.iter().all(|UserRecord { key, value }| {
            let loaded = auth.load(key, value);
            !loaded.is_err_and(|error| error.is_later())
        })
    }

    /// Decodes the records. Fails with `Users` if a record or the auth revision is invalid.
    fn read(&self) -> Result<Auth, FollowError> {
        let mut auth = Auth::default();
        for UserRecord { key, value } in &self.records {
            auth.load(key, value).map_err(|_| FollowError::Users)?;
        }
        auth.finish_load();
        check_import("auth revision", auth.revision()).map_err(|_| FollowError::Users)?;
        Ok(auth)
    }
}

impl Command {
    /// Returns whether a cluster that follows refuses the command, because the command would change copied data.
    pub fn changes_followed(&self) -> bool {
        match self {
            Self::Kv(_) | Self::Lease(_) | Self::Tree(_) => true,
            Self::Auth(command) => {
                !matches!(command.operation, Some(AuthOperation::Authenticate(_)))
            }
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::Alarm(_)
            | Self::PeerUrls(_)
            | Self::Members(_)
            | Self::Downgrade(_)
            | Self::Follow(_) => false,
        }
    }
}

impl StateMachine {
    /// Executes a follow command. If the command fails, the parts before the error stay applied. Fails with `Following` before
    /// the cut-over, and with `NotFollowing` after the cut-over, for an operation that belongs to the other phase. `FenceAgain`
    /// also fails with `NotFollowing` after `SourceGone`.
    pub(super) fn follow(&mut self, command: &FollowCommand) -> Result<(), FollowError> {
        let Some(operation) = &command.operation else {
            // Every proposed command has an operation. Decoding refuses the operations of later releases.
            return Ok(());
        };
        let after_cut_over = matches!(
            operation,
            FollowOperation::FenceAgain(_) | FollowOperation::SourceGone(_)
        );
        match (self.members.follows, after_cut_over) {
            (true, true) => return Err(FollowError::Following),
            (false, false) => return Err(FollowError::NotFollowing),
            (true, false) | (false, true) => {}
        }
        match operation {
            FollowOperation::Revisions(asked) => {
                let mut revisions = asked.revisions.iter();
                revisions.try_for_each(|revision| self.kv.follow(revision))
            }
            FollowOperation::Compact(compact) => self
                .kv
                .follow_compaction(compact)
                .map_err(FollowError::Compact),
            FollowOperation::Leases(leases) => {
                self.kv.follow_leases(leases);
                Ok(())
            }
            FollowOperation::Users(users) => {
                self.auth = users.read()?;
                Ok(())
            }
            FollowOperation::BeginCutOver(BeginCutOver { attempt }) => self.begin_attempt(*attempt),
            FollowOperation::CutOver(cut_over) => self.cut_over(cut_over),
            FollowOperation::FenceAgain(FenceAgain { attempt }) => match self.members.fenced_at {
                0 => Err(FollowError::NotFollowing),
                _ => self.begin_attempt(*attempt),
            },
            FollowOperation::SourceGone(SourceGone {}) => {
                self.members.fenced_at = 0;
                Ok(())
            }
        }
    }

    /// Starts the attempt with the number `attempt` if `attempt` is the last number plus one. Does nothing for the last number.
    /// Fails with `GivenUp` for any other number.
    fn begin_attempt(&mut self, attempt: u32) -> Result<(), FollowError> {
        let last = self.members.cut_over_attempt;
        if attempt != last && attempt.checked_sub(1) != Some(last) {
            return Err(FollowError::GivenUp);
        }
        self.members.cut_over_attempt = attempt;
        Ok(())
    }

    /// Stops following, records the revision at which the source was fenced, and gives leases their full TTL. Fails with
    /// `GivenUp` for any attempt but the last, and with `Gap` unless the source's last revision is the current revision.
    fn cut_over(&mut self, asked: &CutOver) -> Result<(), FollowError> {
        if self.members.cut_over_attempt != asked.attempt {
            return Err(FollowError::GivenUp);
        }
        if self.kv.revision().0 != asked.revision {
            return Err(FollowError::Gap { revision: self.kv.revision() });
        }
        self.kv.reset_remaining_ttls();
        self.members.follows = false;
        self.members.fenced_at = asked.revision;
        Ok(())
    }
}

impl MemberRegistry {
    /// Returns the member id that an attempt's fence uses in the source's alarms. The upper half of the member id comes from
    /// this cluster's id, which contains a nonce, so no other cluster raises or lowers these alarms.
    pub fn fence_id(&self, attempt: u32) -> u64 {
        (self.cluster_id & !u64::from(u32::MAX)) | u64::from(attempt)
    }

    /// Returns whether `id` is the fence id of an attempt that this cluster has recorded.
    pub fn is_recorded_fence(&self, id: u64) -> bool {
        let attempt = id & u64::from(u32::MAX);
        let begun = 1..=u64::from(self.cut_over_attempt);
        begun.contains(&attempt) && id - attempt == self.fence_id(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Reply,
        command::Entry,
        lease::{LeaseCheckpoint, LeaseOperation, RemainingTtl},
    };

    fn apply(machine: &mut StateMachine, command: impl Into<Command>) -> Reply {
        machine.apply(&Entry::unstamped(command.into(), None)).reply
    }

    fn follow(machine: &mut StateMachine, operation: FollowOperation) -> Result<(), FollowError> {
        let Reply::Followed(done) = apply(machine, operation) else {
            unreachable!("a follow command has a follow reply");
        };
        done
    }

    #[test]
    fn the_cut_over_needs_the_last_revision_and_ends_following() {
        let mut machine = StateMachine::default();
        machine.members.follows = true;
        let granted = vec![LeaseGrant { id: 7, ttl_s: 60 }];
        let leases = FollowLeases { granted, ended: Vec::new() };
        follow(&mut machine, FollowOperation::Leases(leases)).unwrap();
        let remaining = vec![RemainingTtl { id: 7, seconds: 3 }];
        apply(
            &mut machine,
            LeaseOperation::Checkpoint(LeaseCheckpoint { remaining }),
        );
        let begin = |attempt| FollowOperation::BeginCutOver(BeginCutOver { attempt });
        follow(&mut machine, begin(1)).unwrap();
        follow(&mut machine, begin(2)).unwrap();
        let early = FollowOperation::CutOver(CutOver { revision: 2, attempt: 2 });
        assert_eq!(
            follow(&mut machine, early),
            Err(FollowError::Gap { revision: Revision(1) })
        );
        assert!(machine.members.follows);
        let given_up = FollowOperation::CutOver(CutOver { revision: 1, attempt: 1 });
        assert_eq!(follow(&mut machine, given_up), Err(FollowError::GivenUp));
        assert!(machine.members.follows);
        let cut_over = FollowOperation::CutOver(CutOver { revision: 1, attempt: 2 });
        follow(&mut machine, cut_over.clone()).unwrap();
        assert!(!machine.members.follows);
        let lease = machine
            .kv
            .leases()
            .get(LeaseId(7))
            .expect("the lease still exists");
        assert_eq!(lease.remaining_s(), 60);
        assert_eq!(
            follow(&mut machine, cut_over),
            Err(FollowError::NotFollowing)
        );
        assert_eq!(
            follow(&mut machine, begin(3)),
            Err(FollowError::NotFollowing)
        );
    }

    /// A delayed entry must not revive an attempt whose fence was lowered.
    #[test]
    fn attempts_only_rise_by_one() {
        let mut machine = StateMachine::default();
        machine.members.follows = true;
        let begin = |attempt| FollowOperation::BeginCutOver(BeginCutOver { attempt });
        for (attempt, expect) in [
            (2, Err(FollowError::GivenUp)),
            (1, Ok(())),
            (1, Ok(())),
            (2, Ok(())),
            (1, Err(FollowError::GivenUp)),
            (4, Err(FollowError::GivenUp)),
        ] {
            assert_eq!(follow(&mut machine, begin(attempt)), expect, "{attempt}");
        }
        assert_eq!(machine.members.cut_over_attempt, 2);
    }

    /// The checks of the source survive a restart and stop when an operator declares the source gone.
    #[test]
    fn after_the_cut_over_the_source_is_fenced_again_until_it_is_gone() {
        let mut machine = StateMachine::default();
        machine.members.follows = true;
        let again = |attempt| FollowOperation::FenceAgain(FenceAgain { attempt });
        let gone = || FollowOperation::SourceGone(SourceGone {});
        for early in [again(1), gone()] {
            assert_eq!(follow(&mut machine, early), Err(FollowError::Following));
        }
        let begin = FollowOperation::BeginCutOver(BeginCutOver { attempt: 1 });
        follow(&mut machine, begin).unwrap();
        let cut_over = FollowOperation::CutOver(CutOver { revision: 1, attempt: 1 });
        follow(&mut machine, cut_over).unwrap();
        let mut stored = MemberRegistry::default();
        machine.members.changes(None, &mut |change| {
            let RecordChange::Put { value, .. } = change else {
                unreachable!("a full record set has no deletions");
            };
            stored.load(&value).unwrap();
        });
        assert_eq!(stored, machine.members);
        assert_eq!(stored.fenced_at, 1);
        assert_eq!(follow(&mut machine, again(3)), Err(FollowError::GivenUp));
        follow(&mut machine, again(2)).unwrap();
        for _ in 0..2 {
            follow(&mut machine, gone()).unwrap();
        }
        assert_eq!(machine.members.fenced_at, 0);
        assert_eq!(
            follow(&mut machine, again(3)),
            Err(FollowError::NotFollowing)
        );
    }

    #[test]
    fn no_two_fences_have_the_same_id() {
        let of = |cluster_id| MemberRegistry { cluster_id, ..MemberRegistry::default() };
        let (one, other) = (of(0x1234_5678_9abc_def0), of(0x1234_5679_9abc_def0));
        assert_eq!(one.fence_id(1), 0x1234_5678_0000_0001);
        assert_ne!(one.fence_id(1), one.fence_id(2));
        assert_ne!(one.fence_id(1), other.fence_id(1));
        let begun = MemberRegistry { cut_over_attempt: 2, ..one.clone() };
        let has = |attempt| begun.is_recorded_fence(one.fence_id(attempt));
        assert_eq!([0, 1, 2, 3].map(has), [false, true, true, false]);
        assert!(!begun.is_recorded_fence(other.fence_id(1)));
    }

    #[test]
    fn users_are_replaced_completely_and_never_by_invalid_records() {
        let mut source = StateMachine::default();
        let user = crate::auth::UserAdd {
            name: "anne".into(),
            password: "hash".into(),
            no_password: false,
        };
        apply(&mut source, AuthOperation::UserAdd(user));
        let mut machine = StateMachine::default();
        machine.members.follows = true;
        let users = FollowUsers::of(&source.auth);
        follow(&mut machine, FollowOperation::Users(users)).unwrap();
        assert!(machine.auth.users().eq(source.auth.users()));
        assert_eq!(machine.auth.revision(), source.auth.revision());
        let records = vec![UserRecord { key: b"?".to_vec(), value: Vec::new() }];
        let wrong = FollowOperation::Users(FollowUsers { records });
        assert_eq!(follow(&mut machine, wrong), Err(FollowError::Users));
        assert!(machine.auth.users().eq(source.auth.users()));
    }
}
