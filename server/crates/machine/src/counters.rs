//! The counters of the state, which only increase, and their limits.
//!
//! A checkpoint with a counter above [`COUNT_MAX`] does not load, so no command may create such a counter. When a counter
//! reaches its limit, commands that would advance it are refused. An imported state must leave enough headroom for more
//! commands than any cluster executes. `witan_replica` limits raft indexes and terms with the same constants.

use std::fmt;

use super::{
    Reply, StateMachine,
    auth::{
        self, AuthError, AuthOperation,
        path_permissions::{PathAuthError, PathAuthOutcome},
    },
    command::Command,
    follow::{FollowError, FollowOperation},
    kv::{KvError, KvOperation},
    lease::{LeaseError, LeaseOperation},
    record::CorruptRecord,
};
pub use witan_tree::{COUNT_IMPORT_MAX, COUNT_MAX};

/// The highest counter that commands advance; beyond this, they are refused. One command advances a counter by less than the
/// difference to [`COUNT_MAX`], because each lease, node or user that it changes uses several bytes.
const COUNT_WRITE_MAX: u64 = COUNT_MAX - (1 << 32);

/// A counter of an imported state is too close to the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {name} is {count}, but no counter of an imported state may be above {COUNT_IMPORT_MAX}"
)]
pub struct CountTooFar {
    name: String,
    count: u64,
}

impl From<CountTooFar> for CorruptRecord {
    fn from(error: CountTooFar) -> Self {
        Self::new(error.to_string())
    }
}

/// Fails if a counter of an imported state is too close to the limit.
pub fn check_import(name: impl fmt::Display, count: u64) -> Result<(), CountTooFar> {
    if count <= COUNT_IMPORT_MAX {
        return Ok(());
    }
    Err(CountTooFar { name: name.to_string(), count })
}

