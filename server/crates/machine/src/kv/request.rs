//! The operations on the v3 key space. The log stores them, so field numbers never change.

use bytes::Bytes;

use crate::{lease::LeaseId, revision::Revision};

/// A v3 command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KvCommand {
    /// The operation.
    #[prost(oneof = "KvOperation", tags = "1, 2, 3, 4, 5")]
    pub operation: Option<KvOperation>,
}

impl KvCommand {
    /// Returns whether the read limits apply. Entries of older releases and commands that read at most one pair have no limits.
    pub(super) fn bounded(&self) -> bool {
        match &self.operation {
            Some(KvOperation::Delete(delete)) => delete.bounded,
            Some(KvOperation::Txn(txn)) => txn.bounded,
            Some(KvOperation::Put(_) | KvOperation::Compact(_) | KvOperation::Sweep(_)) | None => {
                false
            }
        }
    }
}

/// An operation that can write.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum KvOperation {
    /// Puts one key.
    #[prost(message, tag = "1")]
    Put(Put),
    /// Deletes a key or a range.
    #[prost(message, tag = "2")]
    Delete(DeleteRange),
    /// Executes one of two branches, depending on comparisons.
    #[prost(message, tag = "3")]
    Txn(Txn),
    /// Drops superseded versions.
    #[prost(message, tag = "4")]
    Compact(Compact),
    /// Continues the sweep of the last compaction.
    #[prost(message, tag = "5")]
    Sweep(Sweep),
}

impl KvOperation {
    /// Returns whether the operation is a put for which `wanted` returns true, or a transaction with such a put in any branch.
    pub(crate) fn has_put(&self, wanted: &dyn Fn(&Put) -> bool) -> bool {
        self.sum_puts(&|put| u64::from(wanted(put))) > 0
    }

    /// Sums the results of `of` over all puts. For a transaction, returns the larger of the sums of both branches, executed or
    /// not.
    pub(crate) fn sum_puts(&self, of: &dyn Fn(&Put) -> u64) -> u64 {
        match self {
            Self::Put(put) => of(put),
            Self::Txn(txn) => txn.sum_puts(of),
            Self::Delete(_) | Self::Compact(_) | Self::Sweep(_) => 0,
        }
    }
}

/// Puts one key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Put {
    /// The key; not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The lease to attach; 0 detaches the current lease.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Whether to return the previous pair.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Whether to keep the current value; the key must exist.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Whether to keep the current lease; the key must exist.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
    /// Maximum length in bytes of the value that the put keeps. Entries of releases without this limit lack the field.
    #[prost(uint64, optional, tag = "7")]
    pub kept_bytes_max: Option<u64>,
}

impl Put {
    /// Returns the lease to attach.
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.lease)
    }
}

/// Deletes `[key, range_end)`; the end has the same meaning as in [`Range`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeleteRange {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Whether to return the previous pairs.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
    /// See [`Txn::bounded`]. Ignored inside a transaction.
    #[prost(bool, tag = "4")]
    pub bounded: bool,
}

impl DeleteRange {
    /// Returns whether the deletion returns the pairs of an entire range.
    pub fn reads_span(&self) -> bool {
        self.prev_kv && !self.range_end.is_empty()
    }
}

/// Reads `[key, range_end)`. An empty end means a single key, and `\0` means all keys at or above `key`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Range {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Maximum number of pairs; 0 for all pairs.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// Revision to read at; 0 or less for the current revision.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// The direction of the sort order.
    #[prost(enumeration = "SortOrder", tag = "5")]
    pub sort_order: i32,
    /// Field to sort by.
    #[prost(enumeration = "SortTarget", tag = "6")]
    pub sort_target: i32,
    /// Whether to omit the values.
    #[prost(bool, tag = "7")]
    pub keys_only: bool,
    /// Whether to omit the pairs.
    #[prost(bool, tag = "8")]
    pub count_only: bool,
    /// Minimum mod revision of the pairs; 0 for no filter. Filters apply before the limit.
    #[prost(int64, tag = "9")]
    pub min_mod_revision: i64,
    /// Maximum mod revision of the pairs; 0 for no filter.
    #[prost(int64, tag = "10")]
    pub max_mod_revision: i64,
    /// Minimum create revision of the pairs; 0 for no filter.
    #[prost(int64, tag = "11")]
    pub min_create_revision: i64,
    /// Maximum create revision of the pairs; 0 for no filter.
    #[prost(int64, tag = "12")]
    pub max_create_revision: i64,
}

/// etcd's `RangeRequest.SortOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum SortOrder {
    None = 0,
    Ascend = 1,
    Descend = 2,
}

/// etcd's `RangeRequest.SortTarget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum SortTarget {
    Key = 0,
    Version = 1,
    Create = 2,
    Mod = 3,
    Value = 4,
}

/// Executes `success` if all comparisons hold, and `failure` otherwise, at one revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Txn {
    /// The conditions.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// The operations to execute if all conditions hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<TxnOp>,
    /// The operations to execute otherwise.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<TxnOp>,
    /// Whether the read limits apply. Entries of older releases lack the field. Ignored in a nested transaction.
    #[prost(bool, tag = "4")]
    pub bounded: bool,
}

impl Range {
    /// Returns whether the range sorts by value, which takes longer than reading many keys if long values have common prefixes.
    pub(super) fn compares_values(&self) -> bool {
        let sorts = self.sort_target() == SortTarget::Value && !self.count_only;
        sorts && !self.range_end.is_empty()
    }

