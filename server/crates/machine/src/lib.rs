//! The state machine: the v3 key space, the v2 tree, the member registry, the alarms, and the users and roles.
//! [`StateMachine::apply`] makes all changes.
//!
//! Raft and tickets are in `witan_replica`. Sockets, files, threads, clocks, JSON and gRPC are in other crates.
//!
//! The state consists of persistent data structures, so a clone takes O(1). Readers, checkpoints and snapshots work on a
//! clone while commands are applied (see [`view::View`]).
//!
//! Reading order: `command` (the commands) → `operation` (their typed results) → `kv`, `lease`, `witan_tree`, `member`,
//! `alarm`, `auth` (its errors: `auth_error`) → `follow` (copies another cluster) → `work` (cost of a command) → `record`,
//! `view` (for checkpoints and readers), `values` (values on disk), `quota` (sizes), `counters` (limits of counters),
//! `versions`, `levels`, `pacing`, `limits`. `revision` is the type of revisions, `secrets` hides passwords in `Debug` output,
//! and `fingerprint` compares states in tests.
//!
//! Invariants enforced here (ARCHITECTURE.md has the full list):
//! - **I1** no I/O and no clock: the proposer stamps wall time, which is part of the entry (I9).
//! - **I2** [`StateMachine::apply`] is total and deterministic; a domain error is a reply.

pub mod alarm;
pub mod auth;
mod auth_error;
pub mod command;
pub mod counters;
pub mod fingerprint;
pub mod follow;
pub mod kv;
pub mod lease;
pub mod levels;
pub mod limits;
pub mod member;
pub mod operation;
pub mod pacing;
mod quota;
pub mod record;
pub mod revision;
mod secrets;
pub mod values;
pub mod versions;
pub mod view;
mod work;

use alarm::{Alarm, Alarms};
use auth::{AccessCheck, Auth, Caller};
use command::{Command, Entry};
use kv::ReadResults;
use member::MemberRegistry;
use pacing::Pacing;
use record::{CorruptRecord, Emit, RecordChange, in_section};
use revision::Revision;
use values::Place;
use witan_tree::{Tree, TreeError, TreeReply};

/// The replicated state of one member. A clone takes O(1) and is independent of the original.
#[derive(Clone, Debug, Default)]
pub struct StateMachine {
    /// v3 key space (MVCC) and its leases.
    pub kv: kv::Kv,
    /// v2 (and v1) key space.
    pub tree: Tree,
    /// The members of the cluster.
    pub members: MemberRegistry,
    /// Raised alarms.
    pub alarms: Alarms,
    /// Users, roles and permissions.
    pub auth: Auth,
}

/// Reply to an executed command. The [`Command`] determines the variant.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Result of a v3 command.
    Kv(Result<kv::KvReply, kv::KvError>),
    /// Result of a lease command.
    Lease(Result<lease::LeaseReply, lease::LeaseError>),
    /// Result of a v2 command.
    Tree(Result<TreeReply, TreeError>),
    /// A member's attributes were recorded, or ignored if the member is unknown or its data directory was replaced.
    Published,
    /// The cluster version, the feature level, or both were recorded.
    ClusterVersionSet,
    /// Result of adding, promoting or removing a member or of changing its peer URLs.
    MembershipChanged(Result<(), member::MembershipError>),
    /// The downgrade target was recorded or cleared.
    DowngradeSet,
    /// The alarm that is now raised or was lowered; `None` if the command neither raised nor lowered an alarm.
    Alarm(Option<Alarm>),
    /// Result of a command on users and roles.
    Auth(Result<auth::AuthReply, auth::AuthError>),
    /// Result of a follow command.
    Followed(Result<(), follow::FollowError>),
    /// No result, for an entry without a command. Raft adds such an entry at the start of a term.
    Nothing,
}

/// The outcome of applying one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The reply to the proposer.
    pub reply: Reply,
    /// The v3 revision after this entry, for response headers.
    pub revision: Revision,
}

