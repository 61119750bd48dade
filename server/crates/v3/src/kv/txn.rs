//! Txn evaluates comparisons, then executes one of two lists of operations at one revision.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    Compare, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse, compare::TargetUnion,
    request_op::Request, response_op::Response,
};
use witan_dialect::blocking;
use witan_machine::{
    auth::AccessCheck,
    kv::{self, CompareResult, CompareTarget, Kv, KvError, OpReply, TxnReply},
    revision::Revision,
    view::View,
};
use witan_node::RequestType;

use super::{
    Context, Header, LARGE_READ_KEYS, Permit, ReadBounds, ReadReply, ReadSize, RpcResult,
    WHOLE_BYTES, WithPermit, authorize, delete_range, estimate, executed, fits, header,
    overlap::BranchWrites,
    permit_if,
    proposal::{charge_if, propose_in},
    put, range, read,
};
use crate::error::RpcError;

/// Number of operations and comparisons above which another thread checks a transaction for overlapping writes.
const LARGE_TXN_OPS: usize = 1024;

/// Maximum nesting depth of transactions below the outermost transaction; deeper transactions are refused. The log's codec
/// reads messages up to 100 levels deep: two levels surround the outermost transaction, and each nested transaction needs two.
const TXNS_NESTED_MAX: usize = 48;

/// Maximum number of operations and comparisons in a transaction and its nested transactions, in units of `--max-txn-ops`;
/// larger transactions are refused. etcd limits only each list, so nesting multiplies the total without limit.
const TXN_LISTS_MAX: usize = 64;

/// Executes a transaction and counts its operations if a sample is running.
pub(crate) async fn txn(ctx: &Context, request: TxnRequest) -> RpcResult<WithPermit<TxnResponse>> {
    if ctx.sampler.is_on() {
        // The box keeps the future of an uncounted transaction small.
        return Box::pin(counted(ctx, request)).await;
    }
    execute(ctx, request).await
}

/// Executes a transaction and counts the operations of the branches that were executed. Counts nothing if the transaction
/// fails.
async fn counted(ctx: &Context, request: TxnRequest) -> RpcResult<WithPermit<TxnResponse>> {
    let requested = request.clone();
    let done = execute(ctx, request).await?;
    executed::each(&requested, &done.response, &mut |operation, key| {
        ctx.count_key(operation, key)
    });
    Ok(done)
}

/// Validates and executes a transaction. A read-only transaction reads a fixed state; any other transaction goes through the
/// log. A large read keeps its permit until the response is encoded.
async fn execute(ctx: &Context, request: TxnRequest) -> RpcResult<WithPermit<TxnResponse>> {
    let reads_only = reads_only(&request);
    let request = checked(ctx, request).await?;
    let TxnDone { reply, revision, permit } = if reads_only {
        let began = Instant::now();
        let done = read_txn(ctx, request).await;
        ctx.node
            .request_took(RequestType::ReadonlyTxn, done.is_ok(), began.elapsed());
        let done = done?;
        ctx.node.ranges_served(done.reply.replies.len());
        done
    } else {
        fits(ctx, &request)?;
        write_txn(ctx, request).await?
    };
    let header = header::at(&ctx.node, revision);
    let response = response(header, reply);
    Ok(WithPermit::new(response, permit))
}

/// Validates each operation, and then the combination of the operations. Uses another thread for the combination if there are
/// more than `LARGE_TXN_OPS` operations and comparisons. Returns the request.
async fn checked(ctx: &Context, request: TxnRequest) -> RpcResult<TxnRequest> {
    if validate_ops(&request, ctx.settings.max_txn_ops)? <= LARGE_TXN_OPS {
        check_overlaps(&request)?;
        return Ok(request);
    }
    let check = move || check_overlaps(&request).map(|()| request);
    Box::pin(blocking::run(ctx.account(), check)).await?
}

/// The result of a transaction.
struct TxnDone {
    reply: TxnReply,
    /// The revision after the transaction.
    revision: Revision,
    permit: Option<Permit>,
}