    /// Returns whether the range reads several keys at a revision before `newest`, and so follows each key's versions back.
    pub(super) fn reads_history(&self, newest: Revision) -> bool {
        self.revision > 0 && self.revision < newest.0 && !self.range_end.is_empty()
    }
}

impl Txn {
    /// Returns whether a comparison or any branch reads a range of keys rather than single keys.
    pub fn reads_spans(&self) -> bool {
        self.comparisons()
            .any(|compare| !compare.range_end.is_empty())
            || self.operations().any(|operation| match operation {
                TxnOpKind::Range(range) => !range.range_end.is_empty(),
                TxnOpKind::Delete(delete) => delete.reads_span(),
                TxnOpKind::Txn(_) | TxnOpKind::Put(_) => false,
            })
    }

    /// Returns whether any branch, including the branches of nested transactions, compares or sorts the values of several keys.
    pub fn compares_values(&self) -> bool {
        self.comparisons().any(Compare::compares_values)
            || self.ranges().any(Range::compares_values)
    }

    /// Returns whether a range in any branch reads several keys at a revision before `newest`.
    pub(super) fn reads_history(&self, newest: Revision) -> bool {
        self.ranges().any(|range| range.reads_history(newest))
    }

    /// Iterates over the ranges of all branches, including nested transactions.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.operations().filter_map(|operation| match operation {
            TxnOpKind::Range(range) => Some(range),
            TxnOpKind::Delete(_) | TxnOpKind::Txn(_) | TxnOpKind::Put(_) => None,
        })
    }

    /// Returns the comparisons of this transaction and of nested transactions, in no particular order.
    pub(crate) fn comparisons(&self) -> impl Iterator<Item = &Compare> {
        self.all().flat_map(|txn| &txn.compare)
    }

    /// Returns the operations in both branches of this transaction and of nested transactions, in no particular order.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &TxnOpKind> {
        self.all().flat_map(Txn::branches)
    }

    /// Returns the operations in both branches, without the operations of nested transactions.
    fn branches(&self) -> impl Iterator<Item = &TxnOpKind> {
        let operations = self.success.iter().chain(&self.failure);
        operations.filter_map(|operation| operation.kind.as_ref())
    }

    /// Iterates over this transaction and its nested transactions. Each write calls this method often, so the method allocates
    /// only for nested transactions.
    fn all(&self) -> impl Iterator<Item = &Txn> {
        let (mut outermost, mut left) = (Some(self), Vec::new());
        std::iter::from_fn(move || {
            let txn = outermost.take().or_else(|| left.pop())?;
            left.extend(txn.branches().filter_map(|operation| match operation {
                TxnOpKind::Txn(nested) => Some(nested),
                TxnOpKind::Range(_) | TxnOpKind::Put(_) | TxnOpKind::Delete(_) => None,
            }));
            Some(txn)
        })
    }

    /// Sums the results of `of` over all puts like [`KvOperation::sum_puts`].
    fn sum_puts(&self, of: &dyn Fn(&Put) -> u64) -> u64 {
        let branches = [&self.success, &self.failure].map(|branch| {
            let puts = branch.iter().map(|operation| match &operation.kind {
                Some(TxnOpKind::Put(put)) => of(put),
                Some(TxnOpKind::Txn(nested)) => nested.sum_puts(of),
                Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => 0,
            });
            puts.sum::<u64>()
        });
        branches[0].max(branches[1])
    }
}

/// One operation in a transaction's branch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnOp {
    /// The operation.
    #[prost(oneof = "TxnOpKind", tags = "1, 2, 3, 4")]
    pub kind: Option<TxnOpKind>,
}

/// The operations that a branch can contain.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TxnOpKind {
    /// A read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// A put.
    #[prost(message, tag = "2")]
    Put(Put),
    /// A deletion.
    #[prost(message, tag = "3")]
    Delete(DeleteRange),
    /// A nested transaction.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// A condition on one key or, with `range_end`, on all existing keys in a range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compare {
    /// The relation that must hold.
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// The field to compare. A `value` of another kind is treated as 0 or as an empty value.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// First key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "4")]
    pub range_end: Bytes,
    /// The value to compare with.
    #[prost(oneof = "TargetValue", tags = "5, 6, 7, 8, 9")]
    pub value: Option<TargetValue>,
}

impl Compare {
    /// Returns whether the condition compares the values of several keys.
    pub(super) fn compares_values(&self) -> bool {
        self.target() == CompareTarget::Value && !self.range_end.is_empty()
    }
}

/// etcd's `Compare.CompareResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum CompareResult {
    Equal = 0,
    Greater = 1,
    Less = 2,
    NotEqual = 3,
}

/// etcd's `Compare.CompareTarget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum CompareTarget {
    Version = 0,
    Create = 1,
    Mod = 2,
    Value = 3,
    Lease = 4,
}

/// The right-hand side of a comparison.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum TargetValue {
    #[prost(int64, tag = "5")]
    Version(i64),
    #[prost(int64, tag = "6")]
    Create(i64),
    #[prost(int64, tag = "7")]
    Mod(i64),
    #[prost(bytes = "bytes", tag = "8")]
    Value(Bytes),
    #[prost(int64, tag = "9")]
    Lease(i64),
}

/// Drops every version that a later version at or below `revision` supersedes, and every deletion below `revision`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Compact {
    /// The revision.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Continues the sweep of the last compaction (see `compact`).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Sweep {}
