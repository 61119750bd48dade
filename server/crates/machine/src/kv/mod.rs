//! The v3 key space: multi-version keys in immutable blocks.
//!
//! Each operation has a file: `put`, `delete`, `range`, `txn`, `compact`.
//!
//! Reading order: `request`, `key_range` (the operations) → `read_budget`, `work` (their limits and costs) → `version`,
//! `slots`, `block` and `block_record` (storage) → `history` (all versions) → `leaf` and `index` (the newest version of each
//! key) → `sort` and `index_builder` (building the index at startup) → the operations (`range` also sorts its response) →
//! `range_plan` (large responses) → `kept` (values that puts keep) → `lease` → `events` (the history for watchers) → `retained`
//! (the versions that etcd's store would contain) → `import` (from an etcd store), `follow` (from another cluster) → `hash`,
//! `checkpoint`.

use crate::revision::Revision;

mod block;
mod block_record;
pub(crate) mod checkpoint;
mod compact;
mod delete;
mod events;
mod follow;
mod hash;
mod history;
mod import;
mod index;
mod index_builder;
mod kept;
mod key_range;
mod leaf;
mod lease;
mod put;
mod range;
mod range_plan;
mod read_budget;
mod request;
mod retained;
mod slots;
mod sort;
#[cfg(test)]
pub(crate) mod test_helpers;
mod txn;
mod version;
mod work;

pub use checkpoint::BlockRecord;
pub use events::{HistoryLocation, KeyChange};
pub use import::ImportedVersion;
pub use range::{NextPart, RangePart, RangePartBounds};
pub use range_plan::{MeasurePair, RangePlan};
pub use read_budget::{ReadResults, ValueSource};
pub use request::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, KvCommand, KvOperation, Put,
    Range, SortOrder, SortTarget, Sweep, TargetValue, Txn, TxnOp, TxnOpKind,
};

use bytes::Bytes;

use history::History;
use index::Index;
pub(crate) use key_range::KeyRange;
use leaf::IndexEntry;
use read_budget::{ReadBudget, ValueUse};

use super::{
    auth_error,
    lease::{LEASE_BYTES, LeaseId, Leases},
    levels,
    pacing::Pacing,
};
use version::{Links, Version};

/// A key with its value and metadata; etcd's `mvccpb.KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty if only keys were requested.
    pub value: Bytes,
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts since the key was created.
    pub version: i64,
    /// The attached lease; [`LeaseId::NONE`] for no lease.
    pub lease: LeaseId,
}

/// Result of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs in the requested order.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit excluded pairs.
    pub more: bool,
    /// Number of keys in the range, regardless of limit and revision filters.
    pub count: i64,
}

/// Result of a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The previous pair, if it was requested and exists.
    pub prev_kv: Option<KeyValue>,
}

/// Result of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReply {
    /// Number of deleted keys.
    pub deleted: i64,
    /// The previous pairs, if requested.
    pub prev_kvs: Vec<KeyValue>,
}

/// Result of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether the success branch ran.
    pub succeeded: bool,
    /// One reply per executed operation, with the revision in the operation's header.
    pub replies: Vec<(OpReply, Revision)>,
}

/// Result of an operation in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the operations")]
pub enum OpReply {
    Range(RangeReply),
    Put(PutReply),
    Delete(DeleteReply),
    Txn(TxnReply),
}

/// Result of a successful v3 command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvReply {
    /// Reply to an operation that a transaction can also contain.
    Op(OpReply),
    /// Reply to a compaction or a sweep.
    Compact,
}

/// The reason why a v3 request failed. A failed request changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The requested revision is below the compacted revision.
    #[error("required revision has been compacted")]
    Compacted {
        /// The compacted revision.
        compacted: Revision,
    },
    /// The requested revision is above the current revision.
    #[error("required revision is a future revision")]
    FutureRevision {
        /// The current revision.
        current: Revision,
    },
    /// The request has `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// The lease to attach does not exist.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A member's quota is exhausted, and the command would grow the key space.
    #[error("database space exceeded")]
    NoSpace,
    /// A put keeps a value that has grown considerably since the put was proposed.
    #[error("the existing value has grown since the put was proposed")]
    KeptValueGrew,
    /// Members have different data.
    #[error("corrupt cluster")]
    Corrupt,
    /// The request would read or return more than `limits` and `pacing` allow.
    #[error("the answer would be too large")]
    ResponseTooLarge,
    /// The read needs a value that is only on disk. Repeat the read with [`ValueSource::Disk`], on a thread that may wait.
    #[error("a value is not in memory")]
    NotResident,
    /// The caller lacks permission.
    #[error(transparent)]
    Denied(#[from] auth_error::AuthError),
}

/// Size in bytes that an empty store reports.
const EMPTY_BYTES: u64 = 20 << 10;

/// Page size in bytes. Reported sizes are multiples of the page size.
const PAGE_BYTES: u64 = 4 << 10;

/// The v3 state. Cloning takes O(1) time.
#[derive(Clone)]
pub struct Kv {
    revision: Revision,
    compacted: Revision,
    index: Index,
    history: History,
    leases: Leases,
    /// Size in bytes of the newest versions of all live keys.
    live_bytes: u64,
    /// The block at which the current sweep continues or the next sweep starts.
    next_sweep_block: u64,
    /// Whether the sweep of the last compaction is unfinished.
    sweeping: bool,
    /// Counters of the checkpoint that is loading; `None` after loading.
    loading: Option<Box<checkpoint::KvMeta>>,
    /// States before compactions that watchers have not been notified of; not replicated.
    states_before_compaction: Vec<Kv>,
    /// Distinguishes states that replaced each other in this process, because their blocks differ; not replicated.
    layout: u32,
    /// The constants of the cluster's feature level. [`crate::StateMachine`] sets them before each entry.
    pacing: Pacing,
}