impl StateMachine {
    /// Returns all counters of the state with their names. The import checks the counters of each key version.
    fn counters(&self) -> [(&'static str, u64); 4] {
        [
            ("revision", self.kv.revision().cast_unsigned()),
            ("auth revision", self.auth.revision()),
            ("v2 index", self.tree.index()),
            ("number of v2 writes", self.tree.counts().max()),
        ]
    }

    /// Fails if a counter of this imported state is too close to the limit.
    pub fn check_import(&self) -> Result<(), CountTooFar> {
        self.counters()
            .into_iter()
            .try_for_each(|(name, count)| check_import(name, count))
    }

    /// If a counter has reached its limit, returns the refusal for a command that would advance a counter.
    pub(super) fn refuse_used_up(&self, command: &Command) -> Option<Reply> {
        let used_up = |(_, count)| count > COUNT_WRITE_MAX;
        match self.counters().into_iter().any(used_up) {
            true => self.refuse_to_count(command),
            false => None,
        }
    }

    /// Returns the refusal for a command that advances a counter. Membership, versions and alarms can always change: they
    /// advance only the v2 index, which stops at [`COUNT_MAX`].
    fn refuse_to_count(&self, command: &Command) -> Option<Reply> {
        match command {
            Command::Kv(command) => match command.operation {
                Some(KvOperation::Put(_) | KvOperation::Delete(_) | KvOperation::Txn(_)) => {
                    Some(Reply::Kv(Err(KvError::CountersUsedUp)))
                }
                Some(KvOperation::Compact(_) | KvOperation::Sweep(_)) | None => None,
            },
            Command::Lease(command) => match command.operation {
                Some(LeaseOperation::Revoke(_) | LeaseOperation::Expire(_)) => {
                    Some(Reply::Lease(Err(LeaseError::CountersUsedUp)))
                }
                Some(LeaseOperation::Grant(_) | LeaseOperation::Checkpoint(_)) | None => None,
            },
            Command::Tree(_) => Some(Reply::Tree(Err(self.tree.counters_used_up()))),
            Command::Auth(command) => match command.operation {
                Some(AuthOperation::Paths(_)) => {
                    Some(Reply::Auth(Ok(auth::AuthReply::Paths(PathAuthOutcome {
                        index_steps: 0,
                        tokens_revoked_of: None,
                        answer: Err(PathAuthError::CountersUsedUp),
                    }))))
                }
                Some(
                    AuthOperation::Disable(_)
                    | AuthOperation::UserAdd(_)
                    | AuthOperation::UserDelete(_)
                    | AuthOperation::UserPassword(_)
                    | AuthOperation::UserGrant(_)
                    | AuthOperation::UserRevoke(_)
                    | AuthOperation::RoleAdd(_)
                    | AuthOperation::RoleDelete(_)
                    | AuthOperation::RoleGrant(_)
                    | AuthOperation::RoleRevoke(_),
                ) => Some(Reply::Auth(Err(AuthError::CountersUsedUp))),
                Some(AuthOperation::Authenticate(_) | AuthOperation::Enable(_)) | None => None,
            },
            Command::Follow(command) => match command.operation {
                Some(FollowOperation::Revisions(_) | FollowOperation::Users(_)) => {
                    Some(Reply::Followed(Err(FollowError::CountersUsedUp)))
                }
                Some(
                    FollowOperation::Compact(_)
                    | FollowOperation::Leases(_)
                    | FollowOperation::BeginCutOver(_)
                    | FollowOperation::CutOver(_)
                    | FollowOperation::FenceAgain(_)
                    | FollowOperation::SourceGone(_),
                )
                | None => None,
            },
            Command::Publish(_)
            | Command::ClusterVersion(_)
            | Command::Alarm(_)
            | Command::PeerUrls(_)
            | Command::Members(_)
            | Command::Downgrade(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        auth::{Auth, UserAdd, path_permissions::PathAuthOperation},
        command::{ClusterVersion, Entry},
        kv::{self, Kv, test_helpers::at_revision},
        lease::{LeaseGrant, LeaseRevoke},
        record::RecordChange,
    };

    /// Returns one command of each kind that advances a counter, and the grant of the lease that another command revokes.
    fn commands(number: usize) -> Vec<Command> {
        let key = Bytes::from_static(b"k");
        let (name, id) = (format!("user-{number}"), number as i64 + 1);
        let user = UserAdd {
            name: name.clone(),
            password: "hash".into(),
            no_password: false,
        };
        let by_path = auth::path_permissions::UserCreate {
            name: format!("v2-{number}"),
            password: "hash".into(),
            roles: Vec::new(),
        };
        let set = witan_tree::Set { path: "/a".into(), value: "x".into(), ..Default::default() };
        vec![
            LeaseOperation::Grant(LeaseGrant { id, ttl_s: 9 }).into(),
            KvOperation::Put(kv::Put { key: key.clone(), lease: id, ..Default::default() }).into(),
            LeaseOperation::Revoke(LeaseRevoke { id }).into(),
            KvOperation::Delete(kv::DeleteRange { key, ..Default::default() }).into(),
            AuthOperation::UserAdd(user).into(),
            PathAuthOperation::UserCreate(by_path).into(),
            witan_tree::TreeOperation::Set(set).into(),
            Command::ClusterVersion(ClusterVersion { version: "3.6.0".into() }),
        ]
    }

    fn apply(machine: &mut StateMachine, command: Command) -> Reply {
        machine.apply(&Entry::unstamped(command, None)).reply
    }

    /// Writes a checkpoint of the state and loads it.
    fn loaded(machine: &StateMachine) -> Result<StateMachine, CorruptRecord> {
        let mut records = Vec::new();
        machine.changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => records.push((key, value)),
            RecordChange::Delete { key } => panic!("{key:?} was never written"),
        });
        records.sort();
        let mut loaded = StateMachine::default();
        for (key, value) in records {
            loaded.load(&key, &value)?;
        }
        loaded.finish_load()?;
        Ok(loaded)
    }

    /// Returns, for each counter that a test can set, a state in which the counter is `count`.
    fn at(count: u64) -> [StateMachine; 2] {
        let kv: Kv = at_revision(count.cast_signed());
        [
            StateMachine { kv, ..StateMachine::default() },
            StateMachine {
                auth: Auth::restored(false, count, [], []),
                ..StateMachine::default()
            },
        ]
    }

    fn refusals(machine: &StateMachine) -> [Reply; 4] {
        [
            Reply::Kv(Err(KvError::CountersUsedUp)),
            Reply::Lease(Err(LeaseError::CountersUsedUp)),
            Reply::Tree(Err(machine.tree.counters_used_up())),
            Reply::Auth(Err(AuthError::CountersUsedUp)),
        ]
    }

    #[test]
    fn a_counter_at_its_bound_refuses_what_counts_and_never_the_start() {
        for mut machine in at(COUNT_WRITE_MAX - 2) {
            let (mut done, mut refused) = (0, 0);
            for number in 0..9 {
                for command in commands(number) {
                    let reply = apply(&mut machine, command);
                    let is_refused = if let Reply::Auth(Ok(auth::AuthReply::Paths(done))) = &reply {
                        done.answer == Err(PathAuthError::CountersUsedUp)
                    } else {
                        refusals(&machine).contains(&reply)
                    };
                    *(if is_refused { &mut refused } else { &mut done }) += 1;
                }
                let again = loaded(&machine).expect("what was written can be loaded");
                assert_eq!(again.counters(), machine.counters());
            }
            assert!(done > 9 && refused > 30, "{done} done, {refused} refused");
        }
    }

    #[test]
    fn a_state_that_leaves_no_room_to_count_on_is_not_taken_over() {
        for machine in at(COUNT_IMPORT_MAX) {
            assert_eq!(machine.check_import(), Ok(()));
        }
        for machine in at(COUNT_IMPORT_MAX + 1) {
            let error = machine
                .check_import()
                .expect_err("it is refused")
                .to_string();
            assert!(error.contains("revision is "), "{error}");
        }
    }
}
