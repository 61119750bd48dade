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
use witan_replica::machine::{kv, view::View};

use super::{
    Answer, check, convert,
    fault::Refusal as _,
    header, permit,
    places::{Place, Placed},
    quota,
};
use crate::{
    api::Context,
    client_network::ClientNetwork,
    panics::{self, planted},
};

/// What etcd puts around a request before it measures it: a header with a request id.
const ENVELOPE_BYTES: usize = 14;

/// A request that may look at more keys is done aside, a few of them at once: the worker has others to
/// serve, and their answers are held in memory.
const LARGE_READ_KEYS: u64 = 1024;

/// A transaction of more operations is checked aside.
const LARGE_TXN_OPS: usize = 1024;

/// A short range is read on the calling worker; the bytes are shared with the state until they are
/// encoded. A long one has a place.
pub(super) async fn range(
    ctx: &Context,
    client: ClientNetwork,
    request: RangeRequest,
) -> Answer<Placed<RangeResponse>> {
    planted::here("range");
    let view = view_for(ctx, &request).await?;
    let began = Instant::now();
    let range = convert::range(request);
    let header = header::at(&ctx.node, view.machine.kv.revision());
    let (response, place) = if view.machine.kv.reads_beyond(&range, LARGE_READ_KEYS) {
        let work = move || {
            let reply = view.machine.kv.range(&range);
            reply.map(|reply| convert::range_response(header, reply))
        };
        Box::pin(aside(ctx, client, work)).await?
    } else {
        let reply = view.machine.kv.range(&range);
        let response = reply.map(|reply| convert::range_response(header, reply));
        (response, None)
    };
    ctx.metrics.ranged(began.elapsed(), response.is_ok());
    let answer = response.map_err(|error| error.in_v3())?;
    ctx.metrics.kv_ranges.inc();
    Ok(Placed::new(answer, place))
}

/// Does work that reads many keys on a thread of its own, when there is a place.
async fn aside<T: Send + 'static>(
    ctx: &Context,
    client: ClientNetwork,
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<(T, Option<Place>)> {
    let place = ctx.jobs.large_read(client).await?;
    let done = panics::aside(move || (work(), Some(place)));
    done.await.map_err(|_| Error::Stopped)
}

/// The state that a range reads, once it and its caller have been checked.
pub(super) async fn view_for(ctx: &Context, request: &RangeRequest) -> Answer<Arc<View>> {
    check::range(request)?;
    let view = if request.serializable {
        ctx.node.view().await?
    } else {
        ctx.node.read().await?
    };
    permit::on(ctx, &view.machine, |caller| {
        caller.read(&request.key, &request.range_end)
    })?;
    Ok(view)
}

pub(super) async fn put(ctx: &Context, request: PutRequest) -> Answer<PutResponse> {
    check::put(&request)?;
    fits(ctx, &request)?;
    let cost = quota::of_put(&request);
    let put = convert::put(request);
    permit::before(ctx, |caller| caller.put(&put)).await?;
    quota::admit(ctx, cost).await?;
    let done = permit::propose(ctx, put).await?;
    planted::here("put");
    let header = header::at(&ctx.node, done.revision);
    Ok(convert::put_response(header, done.output))
}

pub(super) async fn delete_range(
    ctx: &Context,
    request: DeleteRangeRequest,
) -> Answer<DeleteRangeResponse> {
    check::delete_range(&request)?;
    fits(ctx, &request)?;
    let delete = convert::delete_range(request);
    permit::before(ctx, |caller| caller.delete(&delete)).await?;
    let many = |state: &kv::Kv| state.delete_reads_beyond(&delete, LARGE_READ_KEYS);
    let _place = place_if(ctx, ctx.client, delete.reads_span(), many).await?;
    let done = permit::propose(ctx, delete).await?;
    planted::here("delete");
    let header = header::at(&ctx.node, done.revision);
    Ok(convert::delete_response(header, done.output))
}