impl Default for Kv {
    fn default() -> Self {
        Self {
            revision: Revision::EMPTY,
            compacted: Revision(-1),
            index: Index::default(),
            history: History::default(),
            leases: Leases::default(),
            live_bytes: 0,
            next_sweep_block: 0,
            sweeping: false,
            loading: None,
            states_before_compaction: Vec::new(),
            layout: 0,
            pacing: Pacing::of(levels::FIRST),
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
    /// The revision that the writes create.
    main: Revision,
    /// Number of writes so far.
    written: u64,
    /// The command's read budget.
    reads: ReadBudget,
}

/// The version of a key before a write.
struct PreviousVersion {
    /// Size of the version in bytes.
    size: u64,
    create: Revision,
    version: i64,
    lease: LeaseId,
    /// The links of the next version.
    links: Links,
    tombstone: bool,
}

impl Kv {
    /// Executes a committed command (I2).
    pub fn apply(&mut self, command: &KvCommand) -> Result<KvReply, KvError> {
        self.apply_with(command, ReadResults::Return)
    }

    /// Executes a committed command (I2), after a step of an unfinished sweep. `answers` decides whether the reply contains the
    /// results of reads; the state does not depend on `answers`.
    pub fn apply_with(
        &mut self,
        command: &KvCommand,
        answers: ReadResults,
    ) -> Result<KvReply, KvError> {
        self.continue_sweep();
        let reads = ReadBudget::of_command(self.pacing, command.bounded(), answers);
        let mut batch = self.begin_write(reads);
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
            // Every proposed command has an operation. Decoding refuses the operations of later releases.
            None => KvReply::Op(OpReply::Txn(TxnReply::default())),
        };
        self.revision = self.revision_within(&batch);
        Ok(reply)
    }

    /// Sets the constants with which this key space applies later commands.
    pub(crate) fn set_pacing(&mut self, pacing: Pacing) {
        self.pacing = pacing;
    }

    /// Prepares the writes of a command, which create the next revision. `reads` is the command's read budget.
    fn begin_write(&self, reads: ReadBudget) -> WriteBatch {
        WriteBatch { main: self.revision.next(), written: 0, reads }
    }

    /// Returns the revision that reads in a command see: the command's own revision after its first write.
    fn revision_within(&self, batch: &WriteBatch) -> Revision {
        if batch.written > 0 {
            batch.main
        } else {
            self.revision
        }
    }

    /// Returns the parts of a key's newest version (or deletion) that the next version needs, or `None` if no version remains.
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

    /// Writes a version of a key: a value and its lease, or a deletion if `written` is `None`. Moves the key to the new lease
    /// and counts the write in `batch`.
    fn write(&mut self, batch: &mut WriteBatch, key: &[u8], written: Option<(&[u8], LeaseId)>) {
        let past = self.previous_version(key);
        let life = past.as_ref().filter(|past| !past.tombstone);
        let (create, version) = match (written, life) {
            (None, _) => (batch.main, 0),
            (Some(_), None) => (batch.main, 1),
            (Some(_), Some(past)) => (past.create, past.version + 1),
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
            value_len: value.len(),
            value_at: 0,
            size: 0,
        };
        let (location, size) = self.history.push(&version, value, self.pacing.block_bytes);
        self.live_bytes -= life.map_or(0, |past| past.size);
        self.live_bytes += if written.is_some() { size as u64 } else { 0 };
        self.index
            .put(key, IndexEntry { location, tombstone: written.is_none() });
        batch.written += 1;
    }

    /// Reads a range at the current or an older revision. Fails for a compacted or future revision and for a result that
    /// exceeds the limits of a response.
    pub fn range(&self, range: &Range, source: ValueSource) -> Result<RangeReply, KvError> {
        self.range_within(range, u64::MAX, source)
    }

    /// Reads a range like [`Self::range`]. Fails with `ResponseTooLarge` once the pairs take more than `bytes` bytes of memory.
    pub fn range_within(
        &self,
        range: &Range,
        bytes: u64,
        source: ValueSource,
    ) -> Result<RangeReply, KvError> {
        self.check_range(range, self.revision)?;
        let reads = ReadBudget::of_range(self.pacing).from(source);
        self.read(range, self.revision, &mut reads.collecting(bytes))
    }

    /// Returns the revision of the last change, or 1 before the first write.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the compacted revision, or -1 before the first compaction.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Returns the number of live keys.
    pub fn len(&self) -> usize {
        self.index.live()
    }

    /// Returns whether there are no live keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the size of all versions and leases in bytes, rounded up to 4 KiB pages, plus 20 KiB. The size is both dbSize
    /// and dbSizeInUse, because a compaction leaves no free pages. All members have the same size after the same log entry.
    pub fn size_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.history.bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Returns whether all values are in memory, so that a checkpoint of this state reads nothing from the disk.
    pub fn values_are_in_memory(&self) -> bool {
        let mut blocks = self.history.blocks_from(0);
        blocks.all(block::Block::is_resident)
    }

    /// Returns the size in bytes of leases and of the live keys' newest versions, rounded up to 4 KiB pages, plus 20 KiB.
    pub fn live_size_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.live_bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Returns the size in bytes of the blocks that were removed or shrunk since the process loaded a state. Readers of older
    /// states may still hold these blocks.
    pub fn dropped_bytes(&self) -> u64 {
        self.history.dropped_bytes
    }

    /// Returns the size of all leases for the quota in bytes.
    fn lease_bytes(&self) -> u64 {
        self.leases.len() as u64 * LEASE_BYTES
    }
}
