//! The v3 key space: multi-version keys in immutable blocks.
//!
//! Each operation has its own file: `put`, `delete`, `range`, `txn`, `compact`.
//!
//! Reading order: `request` (what can be asked) → `read_budget` (how much of it) → `version` and `block`
//! (what is kept) → `history` (all of it) → `leaf` and `index` (which key stands where; `sort` helps to
//! build it) → the verbs → `lease` → `events` (what
//! watchers read) → `kept` (what etcd's store would hold) → `intake` (what was such a store) → `hash`,
//! `checkpoint`.

mod block;
mod checkpoint;
mod compact;
mod delete;
mod events;
mod hash;
mod history;
mod index;
mod intake;
mod kept;
mod leaf;
mod lease;
mod put;
mod range;
mod read_budget;
mod request;
mod sort;
mod span;
mod txn;
mod version;

pub use events::Written;
pub use intake::Foreign;
pub use range::{Next, Part, PartBounds};
pub use read_budget::Answers;
pub use request::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Op, OpKind, Put, Range,
    SortOrder, SortTarget, Sweep, TargetValue, Txn, Verb,
};

use bytes::Bytes;

use history::History;
use index::Index;
use leaf::Entry;
use read_budget::ReadBudget;
use span::Span;
pub use version::Place;

use super::{
    auth_error,
    lease::{LEASE_BYTES, Leases},
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
    pub lease: i64,
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
pub enum Reply {
    /// Of a command that a transaction can hold, too.
    Op(OpReply),
    /// Of a compaction and of a sweep.
    Compact,
}

/// Why a v3 request failed; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
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
    /// Members disagree about the data.
    #[error("corrupt cluster")]
    Corrupt,
    /// The command would read more than `limits` allow.
    #[error("the answer would be too large")]
    AnswerTooLarge,
    /// The caller may not do that.
    #[error(transparent)]
    Denied(#[from] auth_error::Error),
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
    compact_from: u64,
    /// Whether the sweep of the last compaction is unfinished.
    sweeping: bool,
    /// Counters of the checkpoint that is being loaded.
    loading: Option<Box<checkpoint::Meta>>,
    /// States before compactions that watchers were not notified of yet; not replicated state.
    compacted_states: Vec<Kv>,
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
            compact_from: 0,
            sweeping: false,
            loading: None,
            compacted_states: Vec::new(),
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
struct Batch {
    main: i64,
    written: u64,
    reads: ReadBudget,
}

/// The version that a write follows.
struct Past {
    size: u64,
    create: i64,
    version: i64,
    lease: i64,
    links: Links,
    tombstone: bool,
}

impl Kv {
    /// Executes one committed command (I2).
    pub fn apply(&mut self, command: &Command) -> Result<Reply, Error> {
        self.apply_for(command, Answers::Build)
    }

    /// The same; `answers` says whether results of reads are needed.
    pub fn apply_for(&mut self, command: &Command, answers: Answers) -> Result<Reply, Error> {
        self.sweep_on();
        let mut batch = self.batch(ReadBudget::of_command(command.bounded(), answers));
        let reply = match &command.verb {
            Some(Verb::Put(put)) => {
                self.check_put(put)?;
                Reply::Op(OpReply::Put(self.put(&mut batch, put)?))
            }
            Some(Verb::Delete(delete)) => {
                Reply::Op(OpReply::Delete(self.delete(&mut batch, delete)?))
            }
            Some(Verb::Txn(txn)) => Reply::Op(OpReply::Txn(self.txn(&mut batch, txn)?)),
            Some(Verb::Compact(compact)) => {
                self.compact(compact)?;
                Reply::Compact
            }
            Some(Verb::Sweep(Sweep {})) => {
                self.sweep_ahead();
                Reply::Compact
            }
            // Never proposed; an older member may read an operation of a newer release here.
            None => Reply::Op(OpReply::Txn(TxnReply::default())),
        };
        self.revision = self.current(&batch);
        Ok(reply)
    }

    /// Begins the writes of a command.
    fn batch(&self, reads: ReadBudget) -> Batch {
        Batch {
            main: self.revision + 1,
            written: 0,
            reads,
        }
    }

    /// The revision that reads within the command see.
    fn current(&self, batch: &Batch) -> i64 {
        if batch.written > 0 {
            batch.main
        } else {
            self.revision
        }
    }

    /// Writes one version: a value with its lease, or a deletion. Detaches the key from its
    /// previous lease.
    fn write(&mut self, batch: &mut Batch, key: &[u8], written: Option<(&[u8], i64)>) {
        let entry = self.index.get(key);
        let past = entry.and_then(|entry| {
            let (_, before) = self.history.get(entry.place)?;
            Some(Past {
                size: before.size as u64,
                create: before.create,
                version: before.version,
                lease: before.lease,
                links: self.history.links_after(entry.place, &before.links),
                tombstone: before.tombstone,
            })
        });
        let life = past.as_ref().filter(|past| !past.tombstone);
        let (create, version) = match (written, life) {
            (None, _) => (batch.main, 0),
            (Some(_), None) => (batch.main, 1),
            (Some(_), Some(past)) => (past.create, past.version + 1),
        };
        let (value, lease) = written.unwrap_or_default();
        self.leases
            .moved(key, life.map_or(0, |past| past.lease), lease);
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
            size: 0,
        };
        let (place, size) = self.history.push(&version);
        self.live_bytes -= life.map_or(0, |past| past.size);
        self.live_bytes += if written.is_some() { size as u64 } else { 0 };
        self.index.put(
            key,
            Entry {
                place,
                tombstone: written.is_none(),
            },
        );
        batch.written += 1;
    }

    /// The newest pair of a live key.
    fn newest(&self, key: &[u8]) -> Option<KeyValue> {
        let entry = self.index.get(key).filter(|entry| !entry.tombstone)?;
        self.history.key_value(entry.place)
    }

    /// Reads a range at the present or an older revision.
    pub fn range(&self, range: &Range) -> Result<RangeReply, Error> {
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

    /// Bytes of all records in 4 KiB pages (etcd's dbSize), the same on every member after the
    /// same log.
    pub fn size_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.history.bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Bytes in use by live keys.
    pub fn size_in_use_bytes(&self) -> u64 {
        EMPTY_BYTES + (self.live_bytes + self.lease_bytes()).next_multiple_of(PAGE_BYTES)
    }

    fn lease_bytes(&self) -> u64 {
        self.leases.len() as u64 * LEASE_BYTES
    }
}