/// A long one has a place.
pub(super) async fn txn(
    ctx: &Context,
    client: ClientNetwork,
    request: TxnRequest,
) -> Answer<Placed<TxnResponse>> {
    let reads_only = reads_only(&request);
    if !reads_only {
        fits(ctx, &request)?;
    }
    permit::anybody(ctx)?;
    let request = checked(ctx, request).await?;
    let ((reply, revision), place) = if reads_only {
        let done = read_txn(ctx, client, request).await?;
        ctx.metrics.kv_txn_read(&done.0.0);
        done
    } else {
        write_txn(ctx, client, request).await?
    };
    let header = header::at(&ctx.node, revision);
    let answer = convert::txn_response(header, reply);
    Ok(Placed::new(answer, place))
}

/// The log is on disk when the answer is made. With `physical` all space is free by then, too.
pub(super) async fn compact(
    ctx: &Context,
    request: CompactionRequest,
) -> Answer<CompactionResponse> {
    let revision = request.revision;
    let done = permit::propose(ctx, kv::Compact { revision }).await?;
    while request.physical && ctx.node.view().await?.machine.kv.is_sweeping() {
        permit::propose(ctx, kv::Sweep {}).await?;
    }
    Ok(CompactionResponse {
        header: header::at(&ctx.node, done.revision),
    })
}

/// A transaction whose operations can be done, by themselves and together.
async fn checked(ctx: &Context, request: TxnRequest) -> Answer<TxnRequest> {
    if check::operations(&request, ctx.settings.max_txn_ops)? <= LARGE_TXN_OPS {
        check::overlaps(&request)?;
        return Ok(request);
    }
    let check = move || check::overlaps(&request).map(|()| request);
    Box::pin(ctx.aside.run(check)).await?
}

/// What a transaction answers, the revision after it, and the place that it has.
type TxnDone = ((kv::TxnReply, i64), Option<Place>);

async fn write_txn(ctx: &Context, client: ClientNetwork, request: TxnRequest) -> Answer<TxnDone> {
    let cost = quota::of_txn(&request);
    let txn = convert::txn(request);
    permit::before(ctx, |caller| caller.txn(&txn)).await?;
    quota::admit(ctx, cost).await?;
    let many = |state: &kv::Kv| state.txn_reads_beyond(&txn, LARGE_READ_KEYS);
    let place = place_if(ctx, client, txn.reads_spans(), many).await?;
    let done = permit::propose(ctx, txn).await?;
    Ok(((done.output, done.revision), place))
}

/// What reads many keys waits for a place, so that answers on their way to their clients are few.
async fn place_if(
    ctx: &Context,
    client: ClientNetwork,
    spans: bool,
    many: impl FnOnce(&kv::Kv) -> bool,
) -> Answer<Option<Place>> {
    if spans && many(&ctx.node.view().await?.machine.kv) {
        let place = Box::pin(ctx.jobs.large_read(client)).await?;
        Ok(Some(place))
    } else {
        Ok(None)
    }
}

/// A transaction that only reads does not go through the log: it runs on a frozen copy of the
/// state, which it cannot change.
async fn read_txn(ctx: &Context, client: ClientNetwork, request: TxnRequest) -> Answer<TxnDone> {
    let view = if serializable(&request) {
        ctx.node.view().await?
    } else {
        ctx.node.read().await?
    };
    let revision = view.machine.kv.revision();
    let txn = convert::txn(request);
    permit::on(ctx, &view.machine, |caller| caller.txn(&txn))?;
    let (reply, place) = if view.machine.kv.txn_reads_beyond(&txn, LARGE_READ_KEYS) {
        let work = move || view.machine.kv.read_txn(&txn);
        Box::pin(aside(ctx, client, work)).await?
    } else {
        (view.machine.kv.read_txn(&txn), None)
    };
    let reply = reply.map_err(|error| error.in_v3())?;
    Ok(((reply, revision), place))
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
