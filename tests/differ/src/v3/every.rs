//! Requests that random drawing reaches too rarely: every option with every reason for a refusal, and every comparison with
//! both results.

use witan_api::v3::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, compare::TargetUnion, request_op::Request,
};
use witan_e2e::requests::op;

use super::{
    Era,
    draw::{COMPACTED, Draw, Drawn, OPS_MAX, REVISION},
};

/// A key that no other request puts.
const ABSENT: &str = "absent";
/// The id of a lease that does not exist.
const LEASE: i64 = 7;

impl Draw<'_> {
    /// Returns puts, ranges and deletions with each option and each reason for a refusal.
    pub(crate) fn refusals(&mut self) -> Vec<Drawn> {
        let mut all = Vec::new();
        for option in 0..6 {
            for fault in 0..5 {
                all.push(Drawn::Put(Self::refused_put(option, fault)));
            }
        }
        for option in 0..21 {
            for fault in 0..5 {
                all.push(Drawn::Range(self.refused_range(option, fault)));
            }
        }
        for prev_kv in [false, true] {
            for (key, range_end) in [("", "b"), ("", "\0"), (ABSENT, ""), (ABSENT, "absent\0")] {
                all.push(Drawn::Delete(DeleteRangeRequest {
                    key: key.into(),
                    range_end: range_end.into(),
                    prev_kv,
                }));
            }
        }
        for (form, kind) in (0..4).flat_map(|form| (0..3).map(move |kind| (form, kind))) {
            all.push(Drawn::Txn(self.long(form, kind, OPS_MAX + 1)));
        }
        all.push(Drawn::Txn(TxnRequest {
            success: vec![RequestOp { request: None }],
            ..Default::default()
        }));
        // No key follows this range.
        all.push(Drawn::Delete(DeleteRangeRequest {
            key: b"\xff\xff\xff\xff".to_vec().into(),
            range_end: "\0".into(),
            prev_kv: false,
        }));
        all
    }

    /// Returns compactions of all kinds of revisions.
    pub(crate) fn compactions() -> Vec<Drawn> {
        let mut all = Vec::new();
        for physical in [false, true] {
            for revision in [REVISION, REVISION + 1, 0, -1, COMPACTED] {
                all.push(Drawn::Compact(CompactionRequest { revision, physical }));
            }
        }
        all
    }

    /// Returns transactions with each kind of operation in either branch, refused for one reason each.
    pub(crate) fn refused_txns(&self) -> Vec<Drawn> {
        let put = |key: &str| PutRequest { key: key.to_owned().into(), ..Default::default() };
        let read = |revision| RangeRequest { key: "a".into(), revision, ..Default::default() };
        let delete = DeleteRangeRequest { key: "c".into(), ..Default::default() };
        let whole = [
            Request::RequestPut(put("b")),
            Request::RequestRange(read(0)),
            Request::RequestDeleteRange(delete),
            Request::RequestTxn(TxnRequest::default()),
        ];
        let mut faults = vec![
            Request::RequestPut(put("")),
            Request::RequestPut(PutRequest { ignore_value: true, value: "v".into(), ..put("d") }),
            Request::RequestPut(PutRequest { ignore_lease: true, lease: LEASE, ..put("d") }),
            Request::RequestPut(PutRequest { lease: LEASE, ..put("d") }),
            Request::RequestPut(PutRequest { ignore_value: true, ..put(ABSENT) }),
            Request::RequestPut(put("c")),
            Request::RequestRange(read(REVISION + 1)),
            Request::RequestRange(read(COMPACTED - 1)),
        ];
        if self.era == Era::Present {
            faults.push(Request::RequestRange(RangeRequest {
                sort_order: 3,
                ..read(0)
            }));
        }
        let mut all = Vec::new();
        for fault in faults {
            let ops = whole.iter().chain([&fault]).cloned().map(op);
            let ops: Vec<_> = ops.collect();
            for version in [-1, 1 << 40] {
                let holds = Compare {
                    key: "a".into(),
                    result: 1,
                    target_union: Some(TargetUnion::Version(version)),
                    ..Default::default()
                };
                all.push(Drawn::Txn(TxnRequest {
                    compare: vec![holds],
                    success: ops.clone(),
                    failure: ops.clone(),
                }));
            }
        }
        all
    }

    /// Returns a put with an option and a reason for a refusal. Omits an option that would change the reason.
    fn refused_put(option: usize, fault: usize) -> PutRequest {
        let mut put = PutRequest { key: "a".into(), ..Default::default() };
        match fault {
            0 => put.key = "".into(),
            1 => (put.ignore_value, put.value) = (true, "v".into()),
            2 => (put.ignore_lease, put.lease) = (true, LEASE),
            3 => put.lease = LEASE,
            _ => (put.key, put.ignore_value) = (ABSENT.into(), true),
        }
        match option {
            0 => put.prev_kv = true,
            1 => put.ignore_value = true,
            2 if fault != 3 => put.ignore_lease = true,
            3 if fault != 4 => put.lease = LEASE,
            4 if fault != 1 => put.value = "".into(),
            _ => {}
        }
        put
    }

    /// Returns a range with an option and a reason for a refusal. Omits an option that would change the reason.
    fn refused_range(&mut self, option: usize, fault: usize) -> RangeRequest {
        let mut range = self.range(0);
        (range.sort_order, range.sort_target) = (0, 0);
        range.revision = match fault {
            2 => REVISION + 1,
            3 => COMPACTED - 1,
            _ => 0,
        };
        match option {
            0 => range.range_end = "b".into(),
            1 => range.range_end = "\0".into(),
            2 => range.limit = 2,
            3 if range.revision == 0 => range.revision = REVISION,
            4 if range.revision == 0 => range.revision = -1,
            5 => range.serializable = true,
            6 => range.keys_only = true,
            7 => range.count_only = true,
            8 => range.min_mod_revision = 2,
            9 => range.max_mod_revision = REVISION,
            10 => range.min_create_revision = 2,
            11 => range.max_create_revision = REVISION,
            12 | 13 => range.sort_order = option as i32 - 11,
            14..=18 => {
                // Use few keys (see `KEYS`).
                (range.key, range.range_end) = ("a".into(), "b".into());
                range.sort_target = option as i32 - 14;
            }
            _ => {}
        }
        match fault {
            0 => range.key = "".into(),
            // etcd 3.4 panics at an unknown target.
            1 if range.sort_order == 0 || self.era == Era::Former => range.sort_order = 3,
            1 => range.sort_target = 5,
            _ => {}
        }
        range
    }

    /// Returns a put of one key, and every comparison of that key and of a range, with both results.
    pub(crate) fn comparisons() -> Vec<Drawn> {
        let key = "a";
        let mut all = vec![
            Drawn::Delete(DeleteRangeRequest { key: key.into(), ..Default::default() }),
            Drawn::Put(PutRequest { key: key.into(), value: "m".into(), ..Default::default() }),
        ];
        // Compare an absent value by an unknown relation.
        all.push(question(Compare {
            result: 7,
            target: 3,
            key: ABSENT.into(),
            target_union: Some(TargetUnion::Value("m".into())),
            ..Default::default()
        }));
        for range_end in ["", "a\0"] {
            for target in 0..5 {
                let [low, same, high] = [-1, 0, 1].map(|side| neighbor(target, side));
                for (result, holds, fails) in [
                    (0, &same, &low),
                    (1, &low, &high),
                    (2, &high, &low),
                    (3, &low, &same),
                    (7, &low, &same),
                ] {
                    for value in [holds, fails] {
                        let mut compare = Compare {
                            result,
                            target,
                            key: key.into(),
                            range_end: range_end.into(),
                            target_union: Some(value.clone()),
                        };
                        all.push(question(compare.clone()));
                        compare.target_union = None;
                        all.push(question(compare.clone()));
                        compare.target = 9;
                        all.push(question(compare));
                    }
                }
            }
        }
        all
    }
}

/// Returns a target value below, equal to or above the value of a key that was just put with the value `m`. `side` is negative,
/// 0 or positive.
fn neighbor(target: i32, side: i64) -> TargetUnion {
    match target {
        0 => TargetUnion::Version(1 + side),
        1 => TargetUnion::CreateRevision(REVISION + side),
        2 => TargetUnion::ModRevision(REVISION + side),
        3 => TargetUnion::Value(match side {
            -1 => "l".into(),
            0 => "m".into(),
            _ => "n".into(),
        }),
        _ => TargetUnion::Lease(side),
    }
}

fn question(compare: Compare) -> Drawn {
    let read = RangeRequest { key: "a".into(), count_only: true, ..Default::default() };
    Drawn::Txn(TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestRange(read))],
        failure: Vec::new(),
    })
}
