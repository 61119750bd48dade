//! Determines the cells of `table` that a request and its answer cover.

use prost::Message;
use witan_api::v3::{
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
        TxnRequest, compare::TargetUnion, request_op::Request,
    },
    shape::Shaped,
};

use super::{
    Era,
    oddity::{self, Read},
    side::read,
    step::{Ask, Step},
    table::{RESULTS, TARGETS},
};
use crate::coverage::Coverage;

/// Texts of errors and their codes in the table.
const CODES: &[(&str, &str)] = &[
    ("etcdserver: key is not provided", "empty-key"),
    ("etcdserver: value is provided", "value-given"),
    ("etcdserver: lease is provided", "lease-given"),
    ("etcdserver: key not found", "no-key"),
    ("etcdserver: requested lease not found", "no-lease"),
    ("etcdserver: request is too large", "too-large"),
    ("grpc: received message larger than max", "over-max"),
    ("etcdserver: invalid sort option", "bad-sort"),
    (
        "etcdserver: too many operations in txn request",
        "too-many-ops",
    ),
    (
        "etcdserver: duplicate key given in txn request",
        "duplicate",
    ),
    (
        "etcdserver: mvcc: required revision is a future revision",
        "future",
    ),
    (
        "etcdserver: mvcc: required revision has been compacted",
        "compacted",
    ),
];

/// Returns the code in the table for an answer.
fn code(verb: &str, line: &str) -> &'static str {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if first == "ok" || first == "200" {
        return match verb {
            "txn" if rest.contains(r#""succeeded":true"#) => "then",
            "txn" => "else",
            "delete" if !rest.contains(r#""deleted":"#) => "nothing",
            _ => "ok",
        };
    }
    let known = CODES.iter().find(|(text, _)| line.contains(text));
    match known {
        Some((_, code)) => code,
        None if first == "400" || first == "Internal" => "malformed",
        None => "not in any table",
    }
}

/// Returns the revision that a request compacts, or `None` for another request or one that cannot be decoded.
pub(crate) fn compacted(ask: &Ask) -> Option<i64> {
    let revision = match ask {
        Ask::Grpc(verb, json) if verb == "compact" => {
            read::<CompactionRequest>(json.as_bytes())?.revision
        }
        Ask::Raw(verb, message) if verb == "compact" => {
            CompactionRequest::decode(message.as_slice()).ok()?.revision
        }
        Ask::Json(_, path, body) if path == "kv/compaction" => {
            read::<CompactionRequest>(body)?.revision
        }
        Ask::Grpc(..) | Ask::Raw(..) | Ask::Json(..) => return None,
    };
    Some(revision)
}

/// Counts the cells of a request and its answer.
pub(crate) fn hit(coverage: &mut Coverage, era: Era, step: &Step, ask: &Ask, answer: &str) {
    match ask {
        Ask::Grpc(verb, json) => {
            let code = code(verb, answer);
            let mut hit = |name: &str| coverage.hit(name, code);
            match verb.as_str() {
                "put" => put(&sent(json), code, &mut hit),
                "range" => range(&sent(json), code, answer, &mut hit),
                "delete" => delete(&sent(json), code, &mut hit),
                "txn" => txn(&sent(json), code, &mut hit),
                _ => compact(&sent(json), code, &mut hit),
            }
        }
        Ask::Raw(..) => {
            let malformed = answer.starts_with("Internal ");
            coverage.hit("raw", if malformed { "malformed" } else { "ok" });
        }
        Ask::Json(_, path, _) => {
            let verb = match path.as_str() {
                "kv/put" => "put",
                "kv/range" => "range",
                "kv/deleterange" => "delete",
                "kv/txn" => "txn",
                _ => "compact",
            };
            let code = code(verb, answer);
            coverage.hit(&format!("json {verb}"), code);
            if let Some(name) = step.oddity {
                let refused = code == "malformed";
                coverage.hit(
                    name,
                    match oddity::read(name, era) {
                        Read::Either => "sent",
                        Read::Taken | Read::Refused | Read::Never if refused => "refused",
                        Read::Taken | Read::Refused | Read::Never => "taken",
                    },
                );
            }
        }
    }
}

fn sent<M: Shaped + Default + Message>(json: &str) -> M {
    read(json.as_bytes()).expect("it was sent")
}

/// Counts the options that are set.
fn each(options: &[(bool, &str)], hit: &mut impl FnMut(&str)) {
    let given = options.iter().filter(|(given, _)| *given);
    given.for_each(|(_, name)| hit(name));
}

/// Returns whether a code belongs only to requests at the size limits, which have no options.
fn sized(code: &str) -> bool {
    matches!(code, "too-large" | "over-max")
}

