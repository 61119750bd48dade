//! Random requests with few keys and small numbers, so that requests affect each other.

use witan_api::v3::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, compare::TargetUnion, request_op::Request,
};
use witan_e2e::requests::{delete, op, put, range};

use super::{
    Era, side,
    step::{self, Now},
};
use crate::rng::Rng;

/// The keys. If etcd sorts more than 12 items, the order of equal items is undefined.
const KEYS: &[&[u8]] = &[
    b"a",
    b"aa",
    b"ab",
    b"b",
    b"ba",
    b"c",
    b"c\0",
    b"d",
    b"\0",
    b"\xff",
    b"\xff\xef",
    b"\xff\xff",
];
/// Number of keys in a sequence with many keys.
const MANY: usize = 300;
/// Maximum number of operations in a list of a transaction.
pub(crate) const OPS_MAX: usize = 128;
/// Revisions are drawn near this number. [`refer`] replaces them with references relative to it, such as `@+1`.
pub(crate) const REVISION: i64 = 7_000_000_000_000_000;
pub(crate) const COMPACTED: i64 = 8_000_000_000_000_000;
const NEAR: i64 = 1000;

pub(crate) struct Draw<'a> {
    rng: &'a mut Rng,
    /// Whether there are many keys. Requests then sort only by key.
    many: bool,
    pub(crate) era: Era,
    /// Whether puts of this transaction keep the previous value or lease. The transaction then does not delete "from a key on".
    /// etcd does not detect that such a deletion overlaps a put. It panics at the put of a missing key.
    keeps: bool,
}

/// A random request.
#[derive(Clone, Debug)]
pub(crate) enum Drawn {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
}

impl Drawn {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Range(_) => "range",
            Self::Delete(_) => "delete",
            Self::Txn(_) => "txn",
            Self::Compact(_) => "compact",
        }
    }

    /// Returns whether the request can create a key.
    pub(crate) fn puts(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Txn(_))
    }

    /// Returns the request as JSON. Revisions are still numbers near [`REVISION`].
    pub(crate) fn json(&self) -> serde_json::Value {
        let value = match self {
            Self::Put(message) => serde_json::to_value(message),
            Self::Range(message) => serde_json::to_value(message),
            Self::Delete(message) => serde_json::to_value(message),
            Self::Txn(message) => serde_json::to_value(message),
            Self::Compact(message) => serde_json::to_value(message),
        };
        value.expect("messages are always JSON")
    }
}

