//! The verbs of the key space.

use std::{sync::Arc, time::Instant};

use prost::Message;
use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
        request_op::Request,
    },
};
use witan_replica::machine::{Reply, kv, view::View};

use super::{Answer, check, convert, fault, header, permit, quota};
use crate::api::Context;

/// What etcd puts around a request before it measures it: a header with a request id.
const ENVELOPE_BYTES: usize = 14;

/// The answer is made on the calling worker, of whatever size it is; the bytes are shared with the
/// state until they are encoded.
pub(super) async fn range(ctx: &Context, request: RangeRequest) -> Answer<RangeResponse> {
    let view = view_for(ctx, &request).await?;
    let kv = &view.machine.kv;
    let began = Instant::now();
    let reply = kv.range(&convert::range(request));
    ctx.metrics.ranged(began.elapsed(), reply.is_ok());
    let reply = reply.map_err(|error| fault::of_kv(&error))?;
    ctx.metrics.kv_ranges.inc();
    Ok(convert::range_response(
        header::at(&ctx.node, kv.revision()),
        reply,
    ))
}

/// The state that a range reads, once it and its caller have been checked.
pub(super) async fn view_for(ctx: &Context, request: &RangeRequest) -> Answer<Arc<View>> {
    check::range(request)?;
    let view = if request.serializable {
        ctx.node.view().await?
    } else {
        ctx.node.read().await?
    };
    permit::read(ctx, &view.machine, &request.key, &request.range_end)?;
    Ok(view)
}

pub(super) async fn put(ctx: &Context, request: PutRequest) -> Answer<PutResponse> {
    quota::admit(ctx, || quota::of_put(&request)).await?;
    check::put(&request)?;
    fits(ctx, &request)?;
    let (reply, revision) = propose(ctx, kv::Verb::Put(convert::put(request))).await?;
    let kv::Reply::Put { prev_kv } = reply else {
        unreachable!("a put answers a put")
    };
    Ok(convert::put_response(
        header::at(&ctx.node, revision),
        prev_kv,
    ))
}

pub(super) async fn delete_range(
    ctx: &Context,
    request: DeleteRangeRequest,
) -> Answer<DeleteRangeResponse> {
    check::delete_range(&request)?;
    fits(ctx, &request)?;
    let (reply, revision) = propose(ctx, kv::Verb::Delete(convert::delete_range(request))).await?;
    let kv::Reply::Delete { deleted, prev_kvs } = reply else {
        unreachable!("a delete answers a delete")
    };
    Ok(convert::delete_response(
        header::at(&ctx.node, revision),
        deleted,
        prev_kvs,
    ))
}

pub(super) async fn txn(ctx: &Context, request: TxnRequest) -> Answer<TxnResponse> {
    quota::admit(ctx, || quota::of_txn(&request)).await?;
    check::txn(&request, ctx.settings.max_txn_ops)?;
    let (reply, revision) = if reads_only(&request) {
        let (reply, revision) = read_txn(ctx, request).await?;
        ctx.metrics.kv_done(&reply);
        (reply, revision)
    } else {
        fits(ctx, &request)?;
        propose(ctx, kv::Verb::Txn(convert::txn(request))).await?
    };
    let kv::Reply::Txn { succeeded, replies } = reply else {
        unreachable!("a transaction answers a transaction")
    };
    Ok(convert::txn_response(
        header::at(&ctx.node, revision),
        succeeded,
        replies,
    ))
}

/// The log is on disk when the answer is made. With `physical` all space is free by then, too.
pub(super) async fn compact(
    ctx: &Context,
    request: CompactionRequest,
) -> Answer<CompactionResponse> {
    permit::admin(ctx).await?;
    let verb = kv::Verb::Compact(kv::Compact {
        revision: request.revision,
    });
    let (_, revision) = propose(ctx, verb).await?;
    while request.physical && ctx.node.view().await?.machine.kv.is_sweeping() {
        propose(ctx, kv::Verb::Sweep(kv::Sweep {})).await?;
    }
    Ok(CompactionResponse {
        header: header::at(&ctx.node, revision),
    })
}

/// The core's answer and the revision after it.
async fn propose(ctx: &Context, verb: kv::Verb) -> Answer<(kv::Reply, i64)> {
    let outcome = permit::propose(ctx, convert::command(verb)).await?.outcome;
    match outcome.reply {
        Reply::Kv(Ok(reply)) => Ok((reply, outcome.revision)),
        Reply::Kv(Err(error)) => Err(fault::of_kv(&error)),
        Reply::Lease(_)
        | Reply::Tree(_)
        | Reply::Published
        | Reply::ClusterVersionSet
        | Reply::DowngradeSet
        | Reply::PeerUrlsSet(_)
        | Reply::Alarm(_)
        | Reply::Auth(_)
        | Reply::Denied(_)
        | Reply::Nothing => {
            unreachable!("a v3 command answers as one")
        }
    }
}

/// A transaction that only reads does not go through the log: it runs on a frozen copy of the
/// state, which it cannot change.
async fn read_txn(ctx: &Context, request: TxnRequest) -> Answer<(kv::Reply, i64)> {
    let view = if serializable(&request) {
        ctx.node.view().await?
    } else {
        ctx.node.read().await?
    };
    let mut kv = view.machine.kv.clone();
    let command = kv::Command {
        verb: Some(kv::Verb::Txn(convert::txn(request))),
    };
    permit::command(ctx, &view.machine, &command)?;
    let reply = kv.apply(&command).map_err(|error| fault::of_kv(&error))?;
    Ok((reply, view.machine.kv.revision()))
}

fn ops(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

/// A nested transaction counts as a write, whatever is in it, as in etcd.
fn reads_only(request: &TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

fn serializable(request: &TxnRequest) -> bool {
    ops(request).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_) | Request::RequestTxn(_))
        | None => false,
    })
}

/// Whether what etcd would propose for this request keeps to `--max-request-bytes`.
fn fits(ctx: &Context, request: &impl Message) -> Answer<()> {
    if proposal_bytes(request) > ctx.settings.max_request_bytes {
        Err(Error::RequestTooLarge)
    } else {
        Ok(())
    }
}

fn proposal_bytes(request: &impl Message) -> usize {
    let length = request.encoded_len();
    ENVELOPE_BYTES + 1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(request: Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    #[test]
    fn only_plain_ranges_are_reads() {
        let range = |serializable| {
            op(Request::RequestRange(RangeRequest {
                serializable,
                ..Default::default()
            }))
        };
        let txn = |success, failure| TxnRequest {
            success,
            failure,
            ..Default::default()
        };
        let reads = txn(vec![range(true)], vec![range(false)]);
        assert!(reads_only(&reads) && !serializable(&reads));
        assert!(serializable(&txn(vec![range(true)], vec![range(true)])));
        let nested = txn(
            vec![op(Request::RequestTxn(txn(vec![range(true)], vec![])))],
            vec![],
        );
        assert!(!reads_only(&nested));
        assert!(!reads_only(&txn(
            vec![op(Request::RequestPut(PutRequest::default()))],
            vec![]
        )));
        assert!(reads_only(&TxnRequest::default()));
    }

    #[test]
    fn a_proposal_is_measured_with_its_envelope() {
        let put = PutRequest {
            key: "k".into(),
            value: vec![0; 1 << 20].into(),
            ..Default::default()
        };
        // key: 3, value: 1 + 3 + 1 MiB; around it: tag, three bytes of length, envelope
        assert_eq!(proposal_bytes(&put), (1 << 20) + 7 + 4 + ENVELOPE_BYTES);
    }
}