fn put(put: &PutRequest, code: &str, hit: &mut impl FnMut(&str)) {
    hit("put");
    let options = [
        (put.prev_kv, "put prev_kv"),
        (put.ignore_value, "put ignore_value"),
        (put.ignore_lease, "put ignore_lease"),
        (put.lease != 0, "put lease"),
        (put.value.is_empty(), "put no value"),
    ];
    if !sized(code) {
        each(&options, hit);
    }
}

fn range(range: &RangeRequest, code: &str, answer: &str, hit: &mut impl FnMut(&str)) {
    hit("range");
    let options = [
        (!range.range_end.is_empty(), "range range_end"),
        (range.range_end[..] == *b"\0", "range from key"),
        (range.limit > 0, "range limit"),
        (range.limit < 0 && code == "ok", "range limit<0"),
        (range.revision > 0, "range revision"),
        (range.revision < 0, "range revision<0"),
        (range.serializable, "range serializable"),
        (range.keys_only, "range keys_only"),
        (range.count_only, "range count_only"),
        (range.min_mod_revision != 0, "range min_mod"),
        (range.max_mod_revision != 0, "range max_mod"),
        (range.min_create_revision != 0, "range min_create"),
        (range.max_create_revision != 0, "range max_create"),
        (range.sort_order == 1, "range ascend"),
        (range.sort_order == 2, "range descend"),
        (range.sort_target == 0, "range by key"),
        (range.sort_target == 1, "range by version"),
        (range.sort_target == 2, "range by create"),
        (range.sort_target == 3, "range by mod"),
        (range.sort_target == 4, "range by value"),
        (answer.contains(r#""more":true"#), "range more"),
        (
            code == "ok" && !answer.contains(r#""count":"#),
            "range nothing",
        ),
    ];
    if !sized(code) {
        each(&options, hit);
    }
}

fn delete(delete: &DeleteRangeRequest, code: &str, hit: &mut impl FnMut(&str)) {
    hit("delete");
    let options = [
        (delete.prev_kv, "delete prev_kv"),
        (!delete.range_end.is_empty(), "delete range_end"),
        (delete.range_end[..] == *b"\0", "delete from key"),
    ];
    if !sized(code) {
        each(&options, hit);
    }
}

fn compact(compact: &CompactionRequest, code: &str, hit: &mut impl FnMut(&str)) {
    hit("compact");
    let options = [
        (compact.physical, "compact physical"),
        (compact.revision == 0 && code != "ok", "compact 0"),
        (compact.revision < 0, "compact<0"),
    ];
    each(&options, hit);
}

fn txn(txn: &TxnRequest, code: &str, hit: &mut impl FnMut(&str)) {
    hit("txn");
    if sized(code) {
        return;
    }
    let ops = || txn.success.iter().chain(&txn.failure);
    let holds = |kind: fn(&Request) -> bool| ops().any(|op| op.request.as_ref().is_some_and(kind));
    let parts = [
        (!txn.compare.is_empty(), "txn compare"),
        (holds(|op| matches!(op, Request::RequestPut(_))), "txn put"),
        (
            holds(|op| matches!(op, Request::RequestRange(_))),
            "txn range",
        ),
        (
            holds(|op| matches!(op, Request::RequestDeleteRange(_))),
            "txn delete",
        ),
        (
            holds(|op| matches!(op, Request::RequestTxn(_))),
            "txn nested",
        ),
        (!txn.failure.is_empty(), "txn else part"),
        (empty_alone(txn) && code == "no-key", "txn empty operation"),
    ];
    each(&parts, hit);
    if let ([compare], "then" | "else") = (txn.compare.as_slice(), code) {
        compared(compare, hit);
    }
}

fn empty_alone(txn: &TxnRequest) -> bool {
    let empty = |op: &RequestOp| op.request.is_none();
    txn.success.iter().chain(&txn.failure).any(empty)
}

/// Counts the cell of a comparison's target and result, and whether its value has another kind or is missing.
fn compared(compare: &Compare, hit: &mut impl FnMut(&str)) {
    let kind = compare.target_union.as_ref().map(|value| match value {
        TargetUnion::Version(_) => 0,
        TargetUnion::CreateRevision(_) => 1,
        TargetUnion::ModRevision(_) => 2,
        TargetUnion::Value(_) => 3,
        TargetUnion::Lease(_) => 4,
    });
    let target = usize::try_from(compare.target)
        .ok()
        .and_then(|at| TARGETS.get(at));
    let result = usize::try_from(compare.result)
        .ok()
        .and_then(|at| RESULTS.get(at));
    match (target, result) {
        (None, _) => hit("compare unknown target"),
        (_, None) => hit("compare unknown result"),
        (Some(target), Some(result)) => {
            let span = if compare.range_end.is_empty() {
                ""
            } else {
                " over a range"
            };
            hit(&format!("compare {target} {result}{span}"));
        }
    }
    match kind {
        None => hit("compare with nothing"),
        Some(kind) if kind != compare.target => hit("compare of another kind"),
        Some(_) => {}
    }
}
