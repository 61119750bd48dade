//! The operations on the v2 tree. The log stores them, so field numbers never change. Paths are cleaned and absolute.
//! `expires_ns` is a Unix time in nanoseconds that the receiving member computed; `None` means no expiration.

#![expect(missing_docs, reason = "each payload type has a description")]

use bytes::Bytes;

use super::NODE_BYTES;

/// A v2 command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TreeCommand {
    /// The operation.
    #[prost(oneof = "TreeOperation", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub operation: Option<TreeOperation>,
}

impl TreeCommand {
    /// Estimates the number of bytes that the command adds, without missing directories. Deletions and refreshes add nothing.
    pub fn growth(&self) -> u64 {
        let of = |path: &Bytes, value: &Bytes| NODE_BYTES + (path.len() + value.len()) as u64;
        match &self.operation {
            Some(TreeOperation::Set(set)) if !set.refresh => of(&set.path, &set.value),
            Some(TreeOperation::Create(create)) => of(&create.path, &create.value),
            Some(TreeOperation::Update(update)) if !update.refresh => {
                of(&update.path, &update.value)
            }
            Some(TreeOperation::CompareAndSwap(swap)) if !swap.refresh => {
                of(&swap.path, &swap.value)
            }
            Some(
                TreeOperation::Set(_)
                | TreeOperation::Update(_)
                | TreeOperation::CompareAndSwap(_)
                | TreeOperation::CompareAndDelete(_)
                | TreeOperation::Delete(_)
                | TreeOperation::Expire(_),
            )
            | None => 0,
        }
    }
}

/// A write operation.
#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(missing_docs, reason = "each payload type has a description")]
pub enum TreeOperation {
    #[prost(message, tag = "1")]
    Set(Set),
    #[prost(message, tag = "2")]
    Create(Create),
    #[prost(message, tag = "3")]
    Update(Update),
    #[prost(message, tag = "4")]
    CompareAndSwap(CompareAndSwap),
    #[prost(message, tag = "5")]
    CompareAndDelete(CompareAndDelete),
    #[prost(message, tag = "6")]
    Delete(Delete),
    #[prost(message, tag = "7")]
    Expire(ExpireNodes),
}

/// An HTTP method that writes v2 keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMethod {
    /// Set, update or compare and swap.
    Put,
    /// Create in order.
    Post,
    /// Delete, or compare and delete.
    Delete,
}

impl TreeOperation {
    /// Chooses the operation for a request as etcd does. `prev_exist` is the request's `prevExist`. The tuple contains the
    /// request's `dir` and `recursive`. `asked` contains all values in the request, including values that the operation
    /// ignores.
    pub fn choose(
        method: WriteMethod,
        prev_exist: Option<bool>,
        (dir, recursive): (bool, bool),
        asked: CompareAndSwap,
    ) -> Self {
        let conditional = asked.prev_value.is_some() || asked.prev_index.is_some();
        let CompareAndSwap { path, value, expires_ns, refresh, prev_value, prev_index } = asked;
        match (method, prev_exist) {
            (WriteMethod::Delete, _) if conditional => {
                Self::CompareAndDelete(CompareAndDelete { path, prev_value, prev_index })
            }
            (WriteMethod::Delete, _) => Self::Delete(Delete { path, dir, recursive }),
            (WriteMethod::Post, _) | (WriteMethod::Put, Some(false)) => {
                let in_order = method == WriteMethod::Post;
                Self::Create(Create { path, value, dir, expires_ns, in_order })
            }
            (WriteMethod::Put, _) if conditional => Self::CompareAndSwap(CompareAndSwap {
                path,
                value,
                expires_ns,
                refresh,
                prev_value,
                prev_index,
            }),
            (WriteMethod::Put, Some(true)) => {
                Self::Update(Update { path, value, expires_ns, refresh })
            }
            (WriteMethod::Put, None) => Self::Set(Set { path, value, dir, expires_ns, refresh }),
        }
    }
}

/// Replaces a file or creates a node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Set {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(bool, tag = "3")]
    pub dir: bool,
    #[prost(sint64, optional, tag = "4")]
    pub expires_ns: Option<i64>,
    /// Whether to keep the value without notifying watchers. The node must exist.
    #[prost(bool, tag = "5")]
    pub refresh: bool,
}

/// Creates a node that must not exist. With `in_order`, the node is a child of `path` whose name is the new index.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Create {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(bool, tag = "3")]
    pub dir: bool,
    #[prost(sint64, optional, tag = "4")]
    pub expires_ns: Option<i64>,
    #[prost(bool, tag = "5")]
    pub in_order: bool,
}

/// Changes an existing node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Update {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(sint64, optional, tag = "4")]
    pub expires_ns: Option<i64>,
    #[prost(bool, tag = "5")]
    pub refresh: bool,
}

/// Changes a file if its conditions hold. An absent condition always holds. At least one condition is present.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CompareAndSwap {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(sint64, optional, tag = "4")]
    pub expires_ns: Option<i64>,
    #[prost(bool, tag = "5")]
    pub refresh: bool,
    /// The required value. Never empty if present.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub prev_value: Option<Bytes>,
    /// The required modified index. Never 0 if present.
    #[prost(uint64, optional, tag = "7")]
    pub prev_index: Option<u64>,
}

/// Deletes a file if its conditions hold, as in [`CompareAndSwap`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CompareAndDelete {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub prev_value: Option<Bytes>,
    #[prost(uint64, optional, tag = "7")]
    pub prev_index: Option<u64>,
}

/// Deletes a file, an empty directory (`dir`) or an entire subtree (`recursive`, which implies `dir`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Delete {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(bool, tag = "3")]
    pub dir: bool,
    #[prost(bool, tag = "8")]
    pub recursive: bool,
}

/// Removes all nodes that expire at or before the time in the entry's stamp. The leader proposes this operation.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ExpireNodes {}
