//! The operations on the v3 key space. They are stored in the log, so field numbers never change.

use bytes::Bytes;

use crate::lease::LeaseId;

/// A v3 command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KvCommand {
    /// The operation.
    #[prost(oneof = "KvOperation", tags = "1, 2, 3, 4, 5")]
    pub operation: Option<KvOperation>,
}

impl KvCommand {
    /// Whether the read limits apply: `false` for an entry of a release without limits and for a command that
    /// reads one pair at most.
    pub(super) fn bounded(&self) -> bool {
        match &self.operation {
            Some(KvOperation::Delete(delete)) => delete.bounded,
            Some(KvOperation::Txn(txn)) => txn.bounded,
            // They read one pair at most.
            Some(KvOperation::Put(_) | KvOperation::Compact(_) | KvOperation::Sweep(_)) | None => {
                false
            }
        }
    }
}

/// The operations that write or may write.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum KvOperation {
    /// Put one key.
    #[prost(message, tag = "1")]
    Put(Put),
    /// Delete a key or a range.
    #[prost(message, tag = "2")]
    Delete(DeleteRange),
    /// Compare, then one of two branches.
    #[prost(message, tag = "3")]
    Txn(Txn),
    /// Forget superseded revisions.
    #[prost(message, tag = "4")]
    Compact(Compact),
    /// Free space of the last compaction.
    #[prost(message, tag = "5")]
    Sweep(Sweep),
}

impl KvOperation {
    /// Whether it is a put that is `wanted`, or a transaction with one in any branch.
    pub(crate) fn has_put(&self, wanted: &dyn Fn(&Put) -> bool) -> bool {
        self.sum_puts(&|put| u64::from(wanted(put))) > 0
    }

    /// Sums what `of` says of each put. A transaction counts as the larger of its branches does, whichever will
    /// be executed.
    pub(crate) fn sum_puts(&self, of: &dyn Fn(&Put) -> u64) -> u64 {
        match self {
            Self::Put(put) => of(put),
            Self::Txn(txn) => txn.sum_puts(of),
            Self::Delete(_) | Self::Compact(_) | Self::Sweep(_) => 0,
        }
    }
}

/// Put one key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Put {
    /// Not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Lease to attach, 0 to detach.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Return the pair before.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the current value; the key must exist.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
    /// The most bytes of a value that it keeps. Entries of releases without this limit lack the field.
    #[prost(uint64, optional, tag = "7")]
    pub kept_bytes_max: Option<u64>,
}

impl Put {
    /// The lease to attach.
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.lease)
    }
}

/// Delete `[key, range_end)`; the meaning of the end is as in [`Range`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeleteRange {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Return the pairs before.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
    /// As [`Txn::bounded`]; ignored inside a transaction.
    #[prost(bool, tag = "4")]
    pub bounded: bool,
}

impl DeleteRange {
    /// Whether it deletes a range, not a single key, and returns the pairs.
    pub fn reads_span(&self) -> bool {
        self.prev_kv && !self.range_end.is_empty()
    }
}

/// Read `[key, range_end)`: an empty end means the one key, `\0` means all keys from `key` on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Range {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Maximum number of pairs; 0 for all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// Revision to read at; 0 or less for the present one.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Direction.
    #[prost(enumeration = "SortOrder", tag = "5")]
    pub sort_order: i32,
    /// Field to sort by.
    #[prost(enumeration = "SortTarget", tag = "6")]
    pub sort_target: i32,
    /// Leave the values out.
    #[prost(bool, tag = "7")]
    pub keys_only: bool,
    /// Leave the pairs out.
    #[prost(bool, tag = "8")]
    pub count_only: bool,
    /// Filters on the pairs, 0 for none; applied before the limit.
    #[prost(int64, tag = "9")]
    pub min_mod_revision: i64,
    /// See `min_mod_revision`.
    #[prost(int64, tag = "10")]
    pub max_mod_revision: i64,
    /// See `min_mod_revision`.
    #[prost(int64, tag = "11")]
    pub min_create_revision: i64,
    /// See `min_mod_revision`.
    #[prost(int64, tag = "12")]
    pub max_create_revision: i64,
}

/// As etcd's `RangeRequest.SortOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum SortOrder {
    None = 0,
    Ascend = 1,
    Descend = 2,
}

/// As etcd's `RangeRequest.SortTarget`.
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