/// Replaces drawn revisions with references.
pub(crate) fn refer(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = after.split_at(end.unwrap_or(after.len()));
        let number: i64 = digits.parse().unwrap_or(0);
        let reference = [(REVISION, "@"), (COMPACTED, "@c")]
            .into_iter()
            .find(|(base, _)| (number - base).abs() <= NEAR);
        match reference {
            Some((base, sign)) if number == base => out.push_str(sign),
            Some((base, sign)) => out.push_str(&format!("{sign}{:+}", number - base)),
            None => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl<'a> Draw<'a> {
    pub(crate) fn new(rng: &'a mut Rng, many: bool, era: Era) -> Self {
        Self { rng, many, era, keeps: false }
    }

    pub(crate) fn any(&mut self) -> Drawn {
        match self.rng.index(&[25, 30, 8, 34, 3]) {
            0 => Drawn::Put(self.put(10)),
            1 => Drawn::Range(self.faulty_range()),
            2 => Drawn::Delete(self.delete(8)),
            3 => Drawn::Txn(self.txn()),
            _ => Drawn::Compact(self.compact()),
        }
    }

    /// Returns the random generator.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Draws a request and its message, with small numbers as revisions.
    pub(crate) fn message(&mut self) -> (Drawn, Vec<u8>) {
        let drawn = self.any();
        let early = Now { revision: 5, compacted: 2 };
        let text = step::fill(&refer(&drawn.json().to_string()), early);
        let message = side::message(drawn.verb(), &text).unwrap_or_default();
        (drawn, message.into())
    }

    /// Draws a key, which is empty with a probability of `empty` percent.
    fn key(&mut self, empty: u64) -> Vec<u8> {
        if self.rng.chance(empty) {
            Vec::new()
        } else if self.many && !self.rng.chance(10) {
            format!("m/{:03}", self.rng.below(MANY)).into_bytes()
        } else {
            self.rng.pick(KEYS).to_vec()
        }
    }

    fn range_end(&mut self, key: &[u8]) -> Vec<u8> {
        match self.rng.index(&[45, 12, 15, 26, 2]) {
            0 => Vec::new(),
            1 => b"\0".to_vec(),
            2 => prefix_end(key),
            3 => self.key(0),
            _ => key.to_vec(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let values: &[&[u8]] = &[b"", b"1", b"2", b"x", b"\0\xff\xfe", b"a longer value"];
        match self.rng.chance(3) {
            true => vec![b'y'; self.rng.below(3000)],
            false => self.rng.pick(values).to_vec(),
        }
    }

    /// Draws a revision to read at.
    fn revision(&mut self) -> i64 {
        let back = self.rng.below(9) as i64;
        match self.rng.index(&[24, 4, 5, 3, 1, 1]) {
            0 => REVISION - back,
            1 => REVISION + 1 + back % 2,
            2 => COMPACTED - 1 + back % 3,
            3 => -1 - back,
            4 => 1,
            _ => i64::MAX,
        }
    }

    /// Draws a revision to compare with.
    fn bound(&mut self) -> i64 {
        let back = self.rng.below(16) as i64;
        match self.rng.index(&[20, 3, 1]) {
            0 => REVISION - back,
            1 => back,
            _ => -back,
        }
    }

    pub(crate) fn put(&mut self, empty: u64) -> PutRequest {
        let ignore_value = self.rng.chance(15);
        let ignore_lease = self.rng.chance(15);
        PutRequest {
            key: self.key(empty).into(),
            value: match ignore_value && self.rng.chance(80) {
                true => Vec::new().into(),
                false => self.value().into(),
            },
            lease: match self.rng.chance(10) {
                true => *self.rng.pick(&[7, -1, i64::MAX]),
                false => 0,
            },
            prev_kv: self.rng.chance(30),
            ignore_value,
            ignore_lease,
        }
    }

    /// Draws a range that is often refused, for any reason and with any options.
    fn faulty_range(&mut self) -> RangeRequest {
        let mut range = self.range(0);
        match self.rng.index(&[64, 9, 9, 9, 9]) {
            0 => {}
            1 => range.key = Vec::new().into(),
            // etcd 3.4 panics at an unknown target.
            2 if self.era == Era::Former || self.rng.chance(50) => {
                range.sort_order = *self.rng.pick(&[3, 7, -1]);
            }
            2 => range.sort_target = *self.rng.pick(&[5, 7, -1]),
            3 => range.revision = REVISION + 1 + self.rng.below(2) as i64,
            // Before the first compaction, there is no revision below 1.
            _ => range.revision = COMPACTED - 1 - self.rng.below(2) as i64,
        }
        range
    }

    pub(crate) fn range(&mut self, empty: u64) -> RangeRequest {
        let key = self.key(empty);
        let range_end = self.range_end(&key);
        let mut range = RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            serializable: self.rng.chance(30),
            keys_only: self.rng.chance(20),
            count_only: self.rng.chance(12),
            ..Default::default()
        };
        if self.rng.chance(40) {
            range.limit = *self.rng.pick(&[1, 1, 2, 3, 5, 100, -1]);
        }
        if self.rng.chance(30) {
            range.revision = self.revision();
        }
        if self.rng.chance(40) {
            range.sort_order = self.rng.below(3) as i32;
            if !self.many {
                range.sort_target = self.rng.below(5) as i32;
            }
        }
        if empty > 0 && self.era == Era::Present && self.rng.chance(3) {
            range.sort_target = 5;
        }
        for filter in [
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ] {
            if self.rng.chance(15) {
                *filter = match self.rng.chance(90) {
                    true => REVISION - self.rng.below(20) as i64,
                    false => *self.rng.pick(&[1, 5, -3]),
                };
            }
        }
        range
    }

    pub(crate) fn delete(&mut self, empty: u64) -> DeleteRangeRequest {
        let key = self.key(empty);
        DeleteRangeRequest {
            // Rarely cover all keys.
            range_end: match self.rng.chance(50) {
                true => Vec::new().into(),
                false => self.range_end(&key).into(),
            },
            key: key.into(),
            prev_kv: self.rng.chance(40),
        }
    }

    fn compact(&mut self) -> CompactionRequest {
        let back = self.rng.below(12) as i64;
        let revision = match self.rng.index(&[12, 2, 3, 1, 1]) {
            0 => REVISION - back,
            1 => REVISION + 1 + back,
            2 => COMPACTED - 1 + back % 3,
            3 => 0,
            _ => -1 - back,
        };
        CompactionRequest { revision, physical: self.rng.chance(50) }
    }

    pub(crate) fn txn(&mut self) -> TxnRequest {
        if self.rng.chance(3) {
            return self.long_txn();
        }
        if self.rng.chance(35) {
            return self.question();
        }
        self.keeps = self.rng.chance(70);
        let depth = self.rng.index(&[70, 20, 7, 3]);
        self.nested(depth)
    }

    fn nested(&mut self, depth: usize) -> TxnRequest {
        let compares = self.rng.index(&[15, 65, 15, 5]);
        let compare = (0..compares).map(|_| self.compare()).collect();
        let mut lists = [(); 2].map(|()| {
            let count = self.rng.weighted(&[(20, 0), (40, 1), (25, 2), (15, 4)]);
            (0..count).map(|_| self.op()).collect::<Vec<_>>()
        });
        if depth > 0 {
            let inner = Request::RequestTxn(self.nested(depth - 1));
            let list = &mut lists[self.rng.below(2)];
            let at = self.rng.below(list.len() + 1);
            list.insert(at, op(inner));
        }
        let [success, failure] = lists;
        TxnRequest { compare, success, failure }
    }

    /// Draws a transaction with a comparison and without another reason for a refusal.
    fn question(&mut self) -> TxnRequest {
        let mut compare = self.compare();
        if compare.key.is_empty() {
            compare.key = "a".into();
        }
        let mut read = self.range(0);
        read.revision = 0;
        TxnRequest {
            compare: vec![compare],
            success: vec![op(Request::RequestRange(read))],
            failure: Vec::new(),
        }
    }

    fn op(&mut self) -> RequestOp {
        match self.rng.index(&[100, 90, 50, 8, 1]) {
            0 => {
                let mut put = self.put(1);
                put.ignore_value &= self.keeps;
                put.ignore_lease &= self.keeps;
                op(Request::RequestPut(put))
            }
            1 => {
                let mut range = self.range(1);
                if self.era == Era::Former {
                    // etcd 3.4 ignores these orders, so the two states would diverge.
                    range.sort_order = range.sort_order.clamp(0, 2);
                    range.sort_target = range.sort_target.clamp(0, 4);
                }
                op(Request::RequestRange(range))
            }
            2 => {
                let mut delete = self.delete(1);
                if self.keeps && delete.range_end[..] == *b"\0" {
                    delete.range_end = b"\xff\xff".to_vec().into();
                }
                op(Request::RequestDeleteRange(delete))
            }
            3 => op(Request::RequestTxn(TxnRequest::default())),
            _ => RequestOp { request: None },
        }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key(1);
        let target = self.rng.below(5) as i32;
        let value = match self.rng.index(&[92, 4, 4]) {
            0 => Some(self.target(target)),
            1 => {
                let other = self.rng.below(5) as i32;
                Some(self.target(other))
            }
            _ => None,
        };
        Compare {
            result: match self.rng.chance(3) {
                true => 7,
                false => self.rng.below(4) as i32,
            },
            target: match self.rng.chance(3) {
                true => 9,
                false => target,
            },
            range_end: match self.rng.chance(60) {
                true => Vec::new().into(),
                false => self.range_end(&key).into(),
            },
            key: key.into(),
            target_union: value,
        }
    }

    fn target(&mut self, target: i32) -> TargetUnion {
        match target {
            0 => TargetUnion::Version(self.rng.below(4) as i64),
            1 => TargetUnion::CreateRevision(self.bound()),
            2 => TargetUnion::ModRevision(self.bound()),
            3 => TargetUnion::Value(self.value().into()),
            _ => TargetUnion::Lease(*self.rng.pick(&[0, 0, 7, -1])),
        }
    }

    /// Draws a transaction with about the maximum number of operations.
    fn long_txn(&mut self) -> TxnRequest {
        let many = OPS_MAX + self.rng.below(2);
        let (form, kind) = (self.rng.below(4), self.rng.below(3));
        self.long(form, kind, many)
    }

    /// Creates a transaction with `many` comparisons, or with `many` operations of one kind. `form` selects one of four places
    /// for them.
    pub(crate) fn long(&self, form: usize, kind: usize, many: usize) -> TxnRequest {
        // The operations use absent keys, so that the key space stays small.
        let ops = |count: usize| -> Vec<RequestOp> {
            (0..count)
                .map(|i| {
                    let key = format!("long/{i}");
                    op(match kind {
                        0 => Request::RequestDeleteRange(delete(key, "")),
                        1 => Request::RequestRange(range(key, "")),
                        // This operation is refused even if the transaction is not too long.
                        _ => Request::RequestPut(PutRequest { lease: 7, ..put(key, "") }),
                    })
                })
                .collect()
        };
        let compares = |count: usize| -> Vec<Compare> {
            (0..count)
                .map(|i| Compare {
                    key: format!("long/{i}").into(),
                    result: 2,
                    target: 0,
                    target_union: Some(TargetUnion::Version(100)),
                    ..Default::default()
                })
                .collect()
        };
        let mut txn = TxnRequest::default();
        match form {
            0 => txn.compare = compares(many),
            1 => txn.success = ops(many),
            2 => txn.failure = ops(many),
            _ => {
                let inner = TxnRequest { success: ops(many - 1), ..Default::default() };
                txn.success = vec![op(Request::RequestTxn(inner))];
            }
        }
        txn
    }
}

fn prefix_end(key: &[u8]) -> Vec<u8> {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    b"\0".to_vec()
}