impl StateMachine {
    /// Executes a committed command. The execution is total and deterministic (I2).
    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        self.apply_with(entry, ReadResults::Return)
    }

    /// Executes a committed command (I2). `answers` decides only whether the reply contains the results of reads.
    pub fn apply_with(&mut self, entry: &Entry, answers: ReadResults) -> Outcome {
        self.kv.set_pacing(Pacing::of(self.members.level()));
        let reply = match &entry.command {
            Some(command) => self.execute(command, entry, answers),
            None => Reply::Nothing,
        };
        Outcome { reply, revision: self.kv.revision() }
    }

    /// Executes a command of the v3 key space, unless an alarm or the caller's permissions forbid the command. `None` is an
    /// unauthenticated caller. The state does not depend on `answers`.
    fn execute_kv(
        &mut self,
        command: &kv::KvCommand,
        caller: Option<&Caller>,
        answers: ReadResults,
    ) -> Result<kv::KvReply, kv::KvError> {
        self.alarms.check(command)?;
        self.check(caller).command(command)?;
        self.kv.apply_with(command, answers)
    }

    /// Executes a lease command, unless an alarm or the caller's permissions forbid the command. `None` is an unauthenticated
    /// caller.
    fn execute_lease(
        &mut self,
        command: &lease::LeaseCommand,
        caller: Option<&Caller>,
    ) -> Result<lease::LeaseReply, lease::LeaseError> {
        self.alarms.check_lease(command)?;
        self.check(caller).lease_command(command)?;
        self.kv.apply_lease(command)
    }

    /// Executes a command on its part of the state and advances the v2 index if etcd would change its v2 store. Without a
    /// stamp, the time of a v2 command is 0.
    fn execute(&mut self, command: &Command, entry: &Entry, answers: ReadResults) -> Reply {
        let caller = entry.caller.as_ref();
        match command {
            Command::Kv(command) => Reply::Kv(self.execute_kv(command, caller, answers)),
            Command::Lease(command) => Reply::Lease(self.execute_lease(command, caller)),
            Command::Tree(command) => {
                let stamp = entry.stamp.unwrap_or_default();
                Reply::Tree(self.tree.apply(command, stamp.now_ns))
            }
            Command::Publish(publish) => {
                self.members.publish(publish);
                self.tree.advance_index();
                Reply::Published
            }
            Command::ClusterVersion(decided) => {
                if self.members.decide_version(decided) {
                    self.tree.advance_index();
                }
                Reply::ClusterVersionSet
            }
            Command::PeerUrls(asked) => {
                let done = self.members.set_peer_urls(asked);
                if done.is_ok() {
                    self.tree.advance_index();
                }
                Reply::MembershipChanged(done)
            }
            Command::Members(asked) => {
                let done = self.members.change(asked);
                // In etcd, members are v2 nodes: an addition or a promotion writes once, and a removal twice.
                let entries = match (&asked.add, asked.promote) {
                    (Some(_), _) => 1,
                    (None, 0) => 2,
                    (None, _) => 1,
                };
                for _ in 0..entries {
                    if done.is_ok() {
                        self.tree.advance_index();
                    }
                }
                Reply::MembershipChanged(done)
            }
            Command::Downgrade(downgrade) => {
                self.members.downgrade_target.clone_from(&downgrade.target);
                Reply::DowngradeSet
            }
            Command::Follow(command) => Reply::Followed(self.follow(command)),
            Command::Alarm(command) => Reply::Alarm(self.alarms.apply(command, &self.members)),
            Command::Auth(command) => {
                let done = self.auth.apply(command, caller);
                if let Ok(auth::AuthReply::Paths(done)) = &done {
                    // In etcd, users and roles are v2 nodes, so a change to them advances the v2 index.
                    (0..done.index_steps).for_each(|_| self.tree.advance_index());
                }
                Reply::Auth(done)
            }
        }
    }

    /// Returns the permission checks for a caller in this state. `None` is an unauthenticated caller.
    pub fn check<'a>(&'a self, caller: Option<&'a Caller>) -> AccessCheck<'a> {
        AccessCheck::new(&self.auth, caller, self.kv.leases())
    }

    /// Emits the records that turn a checkpoint of `since` into a checkpoint of `self`. `None` means an empty checkpoint.
    pub fn changes(&self, since: Option<&StateMachine>, emit: &mut Emit<'_>) {
        self.kv
            .changes(since.map(|m| &m.kv), &mut in_section(record::KV, emit));
        self.changes_except_keys(since, emit);
    }

    /// Emits all records except the blocks of the v3 key space.
    pub(crate) fn records_except_blocks(&self, emit: &mut Emit<'_>) {
        self.kv.emit_meta(&mut in_section(record::KV, emit));
        self.changes_except_keys(None, emit);
    }

    /// Sets the place of the durable record of a closed block; see [`view::View::settle`]. Ignores other records.
    pub(crate) fn settle(&self, key: &[u8], place: Place) {
        if let Some((&record::KV, key)) = key.split_first() {
            self.kv.settle(key, place);
        }
    }

    /// Emits the same records as [`Self::changes`], except the blocks and counters of the v3 key space. Members with the same
    /// state emit the same records. If `since` is `None`, emits all records.
    pub fn changes_except_keys(&self, since: Option<&StateMachine>, emit: &mut Emit<'_>) {
        self.kv.leases().changes(
            since.map(|m| m.kv.leases()),
            &mut in_section(record::LEASE, emit),
        );
        self.tree_changes(since.map(|m| &m.tree), emit);
        self.members.changes(
            since.map(|m| &m.members),
            &mut in_section(record::MEMBER, emit),
        );
        self.alarms.changes(
            since.map(|m| &m.alarms),
            &mut in_section(record::ALARM, emit),
        );
        self.auth
            .changes(since.map(|m| &m.auth), &mut in_section(record::AUTH, emit));
    }

    /// Emits the records of the v2 tree that have changed since `since`, or all records for `None`.
    fn tree_changes(&self, since: Option<&Tree>, emit: &mut Emit<'_>) {
        let mut emit = in_section(record::TREE, emit);
        self.tree.changes(since, &mut |key, value| {
            emit(match value {
                Some(value) => RecordChange::Put { key, value },
                None => RecordChange::Delete { key },
            });
        });
    }

    /// Emits the records of the parts of the state that etcd 3.6's store cannot represent: the v2 tree and v2 authentication.
    pub fn witan_records(&self, emit: &mut Emit<'_>) {
        self.tree_changes(None, emit);
        self.auth
            .path_auth_changes(None, &mut in_section(record::AUTH, emit));
    }

    /// Loads the next record of [`StateMachine::changes`] in ascending key order. Fails if the record is invalid or from a
    /// later release.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        let Some((section, key)) = key.split_first() else {
            return Err(CorruptRecord::new("empty record key"));
        };
        match *section {
            record::KV => self.kv.load(key, value),
            record::LEASE => self.kv.load_lease(key, value),
            record::TREE => self.tree.load(key, value).map_err(CorruptRecord::from),
            record::MEMBER => self.members.load(value),
            record::ALARM => self.alarms.load(value),
            record::AUTH => self.auth.load(key, value),
            other => Err(CorruptRecord::later(format!(
                "a record has the unknown section {other}"
            ))),
        }
    }

    /// Builds derived state, sets the constants of the cluster's level and checks consistency, after the last
    /// [`StateMachine::load`].
    pub fn finish_load(&mut self) -> Result<(), CorruptRecord> {
        self.auth.finish_load();
        self.kv.finish_load()?;
        self.kv.set_pacing(Pacing::of(self.members.level()));
        Ok(self.tree.finish_load()?)
    }
}
