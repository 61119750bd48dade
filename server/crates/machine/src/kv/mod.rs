//! The v3 key space: multi-version keys in immutable blocks.
//!
//! Each operation has its own file: `put`, `delete`, `range`, `txn`, `compact`.
//!
//! Reading order: `request` (what can be asked) → `read_budget` (how much of it) → `version` and `block`
//! (what is kept) → `history` (all of it) → `leaf` and `index` (which key stands where; `sort` helps to
//! build it) → the verbs → `kept` (values that puts keep) → `lease` → `events` (what
//! watchers read) → `retained` (what etcd's store would hold) → `import` (what was such a store), `follow` (what another one
//! writes) → `hash`, `checkpoint`.

mod block;
pub(crate) mod checkpoint;
mod compact;
mod delete;
mod events;
mod follow;
mod hash;
mod history;
mod import;
mod index;
mod kept;
mod key_range;
mod leaf;
mod lease;
mod put;
mod range;
mod read_budget;
mod request;
mod retained;
mod sort;
#[cfg(test)]
pub(crate) mod test_helpers;
mod txn;
mod version;
mod work;

pub use events::{HistoryLocation, KeyChange};
pub use import::ImportedVersion;
pub use range::{NextPart, RangePart, RangePartBounds};
pub use read_budget::ReadResults;
pub use request::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, KvCommand, KvOperation, Put,
    Range, SortOrder, SortTarget, Sweep, TargetValue, Txn, TxnOp, TxnOpKind,
};

use bytes::Bytes;

use history::History;
use index::Index;
pub(crate) use key_range::KeyRange;
use leaf::IndexEntry;
use read_budget::ReadBudget;

use super::{
    auth_error,
    counters::COUNT_MAX,
    lease::{LEASE_BYTES, LeaseId, Leases},
};
use version::{Links, Version};

/// A key with its value and metadata, as etcd's `mvccpb.KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in an answer with keys only.
    pub value: Bytes,
    /// Revision of the put that created the key.
    pub create_revision: i64,
    /// Revision of the last put.
    pub mod_revision: i64,
    /// Number of puts since the key was created.
    pub version: i64,
    /// Attached lease, 0 for none.
    pub lease: LeaseId,
}

/// Answer of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs, sorted as asked.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left out pairs.
    pub more: bool,
    /// Number of keys in the range irrespective of limit and revision filters.
    pub count: i64,
}

/// Answer of a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The pair before, if asked for and existing.
    pub prev_kv: Option<KeyValue>,
}

/// Answer of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReply {
    /// Number of keys deleted.
    pub deleted: i64,
    /// The pairs before, if asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// Answer of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether the success branch ran.
    pub succeeded: bool,
    /// One reply per executed operation, with the revision that the operation's own header carries.
    pub replies: Vec<(OpReply, i64)>,
}

/// Answer of an operation that a transaction can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the operations")]
pub enum OpReply {
    Range(RangeReply),
    Put(PutReply),
    Delete(DeleteReply),
    Txn(TxnReply),
}

/// Answer of one successful v3 command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvReply {
    /// Of a command that a transaction can hold, too.
    Op(OpReply),
    /// Of a compaction and of a sweep.
    Compact,
}

/// Why a v3 request failed; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The revision asked for is below the compacted one.
    #[error("required revision has been compacted")]
    Compacted {
        /// The compacted revision.
        compacted: i64,
    },
    /// The revision asked for is above the present one.
    #[error("required revision is a future revision")]
    FutureRevision {
        /// The present revision.
        current: i64,
    },
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// The lease to attach does not exist.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A member's quota is used up, and the command would grow the key space.
    #[error("database space exceeded")]
    NoSpace,
    /// A put keeps a value that has become much longer since the put was proposed.
    #[error("the value to keep has grown meanwhile")]
    KeptValueGrew,
    /// Members disagree about the data.
    #[error("corrupt cluster")]
    Corrupt,
    /// The command would read more than `limits` allow.
    #[error("the answer would be too large")]
    AnswerTooLarge,
    /// A counter of the state has no number left.
    #[error("the counters of this cluster are used up")]
    CountersUsedUp,
    /// The caller may not do that.
    #[error(transparent)]
    Denied(#[from] auth_error::AuthError),
}

/// dbSize of an empty store.
const EMPTY_BYTES: u64 = 20 << 10;

/// Sizes are reported in pages of this many bytes.
const PAGE_BYTES: u64 = 4 << 10;

/// The v3 state. Cloning is O(1).
#[derive(Clone)]
pub struct Kv {
    revision: i64,
    compacted: i64,
    index: Index,
    history: History,
    leases: Leases,
    /// Bytes of the newest versions of all live keys.
    live_bytes: u64,
    /// Block in which the sweep of a compaction goes on, or the next one begins.
    next_sweep_block: u64,
    /// Whether the sweep of the last compaction is unfinished.
    sweeping: bool,
    /// Counters of the checkpoint that is being loaded.
    loading: Option<Box<checkpoint::KvMeta>>,
    /// States before compactions that watchers were not notified of yet; not replicated state.
    states_before_compaction: Vec<Kv>,
    /// Numbers the states that replaced one another in this process. Their blocks differ. Not replicated.
    layout: u32,
}

impl Default for Kv {
    fn default() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            index: Index::default(),
            history: History::default(),
            leases: Leases::default(),
            live_bytes: 0,
            next_sweep_block: 0,
            sweeping: false,
            loading: None,
            states_before_compaction: Vec::new(),
            layout: 0,
        }
    }
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kv")
            .field("revision", &self.revision)
            .field("compacted", &self.compacted)
            .field("len", &self.len())
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