/// Authorizes and proposes a transaction. Returns a permit if the transaction compares values, can read more than
/// `LARGE_READ_KEYS` keys, or can return more than `WHOLE_BYTES` bytes. If other returned pairs may not fit in memory, charges
/// them until the transaction is applied. Fails with `ResponseTooLarge` if the transaction compares or sorts too many bytes of
/// the latest state.
async fn write_txn(ctx: &Context, request: TxnRequest) -> RpcResult<TxnDone> {
    let txn = operation(request);
    authorize::before_proposal(ctx, |caller| caller.txn(&txn)).await?;
    let (txn, held) = if txn.compares_values() {
        let (txn, permit) = Box::pin(check_compared_bytes(ctx, txn)).await?;
        (txn, (permit, None))
    } else {
        let value_bytes_max = ctx.settings.max_request_bytes as u64;
        let single_bytes = estimate::txn_reads(&txn).saturating_mul(value_bytes_max);
        let may_be_large = txn.reads_spans() || single_bytes > WHOLE_BYTES;
        let is_large = |state: &Kv| {
            state.txn_reads_more_than(&txn, LARGE_READ_KEYS)
                || estimate::txn_bytes(state, &txn) > WHOLE_BYTES
        };
        let permit = permit_if(ctx, may_be_large, is_large).await?;
        let bytes = |state: &Kv| estimate::txn_bytes(state, &txn);
        let charge = charge_if(ctx, single_bytes > 0 && permit.is_none(), bytes).await?;
        (txn, (permit, charge))
    };
    let (done, permit) = propose_in(ctx, txn, held).await?;
    Ok(TxnDone { reply: done.output, revision: done.revision, permit })
}

/// Waits for a large-read permit and returns it with the transaction. Fails with `ResponseTooLarge` if the transaction compares
/// or sorts too many bytes of this member's latest state. The limit exists because no other entry is applied while a
/// transaction runs.
async fn check_compared_bytes(ctx: &Context, txn: kv::Txn) -> RpcResult<(kv::Txn, Option<Permit>)> {
    let job = ctx.large_read().await?;
    let work = move |view: &View| (view.machine.kv.txn_compares_too_much(&txn), txn);
    let ((too_much, txn), permit) = job.run(work).await?;
    match too_much {
        true => Err(RpcError::ResponseTooLarge),
        false => Ok((txn, Some(permit))),
    }
}

impl ReadReply for (TxnReply, Revision) {
    fn bytes(&self) -> usize {
        let replies = self.0.replies.iter().map(|(reply, _)| match reply {
            OpReply::Range(range) => {
                let pairs = range.kvs.iter();
                pairs.map(|kv| kv.key.len() + kv.value.len()).sum::<usize>()
            }
            // A read-only transaction contains only ranges.
            OpReply::Put(_) | OpReply::Delete(_) | OpReply::Txn(_) => 0,
        });
        replies.sum()
    }
}

/// Executes a read-only transaction on a fixed state, without the log. The state is linearizable unless [`serializable`]
/// returns true.
async fn read_txn(ctx: &Context, request: TxnRequest) -> RpcResult<TxnDone> {
    let serializable = serializable(&request);
    let txn = operation(request);
    let view = {
        let view = match serializable {
            true => ctx.node.view().await?,
            false => ctx.node.read().await?,
        };
        authorize::check_on(ctx, &view.machine, |caller| caller.txn(&txn))?;
        view
    };
    let size = |kv: &Kv, txn: &kv::Txn| {
        ReadSize::by(
            |keys| kv.txn_reads_more_than(txn, keys),
            |keys| kv.txn_reads_longer_than(txn, keys),
        )
    };
    let check = |caller: AccessCheck<'_>, txn: &kv::Txn| caller.txn(txn);
    let bytes = range::pairs_bytes_max(ctx.node.memory());
    let work = |view: &View, txn: &kv::Txn, bounds: ReadBounds| {
        let kv = &view.machine.kv;
        let reply = kv.read_txn(txn, bounds.bytes, bounds.source)?;
        Ok::<_, KvError>((reply, kv.revision()))
    };
    let (done, permit) = read(ctx, (view, bytes), txn, size, check, work).await?;
    let (reply, revision) = done?;
    Ok(TxnDone { reply, revision, permit })
}

/// Iterates over the operations of both branches, but not over operations in nested transactions.
fn ops(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

/// Returns whether a transaction contains no operations except ranges. As in etcd, a nested transaction is not a range,
/// regardless of its contents.
fn reads_only(request: &TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Returns whether a transaction has operations and all of them are serializable ranges. Comparisons alone never allow a stale
/// result.
fn serializable(request: &TxnRequest) -> bool {
    let mut ops = ops(request).peekable();
    let is_serializable = |op: &RequestOp| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_) | Request::RequestTxn(_))
        | None => false,
    };
    ops.peek().is_some() && ops.all(is_serializable)
}

