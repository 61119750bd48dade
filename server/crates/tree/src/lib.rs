//! The v2 store, which v1 also uses: a tree of directories and files, and a history of events. The rules match etcd 2.2 to 3.5.
//!
//! Each operation has a file: `set`, `create`, `update`, `compare_and_swap`, `delete`, `expire`. `inode` contains the nodes,
//! `ttl` their expiration times, `history` the events, and `show` the responses. `request` has the operations, `cause` the
//! causes of errors, and `insert` what `set` and `create` share. `checkpoint` and `changes` write records, and `identity_arc`
//! finds shared parts. `import` builds a tree from another store. `size`, `work`, `counts`, `hash` and `limits` measure and
//! limit the tree. All data structures are persistent, so a clone takes O(1). The time of a command is an argument (I1, I9).
//!
//! `witan_machine` applies commands to the tree. The log, JSON and HTTP are in other crates.

mod cause;
mod changes;
mod checkpoint;
mod compare_and_swap;
mod counts;
mod create;
mod delete;
mod expire;
mod hash;
mod history;
mod identity_arc;
mod import;
mod inode;
mod insert;
pub mod limits;
mod request;
mod set;
mod show;
mod size;
mod ttl;
mod update;
mod work;

pub use cause::{Cause, Comparison};
pub use checkpoint::{COUNT_IMPORT_MAX, COUNT_MAX};
pub use counts::WriteCounts;
pub use import::ImportedNode;
pub use request::{
    CompareAndDelete, CompareAndSwap, Create, Delete, ExpireNodes, Set, TreeCommand, TreeOperation,
    Update, WriteMethod,
};
pub use size::NODE_BYTES;

use bytes::Bytes;

/// The action of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of etcd's JSON")]
pub enum Action {
    Get,
    Set,
    Create,
    Update,
    CompareAndSwap,
    CompareAndDelete,
    Delete,
    Expire,
}

impl Action {
    /// All actions in the order of the variants, with their names on the wire.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::Get, "get"),
        (Self::Set, "set"),
        (Self::Create, "create"),
        (Self::Update, "update"),
        (Self::CompareAndSwap, "compareAndSwap"),
        (Self::CompareAndDelete, "compareAndDelete"),
        (Self::Delete, "delete"),
        (Self::Expire, "expire"),
    ];

    /// Returns the name of the action on the wire.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

/// A node in response form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Full path with a leading `/`; empty for the root.
    pub path: Bytes,
    /// Value of a file; `None` for directories and deleted nodes.
    pub value: Option<Bytes>,
    /// Whether the node is a directory.
    pub dir: bool,
    /// Absolute expiration in Unix nanoseconds.
    pub expires_ns: Option<i64>,
    /// Remaining seconds at the time of the action, rounded up; responses omit 0.
    pub ttl: i64,
    /// Children sorted by path; `None` if the directory was not listed or has no visible children.
    pub nodes: Option<Vec<Node>>,
    /// Index of the node's last change.
    pub modified: u64,
    /// Index at which the node was created.
    pub created: u64,
}

/// A change to one node, as writers and watchers see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The action that changed the node.
    pub action: Action,
    /// The node after the change.
    pub node: Node,
    /// The node before the change, if it existed.
    pub prev: Option<Node>,
    /// The event's index (`X-Etcd-Index` of the response); for a read, the store's index.
    pub index: u64,
    /// Whether the change is a refresh, which watchers do not see.
    pub refresh: bool,
}

/// The result of a successful v2 command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeReply {
    /// The event of a write.
    Event(Box<Event>),
    /// The number of events of `ExpireNodes`; the removal of a directory with its subtree is one event.
    Expired(usize),
}

/// The reason why a v2 request failed without a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} at index {index}: {cause:?}")]
pub struct TreeError {
    /// The violated rule.
    pub kind: TreeErrorKind,
    /// The path, the failed comparison or a message; can be empty.
    pub cause: Cause,
    /// The store's index at the time of the error.
    pub index: u64,
}

/// The rule that a request violated, with its v2 error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeErrorKind {
    /// Error code 100. The cause is the first missing path.
    KeyNotFound,
    /// Error code 101. The cause is `[expected != actual]` for each failed condition.
    CompareFailed,
    /// Error code 102. The cause is the path; empty for the root.
    NotFile,
    /// Error code 104. The cause is the path of the file that should be a directory, or the limit on components that the path
    /// exceeds.
    NotDir,
    /// Error code 105. The cause is the path.
    NodeExists,
    /// Error code 107. The cause is `/`.
    RootReadOnly,
    /// Error code 108. The cause is the path.
    DirNotEmpty,
    /// Error code 401. The cause is `the requested history has been cleared [oldest/requested]`.
    HistoryCleared,
}

