//! Adopts the data directory of a member of etcd 3.4 to 3.7. The state at the last entry that is known to be committed becomes
//! the checkpoint, and later entries become the log. etcd's files stay unchanged.
//!
//! A quorum may have committed later entries without this member's knowledge. These entries keep their index and term, and an
//! election commits or discards them, as in etcd.
//!
//! Members of one cluster may be adopted with different states. Each state therefore has a lineage, and a follower compares
//! lineages to decide whether it must replace its state with the leader's.
//!
//! Not here: reading etcd's files (`witan_etcd`) and its stores (`witan_snapshot`).
//!
//! Reading order: this file ([`adopt`]) → `state` (backend and committed entries) → `entry` (converts one log entry) →
//! `refused` (membership changes that etcd has refused) → `lineage`.

mod entry;
pub mod lineage;
mod refused;
mod state;

use std::{path::Path, sync::Arc};

use witan_etcd::EtcdDirectory;
use witan_machine::{
    command::Entry,
    counters::{CountTooFar, check_import},
    member::MemberId,
    revision::Revision,
    values::BlockCache,
    view::View,
};
use witan_replica::{host::LogBatch, wire};
use witan_snapshot::{BoltError, v2_store::V2StoreError};
use witan_storage::{self as storage, DataIdentity, OpenError};

/// The reason why a data directory was not adopted. etcd's files are unchanged, and Witan ignores the files that it has
/// written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum AdoptError {
    #[error(transparent)]
    Etcd(#[from] witan_etcd::EtcdError),
    #[error("etcd's backend: {0}")]
    Backend(#[from] BoltError),
    #[error("{0}. The store is in the newest file in member/snap that ends with .snap")]
    V2(#[from] V2StoreError),
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error("{0}: not the data of an etcd member; use another member's directory")]
    Counter(#[from] CountTooFar),
    #[error("entry {index} of etcd's log: {reason}")]
    Entry {
        index: u64,
        /// The problem with the entry, and advice for the operator.
        reason: String,
    },
    #[error(
        "member {member_id} was removed from its cluster; adopt a member that is still in the cluster, or add a new member"
    )]
    Removed { member_id: MemberId },
    #[error(
        "the voters and learners in the data are {registered:x?}, and in raft's configuration {in_raft:x?}. Start etcd on \
         this directory and stop it, or use another member's directory"
    )]
    Members {
        /// Voters and learners in the member list.
        registered: [Vec<u64>; 2],
        /// Voters and learners in raft's configuration.
        in_raft: [Vec<u64>; 2],
    },
    #[error(
        "{free} bytes are free, but the data needs up to {needed}; free some space. Nothing was changed"
    )]
    NoSpace { free: u64, needed: u64 },
}

impl AdoptError {
    /// Creates the error for the entry `index` of etcd's log.
    fn entry(index: u64, reason: impl Into<String>) -> Self {
        Self::Entry { index, reason: reason.into() }
    }
}

/// A summary of the adopted data, for the output of `witan adopt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The identity of the adopted member.
    pub identity: DataIdentity,
    /// Index of the last entry in the checkpoint.
    pub index: u64,
    /// Number of later entries, which an election commits or discards.
    pub undecided: usize,
    /// The v3 revision.
    pub revision: Revision,
    /// Number of v3 keys.
    pub keys: usize,
    /// Number of members.
    pub members: usize,
    /// Size in bytes of an incomplete record at the end of etcd's log.
    pub torn_bytes: u64,
    /// Names of users and roles that were merged because both v2 and v3 had them.
    pub shared_names: Vec<String>,
}

/// Reads etcd's data directory `dir` and writes Witan's files next to etcd's. `wal_dir` is etcd's `--wal-dir`, if it was set.
/// `cache` decides which values stay in memory. `progress` receives each step, and the size of each record in the longest step.
/// Fails if etcd is running, or if less disk space is free than etcd's backend takes.
pub fn adopt(
    dir: &Path,
    wal_dir: Option<&Path>,
    cache: &Arc<BlockCache>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Adopted, AdoptError> {
    progress(Progress::Step("log", 0));
    let etcd = witan_etcd::open(dir, wal_dir)?;
    let identity = DataIdentity::new(etcd.cluster_id, MemberId(etcd.member_id));
    // Remove the files of an interrupted adoption before measuring the free space.
    let mut adoption = storage::adopt(dir, &etcd.wal_dir, &identity, cache)?;
    // Witan's files are never larger than etcd's backend.
    let needed = etcd.backend.length;
    let free = storage::free_bytes(dir);
    if free < needed {
        return Err(AdoptError::NoSpace { free, needed });
    }
    progress(Progress::Step("keys", etcd.backend.length));
    let built = state::committed(&etcd, &mut |machine, bytes| {
        progress(Progress::Bytes(bytes));
        Ok(adoption.write_part(machine)?)
    });
    let (mut view, shared_names) = built?;
    view.machine.check_import()?;
    view.position.lineage = lineage::of_adopted(&view);
    let log = undecided(&etcd, &view)?;
    progress(Progress::Step("writing", 0));
    let adopted = Adopted {
        identity,
        index: view.position.index,
        undecided: log.records.len(),
        revision: view.machine.kv.revision(),
        keys: view.machine.kv.len(),
        members: view.machine.members.by_id.len(),
        torn_bytes: etcd.torn_bytes,
        shared_names,
    };
    adoption.finish(view, &log)?;
    Ok(adopted)
}

/// Progress of [`adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step starts: its name, and its size in bytes or 0 if unknown.
    Step(&'static str, u64),
    /// Number of bytes processed since the last report.
    Bytes(usize),
}

/// Converts raft's hard state and the entries after the checkpoint. Raises the term and the commit index to the term and the
/// commit index of the checkpoint, and drops a vote from an earlier term. Fails if an entry is invalid or changes v2 users or
/// roles, or if the term or the last index is too large for Witan.
fn undecided(etcd: &EtcdDirectory, view: &View) -> Result<LogBatch, AdoptError> {
    let applied = view.position.index;
    let mut records = Vec::new();
    for log in etcd.entries.iter().filter(|log| log.index > applied) {
        let entry = match entry::of(log, etcd.cluster_id)? {
            entry::Change::None => Entry::default(),
            entry::Change::Entry(entry) => *entry,
            entry::Change::PathAuth => {
                let what = "it changes v2 users and is not known to be committed. Start etcd on this directory and \
                            stop it without a write, so that the entry is committed";
                return Err(AdoptError::entry(log.index, what));
            }
        };
        records.push(wire::log_record(log.index, log.term, &entry));
    }
    let state = etcd.hard_state;
    let term = state.term.max(view.position.term);
    let last = etcd.entries.last().map_or(applied, |log| log.index);
    check_import("term of raft", term)?;
    check_import("index of raft's log", last.max(applied))?;
    // A vote is valid only in the term in which it was cast.
    let vote = if term == state.term { state.vote } else { 0 };
    let hard_state = wire::hard_state(term, vote, state.commit.max(applied));
    Ok(LogBatch { records, hard_state: Some(hard_state), must_sync: true })
}