/// The writes of one command. They share a revision, which exists after the first write.
#[derive(Debug)]
struct WriteBatch {
    main: i64,
    written: u64,
    reads: ReadBudget,
}

/// The version that a write follows.
struct PreviousVersion {
    size: u64,
    create: i64,
    version: i64,
    lease: LeaseId,
    links: Links,
    tombstone: bool,
}

impl Kv {
    /// Executes one committed command (I2).
    pub fn apply(&mut self, command: &KvCommand) -> Result<KvReply, KvError> {
        self.apply_with(command, ReadResults::Return)
    }

    /// Executes one committed command (I2), after a step of the sweep of compacted versions, if one is going on.
    /// `answers` says whether the reply holds the results of reads; the
    /// state after the command does not depend on it.
    pub fn apply_with(
        &mut self,
        command: &KvCommand,
        answers: ReadResults,
    ) -> Result<KvReply, KvError> {
        self.continue_sweep();
        let mut batch = self.begin_write(ReadBudget::of_command(command.bounded(), answers));
        let reply = match &command.operation {
            Some(KvOperation::Put(put)) => {
                self.check_put(put)?;
                KvReply::Op(OpReply::Put(self.put(&mut batch, put)?))
            }
            Some(KvOperation::Delete(delete)) => {
                KvReply::Op(OpReply::Delete(self.delete(&mut batch, delete)?))
            }
            Some(KvOperation::Txn(txn)) => KvReply::Op(OpReply::Txn(self.txn(&mut batch, txn)?)),
            Some(KvOperation::Compact(compact)) => {
                self.compact(compact)?;
                KvReply::Compact
            }
            Some(KvOperation::Sweep(Sweep {})) => {
                self.sweep_on_request();
                KvReply::Compact
            }
            // Never proposed; an older member may read an operation of a newer release here.
            None => KvReply::Op(OpReply::Txn(TxnReply::default())),
        };
        self.revision = self.revision_within(&batch);
        Ok(reply)
    }

    /// Prepares the writes of a command, which will make the next revision, with the budget of its reads.
    fn begin_write(&self, reads: ReadBudget) -> WriteBatch {
        WriteBatch { main: self.revision + 1, written: 0, reads }
    }

    /// Returns the revision that reads within the command see: the command's own once it has written.
    fn revision_within(&self, batch: &WriteBatch) -> i64 {
        if batch.written > 0 {
            batch.main
        } else {
            self.revision
        }
    }

    /// Returns the newest version of a key, which may be a deletion, as the next version refers to it; `None`
    /// if no version is left.
    fn previous_version(&self, key: &[u8]) -> Option<PreviousVersion> {
        let entry = self.index.get(key)?;
        let (_, before) = self.history.get(entry.location)?;
        Some(PreviousVersion {
            size: before.size as u64,
            create: before.create,
            version: before.version,
            lease: before.lease,
            links: self.history.links_after(entry.location, &before.links),
            tombstone: before.tombstone,
        })
    }

    /// Writes one version: a value with its lease, or a deletion if `written` is `None`. Detaches the key
    /// from its previous lease.
    fn write(&mut self, batch: &mut WriteBatch, key: &[u8], written: Option<(&[u8], LeaseId)>) {
        let past = self.previous_version(key);
        let life = past.as_ref().filter(|past| !past.tombstone);
        let (create, version) = match (written, life) {
            (None, _) => (batch.main, 0),
            (Some(_), None) => (batch.main, 1),
            // A key of an imported state may have more versions than the state has revisions.
            (Some(_), Some(past)) => (past.create, (past.version + 1).min(COUNT_MAX as i64)),
        };
        let (value, lease) = written.unwrap_or_default();
        let past_lease = life.map_or(LeaseId::NONE, |past| past.lease);
        self.leases.reattach(key, past_lease, lease);
        let version = Version {
            main: batch.main,
            sub: batch.written,
            tombstone: written.is_none(),
            create,
            version,
            lease,
            links: past.as_ref().map(|past| past.links).unwrap_or_default(),
            key,
            value,
            apart: None,
            size: 0,
        };
        let (location, size) = self.history.push(&version);
        self.live_bytes -= life.map_or(0, |past| past.size);
        self.live_bytes += if written.is_some() { size as u64 } else { 0 };
        self.index
            .put(key, IndexEntry { location, tombstone: written.is_none() });
        batch.written += 1;
    }

    /// Returns the newest pair of a live key; `None` if the key does not exist.
    fn newest(&self, key: &[u8]) -> Option<KeyValue> {
        let entry = self.index.get(key).filter(|entry| !entry.tombstone)?;
        self.history.key_value(entry.location)
    }

    /// Reads a range at the present or an older revision.
    pub fn range(&self, range: &Range) -> Result<RangeReply, KvError> {
        self.check_range(range, self.revision)?;
        self.read(range, self.revision, &mut ReadBudget::of_range())
    }

    /// The revision of the last change; 1 when nothing was ever written.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compacted revision, -1 when never compacted.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        self.index.live()
    }

    /// Whether no key is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all records in 4 KiB pages: etcd's dbSize and dbSizeInUse, because a compaction leaves no free pages.
    /// The same on every member after the same log.
    pub fn size_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.history.bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Bytes of the newest versions of live keys and of leases, in 4 KiB pages.
    pub fn live_size_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.live_bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Bytes that this state and its predecessors have dropped since the process loaded a state. A reader of an older
    /// state may still keep them.
    pub fn dropped_bytes(&self) -> u64 {
        self.history.dropped_bytes
    }

    fn lease_bytes(&self) -> u64 {
        self.leases.len() as u64 * LEASE_BYTES
    }
}