/// Validates a transaction like `checked`, but always on this thread.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check(request: &TxnRequest, ops_max: usize) -> RpcResult<()> {
    validate_ops(request, ops_max)?;
    check_overlaps(request)
}

/// Returns the maximum number of operations and comparisons in a transaction and its nested transactions.
pub(crate) fn total_max(ops_max: usize) -> usize {
    ops_max.saturating_mul(TXN_LISTS_MAX)
}

/// Validates each operation separately, in linear time. Returns the number of operations and comparisons.
fn validate_ops(request: &TxnRequest, ops_max: usize) -> RpcResult<usize> {
    let total = total_max(ops_max);
    let mut left = total;
    validate_level(request, ops_max, TXNS_NESTED_MAX, &mut left)?;
    Ok(total - left)
}

/// Validates the operations of a transaction and its nested transactions and deducts the number of operations and comparisons
/// from `total`. Fails with `TooManyOps` if a list exceeds `ops_max`, the depth exceeds `nested_max`, or `total` is used up.
/// Fails with `EmptyKey` for a comparison without a key, and with `KeyNotFound` for an empty operation. On each level,
/// `ops_max` shrinks by the length of the longest list.
fn validate_level(
    request: &TxnRequest,
    ops_max: usize,
    nested_max: usize,
    total: &mut usize,
) -> RpcResult<()> {
    let lists = [
        request.compare.len(),
        request.success.len(),
        request.failure.len(),
    ];
    let longest = lists.into_iter().max().unwrap_or_default();
    let left = ops_max.checked_sub(longest).ok_or(RpcError::TooManyOps)?;
    let all = lists.into_iter().sum();
    *total = total.checked_sub(all).ok_or(RpcError::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(RpcError::EmptyKey);
    }
    for op in ops(request) {
        match &op.request {
            Some(Request::RequestRange(request)) => range::check(request)?,
            Some(Request::RequestPut(request)) => put::check(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range::check(request)?,
            Some(Request::RequestTxn(request)) => {
                let deeper = nested_max.checked_sub(1).ok_or(RpcError::TooManyOps)?;
                validate_level(request, left, deeper, total)?;
            }
            None => return Err(RpcError::KeyNotFound),
        }
    }
    Ok(())
}

/// Fails with `DuplicateKey` if a branch puts a key twice, or puts and deletes it; see [`BranchWrites::of`]. Takes O(n log n)
/// time.
fn check_overlaps(request: &TxnRequest) -> RpcResult<()> {
    BranchWrites::of(&request.success)?;
    BranchWrites::of(&request.failure)?;
    Ok(())
}

/// Converts a transaction to the state machine's type, with read limits (`bounded`). Its execution fails with
/// `ResponseTooLarge` if all reads together exceed the limit on keys or bytes.
pub fn operation(request: TxnRequest) -> kv::Txn {
    kv::Txn {
        compare: request.compare.into_iter().map(compare).collect(),
        success: request.success.into_iter().map(op).collect(),
        failure: request.failure.into_iter().map(op).collect(),
        bounded: true,
    }
}

/// Converts an operation. An empty operation stays empty.
fn op(op: RequestOp) -> kv::TxnOp {
    let kind = op.request.map(|request| match request {
        Request::RequestRange(request) => kv::TxnOpKind::Range(range::operation(request)),
        Request::RequestPut(request) => kv::TxnOpKind::Put(put::operation(request)),
        Request::RequestDeleteRange(request) => {
            kv::TxnOpKind::Delete(delete_range::operation(request))
        }
        Request::RequestTxn(request) => kv::TxnOpKind::Txn(operation(request)),
    });
    kv::TxnOp { kind }
}

/// Converts a comparison. In etcd, an unknown relation is always true, and an unknown target always compares as equal. The log
/// must not contain unknown values, so this function replaces such a comparison with a comparison of versions that has the same
/// result.
fn compare(compare: Compare) -> kv::Compare {
    let result = CompareResult::try_from(compare.result);
    let target = CompareTarget::try_from(compare.target);
    let version = |result, version| {
        let value = kv::TargetValue::Version(version);
        (result, CompareTarget::Version, Some(value))
    };
    let (result, target, value) = match (result, target) {
        (Ok(result), Ok(target)) => (result, target, compare.target_union.map(target_value)),
        // A comparison of values is false for a missing key, so test whether the key exists.
        (Err(_), Ok(CompareTarget::Value)) => version(CompareResult::Greater, 0),
        // Always true.
        (Err(_), Ok(_) | Err(_)) | (Ok(CompareResult::Equal), Err(_)) => {
            version(CompareResult::Greater, -1)
        }
        // Always false.
        (Ok(CompareResult::Greater | CompareResult::Less | CompareResult::NotEqual), Err(_)) => {
            version(CompareResult::Less, -1)
        }
    };
    kv::Compare {
        result: result as i32,
        target: target as i32,
        key: compare.key,
        range_end: compare.range_end,
        value,
    }
}

fn target_value(value: TargetUnion) -> kv::TargetValue {
    match value {
        TargetUnion::Version(version) => kv::TargetValue::Version(version),
        TargetUnion::CreateRevision(revision) => kv::TargetValue::Create(revision),
        TargetUnion::ModRevision(revision) => kv::TargetValue::Mod(revision),
        TargetUnion::Value(value) => kv::TargetValue::Value(value),
        TargetUnion::Lease(lease) => kv::TargetValue::Lease(lease),
    }
}

/// Converts the result of a transaction to a response with this header.
pub(crate) fn response(header: Header, reply: TxnReply) -> TxnResponse {
    let responses = reply.replies.into_iter().map(|(reply, revision)| {
        // As in etcd, an operation's header contains only the revision.
        let header = Some(ResponseHeader { revision: revision.0, ..Default::default() });
        let response = match reply {
            OpReply::Range(reply) => Response::ResponseRange(range::response(header, reply)),
            OpReply::Put(reply) => Response::ResponsePut(put::response(header, reply)),
            OpReply::Delete(reply) => {
                Response::ResponseDeleteRange(delete_range::response(header, reply))
            }
            OpReply::Txn(reply) => Response::ResponseTxn(response(header, reply)),
        };
        ResponseOp { response: Some(response) }
    });
    TxnResponse {
        header,
        succeeded: reply.succeeded,
        responses: responses.collect(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use witan_api::v3::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
    use witan_base::account::JobKind;
    use witan_machine::{command::Command, kv::ValueSource};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context;

    fn op_of(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn op_put(key: &str) -> RequestOp {
        let key = key.to_owned().into();
        op_of(Request::RequestPut(PutRequest {
            key,
            ..Default::default()
        }))
    }

    fn op_delete(key: &str, end: &str) -> RequestOp {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        let delete = DeleteRangeRequest { key, range_end, ..Default::default() };
        op_of(Request::RequestDeleteRange(delete))
    }

    fn op_range(serializable: bool) -> RequestOp {
        let range = RangeRequest { key: "k".into(), serializable, ..Default::default() };
        op_of(Request::RequestRange(range))
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
        TxnRequest { success, failure, ..Default::default() }
    }

    fn op_txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op_of(Request::RequestTxn(txn(success, failure)))
    }

    #[test]
    fn operations_are_accepted_or_refused() {
        let many = |count: usize| (0..count).map(|i| op_put(&i.to_string())).collect();
        let txns = |inner: &[RequestOp], times: usize| -> Vec<_> {
            let txns = (0..times).map(|_| op_txn(inner.to_vec(), vec![]));
            txns.collect()
        };
        let ranges = vec![op_range(false); 30];
        let deep = |depth: usize| (0..depth).fold(op_put("a"), |op, _| op_txn(vec![op], vec![]));
        let (duplicate, too_many) = (Err(RpcError::DuplicateKey), Err(RpcError::TooManyOps));
        for (at, (ops, expect)) in [
            (vec![op_put("a"), op_put("b")], Ok(())),
            (vec![op_put("a"), op_put("a")], duplicate),
            (vec![op_put("a"), op_delete("a", "")], duplicate),
            (vec![op_delete("a", "c"), op_put("b")], duplicate),
            (vec![op_delete("a", "c"), op_put("c")], Ok(())),
            (vec![op_delete("a", ""), op_delete("a", "b")], Ok(())),
            (vec![op_delete("a", "\0"), op_put("b")], Ok(())),
            // Both branches of a nested transaction can put a key that no operation next to the transaction puts.
            (vec![op_txn(vec![op_put("a")], vec![op_put("a")])], Ok(())),
            (
                vec![op_txn(vec![op_put("a")], vec![]), op_put("a")],
                duplicate,
            ),
            (
                vec![op_txn(vec![], vec![op_put("a")]), op_put("a")],
                duplicate,
            ),
            (
                vec![
                    op_txn(vec![op_put("a")], vec![]),
                    op_txn(vec![], vec![op_put("a")]),
                ],
                duplicate,
            ),
            (
                vec![op_txn(vec![op_delete("a", "c")], vec![]), op_put("b")],
                duplicate,
            ),
            (
                vec![op_delete("a", "c"), op_txn(vec![], vec![op_put("b")])],
                duplicate,
            ),
            // Nesting reduces the number of allowed operations.
            (many(128), Ok(())),
            (many(129), too_many),
            (vec![op_txn(many(127), vec![])], Ok(())),
            (vec![op_txn(many(128), vec![])], too_many),
            // Each list is within its limit, but nesting multiplies the operations far beyond the total limit.
            (txns(&txns(&ranges, 30), 8), Ok(())),
            (txns(&txns(&ranges, 30), 30), too_many),
            (vec![deep(TXNS_NESTED_MAX)], Ok(())),
            (vec![deep(TXNS_NESTED_MAX + 1)], too_many),
            // If there are several errors, the first one in etcd's order is returned.
            (
                vec![RequestOp { request: None }],
                Err(RpcError::KeyNotFound),
            ),
            (
                vec![op_put(""), op_put("a"), op_put("a")],
                Err(RpcError::EmptyKey),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(check(&txn(ops, vec![]), 128), expect, "{at}");
        }
    }

    /// Checks etcd's results for unknown relations and targets: for a missing key, and for a key of version 1.
    #[test]
    fn comparisons_of_unknown_values_become_known_ones_with_the_same_result() {
        let (key, absent) = (Bytes::from_static(b"key"), Bytes::from_static(b"absent"));
        let put = kv::Put { key: key.clone(), value: key.clone(), ..kv::Put::default() };
        let mut state = Kv::default();
        let put = kv::KvCommand { operation: Some(kv::KvOperation::Put(put)) };
        state.apply(&put).expect("a put");
        for (result, target, of_absent, of_key) in [
            // An unknown relation.
            (99, 0, true, true),
            (-1, 4, true, true),
            (99, 3, false, true),
            (99, 99, true, true),
            // An unknown target: equal, greater, less, not equal.
            (0, 99, true, true),
            (1, 99, false, false),
            (2, -1, false, false),
            (3, 99, false, false),
            // Known values: the version is not 0.
            (3, 0, false, true),
        ] {
            for (key, holds) in [(&absent, of_absent), (&key, of_key)] {
                let asked = Compare { result, target, key: key.clone(), ..Compare::default() };
                let asked = TxnRequest { compare: vec![asked], ..TxnRequest::default() };
                let txn = operation(asked);
                let command = kv::KvOperation::Txn(txn.clone());
                assert!(Command::from(command).is_known(), "{txn:?}");
                let reply = state.read_txn(&txn, u64::MAX, ValueSource::Memory);
                let found = reply.expect("a short transaction").succeeded;
                assert_eq!(found, holds, "{result} of {target}: {key:?}");
            }
        }
    }

    #[test]
    fn a_write_that_returns_long_values_needs_a_permit() {
        let mut state = Kv::default();
        for at in 0..6 {
            test_context::put(&mut state, vec![b'k', at], vec![at; 1 << 20]);
        }
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&state);
            let ctx = test_context::context(states.node.clone());
            for (gets, free) in [(2, 2), (3, 2), (6, 1)] {
                let gets = (0..gets).map(|at| {
                    let key = vec![b'k', at].into();
                    op_of(Request::RequestRange(RangeRequest {
                        key,
                        ..Default::default()
                    }))
                });
                let ops = gets.chain([op_put("a")]).collect();
                let mut done = Box::pin(super::txn(&ctx, txn(ops, vec![])));
                assert!(done.as_mut().now_or_never().is_none());
                let permits = std::iter::from_fn(|| ctx.account().try_permit(JobKind::Read));
                let permits = permits.collect::<Vec<_>>();
                assert_eq!(permits.len(), free);
            }
        });
    }

    #[test]
    fn only_plain_ranges_are_reads() {
        let reads = txn(vec![op_range(true)], vec![op_range(false)]);
        assert!(reads_only(&reads) && !serializable(&reads));
        assert!(serializable(&txn(
            vec![op_range(true)],
            vec![op_range(true)]
        )));
        let nested = op_txn(vec![op_range(true)], vec![]);
        assert!(!reads_only(&txn(vec![nested], vec![])));
        assert!(!reads_only(&txn(vec![op_put("")], vec![])));
        let empty = TxnRequest::default();
        assert!(reads_only(&empty) && !serializable(&empty));
    }
}