/// The events that a watcher requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Cleaned path; `/` for the root.
    pub path: Bytes,
    /// Whether the watch includes descendants.
    pub recursive: bool,
    /// The index at which the watcher was registered. In earlier events, the removal of a directory above `path` always
    /// matches, even if `path` did not exist.
    pub registered: u64,
}

/// Receives changed checkpoint records: a key and its value, or `None` for a deleted record.
pub type EmitRecord<'a> = dyn FnMut(Vec<u8>, Option<Vec<u8>>) + 'a;

/// A checkpoint record that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptTree {
    /// The contents are invalid.
    #[error("v2 tree: {0}")]
    Invalid(String),
    /// A later release wrote the record: this release does not know a part of it.
    #[error("v2 tree: {0}")]
    Later(String),
}

/// The v2 state. A clone takes O(1).
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Index of the store's last change.
    index: u64,
    root: inode::NodeRef,
    deadlines: ttl::TtlQueue,
    history: history::EventHistory,
    counts: WriteCounts,
    /// Size of all nodes in bytes; see `size`.
    nodes_bytes: u64,
    /// Size in bytes of removed and replaced nodes; not replicated.
    dropped_bytes: u64,
    /// Whether the record with `index` and `counts` was loaded.
    has_meta: bool,
}

impl Tree {
    /// Executes a committed command at the proposer's time `now_ns` (I2, I9). Counts the success or failure of a write. Returns
    /// `Expired(0)` for a command without an operation.
    pub fn apply(&mut self, command: &TreeCommand, now_ns: i64) -> Result<TreeReply, TreeError> {
        let Some(verb) = &command.operation else {
            return Ok(TreeReply::Expired(0));
        };
        let done = match verb {
            TreeOperation::Set(set) => self.set(set, now_ns),
            TreeOperation::Create(create) => self.create(create, now_ns),
            TreeOperation::Update(update) => self.update(update, now_ns),
            TreeOperation::CompareAndSwap(swap) => self.compare_and_swap(swap, now_ns),
            TreeOperation::CompareAndDelete(delete) => self.compare_and_delete(delete, now_ns),
            TreeOperation::Delete(delete) => self.delete(delete, now_ns),
            TreeOperation::Expire(_) => return Ok(TreeReply::Expired(self.expire(now_ns))),
        };
        self.counts.count(verb, done.is_ok());
        done.map(|event| TreeReply::Event(Box::new(event)))
    }

    /// Advances the index for a change to cluster data (members, version). As in etcd, evicts the event whose index is then
    /// [`limits::TREE_HISTORY_EVENTS`] lower, if there is such an event.
    pub fn advance_index(&mut self) {
        self.take_index();
    }

    /// Returns the store's index (`X-Etcd-Index`).
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the earliest expiration of all nodes in Unix nanoseconds. Returns `None` if no node expires.
    pub fn next_expiration_ns(&self) -> Option<i64> {
        self.deadlines.first().map(|(expires_ns, _)| *expires_ns)
    }

    /// Returns the write counters.
    pub fn counts(&self) -> WriteCounts {
        self.counts
    }

    /// Returns the same tree with all write counters set to 0.
    #[must_use]
    pub fn without_counts(&self) -> Self {
        Self { counts: WriteCounts::default(), ..self.clone() }
    }

    /// Advances the index and evicts the event, if any, that the new index displaces from the history. Returns the new index.
    fn take_index(&mut self) -> u64 {
        self.index += 1;
        self.history.advance(self.index);
        self.index
    }

    /// Creates the event of a change at the current index. Adds it to the history unless it is a refresh.
    fn record_event(
        &mut self,
        action: Action,
        node: Node,
        prev: Option<Node>,
        refresh: bool,
    ) -> Event {
        let event = Event { action, node, prev, index: self.index, refresh };
        if !refresh {
            self.history.push(event.clone(), None);
        }
        event
    }

    /// Creates an error with the current index.
    fn error(&self, kind: TreeErrorKind, cause: impl Into<Cause>) -> TreeError {
        TreeError { kind, cause: cause.into(), index: self.index }
    }

    /// Converts the error of a lookup to an error with the current index.
    fn lookup_failed(&self, miss: inode::LookupError) -> TreeError {
        self.error(miss.kind, miss.cause)
    }

    /// Fails if a cleaned path is the root, which is read-only.
    fn refuse_root(&self, path: &Bytes) -> Result<(), TreeError> {
        if path == "/" {
            return Err(self.error(TreeErrorKind::RootReadOnly, path.clone()));
        }
        Ok(())
    }
}

/// Copies bytes, because a slice would keep the entire request buffer in memory.
fn copy_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