/// All comparisons true: `success`, else `failure`. One revision for the whole.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Txn {
    /// Conditions.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// Done when all conditions hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<TxnOp>,
    /// Done otherwise.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<TxnOp>,
    /// Whether the read limits apply; only that of the outermost transaction counts. Entries of
    /// releases without limits lack the field and are executed without limits.
    #[prost(bool, tag = "4")]
    pub bounded: bool,
}

impl Range {
    /// Whether it sorts by value. Long values that begin alike take longer to compare than many keys to read.
    pub(super) fn compares_values(&self) -> bool {
        let sorts = self.sort_target() == SortTarget::Value && !self.count_only;
        sorts && !self.range_end.is_empty()
    }

    /// Whether it reads several keys at a revision before the `newest`: the versions of each are followed back.
    pub(super) fn reads_history(&self, newest: i64) -> bool {
        self.revision > 0 && self.revision < newest && !self.range_end.is_empty()
    }
}

impl Txn {
    /// Whether any branch reads a range of keys rather than single keys.
    pub fn reads_spans(&self) -> bool {
        self.comparisons()
            .any(|compare| !compare.range_end.is_empty())
            || self.operations().any(|operation| match operation {
                TxnOpKind::Range(range) => !range.range_end.is_empty(),
                TxnOpKind::Delete(delete) => delete.reads_span(),
                TxnOpKind::Txn(_) | TxnOpKind::Put(_) => false,
            })
    }

    /// Whether it compares or sorts the values of several keys in any branch, or one nested in it does.
    pub fn compares_values(&self) -> bool {
        self.comparisons().any(Compare::compares_values)
            || self.ranges().any(Range::compares_values)
    }

    /// Whether a range in any branch reads several keys at a revision before the `newest`.
    pub(super) fn reads_history(&self, newest: i64) -> bool {
        self.ranges().any(|range| range.reads_history(newest))
    }

    /// The ranges in all branches.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.operations().filter_map(|operation| match operation {
            TxnOpKind::Range(range) => Some(range),
            TxnOpKind::Delete(_) | TxnOpKind::Txn(_) | TxnOpKind::Put(_) => None,
        })
    }

    /// The comparisons of the transaction and of those nested in it, in no particular order.
    pub(crate) fn comparisons(&self) -> impl Iterator<Item = &Compare> {
        self.all().flat_map(|txn| &txn.compare)
    }

    /// The operations in both branches of the transaction and of those nested in it, in no particular order.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &TxnOpKind> {
        self.all().flat_map(Txn::branches)
    }

    /// The operations in both branches, without those of nested transactions.
    fn branches(&self) -> impl Iterator<Item = &TxnOpKind> {
        let operations = self.success.iter().chain(&self.failure);
        operations.filter_map(|operation| operation.kind.as_ref())
    }

    /// The transaction and those nested in it. Only nested ones take memory: each write asks several times.
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

    /// See [`KvOperation::sum_puts`].
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

/// One operation of a transaction's branch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnOp {
    /// The operation.
    #[prost(oneof = "TxnOpKind", tags = "1, 2, 3, 4")]
    pub kind: Option<TxnOpKind>,
}

/// The operations a branch can hold.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TxnOpKind {
    /// Read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// Write.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Delete.
    #[prost(message, tag = "3")]
    Delete(DeleteRange),
    /// A transaction inside.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// One condition, over one key or (with `range_end`) over all existing keys of a range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compare {
    /// Relation.
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// Field to compare. If the kind of `value` differs from it, `value` counts as zero.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// First key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "4")]
    pub range_end: Bytes,
    /// Value to compare with.
    #[prost(oneof = "TargetValue", tags = "5, 6, 7, 8, 9")]
    pub value: Option<TargetValue>,
}

impl Compare {
    /// Whether it compares the values of several keys.
    pub(super) fn compares_values(&self) -> bool {
        self.target() == CompareTarget::Value && !self.range_end.is_empty()
    }
}

/// As etcd's `Compare.CompareResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum CompareResult {
    Equal = 0,
    Greater = 1,
    Less = 2,
    NotEqual = 3,
}

/// As etcd's `Compare.CompareTarget`.
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

/// Drop every version that a later one at or below `revision` supersedes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Compact {
    /// The revision.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Continue the sweep of the last compaction (see `compact`).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Sweep {}
