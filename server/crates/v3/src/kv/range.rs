//! Range: reads a key or a range at a revision.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    RangeRequest, RangeResponse,
    range_request::{SortOrder, SortTarget},
};
use witan_dialect::sampling::KeyOperation;
use witan_machine::{
    auth::AccessCheck,
    kv::{self, Kv, KvError, RangeReply, ValueSource},
    view::View,
};
use witan_node::{CurrentView, RequestType};

use super::{
    Context, Header, ReadSize, RpcResult, WithPermit, authorize, header, key_values, read,
};
use crate::error::RpcError;

/// Validates, authorizes and executes a range, and records its duration. The response shares memory with the state until it is
/// encoded; a large read keeps its permit until then.
pub(crate) async fn range(
    ctx: &Context,
    request: RangeRequest,
) -> RpcResult<WithPermit<RangeResponse>> {
    let began = Instant::now();
    ctx.count_key(KeyOperation::Read, &request.key);
    let answer = execute(ctx, request).await;
    ctx.node
        .request_took(RequestType::Range, answer.is_ok(), began.elapsed());
    answer
}

/// Like [`range`], without counting the request.
async fn execute(ctx: &Context, request: RangeRequest) -> RpcResult<WithPermit<RangeResponse>> {
    let view = view_for(ctx, &request).await?;
    let began = Instant::now();
    let range = operation(request);
    let may =
        |caller: AccessCheck<'_>, range: &kv::Range| caller.read(&range.key, &range.range_end);
    let work = |view: &View, range: &kv::Range, source: ValueSource| {
        let kv = &view.machine.kv;
        // Convert the pairs of a long range on the thread that reads them.
        Ok::<_, KvError>((response(None, kv.range(range, source)?), kv.revision()))
    };
    let (answer, permit) = read(ctx, view, range, size, may, work).await?;
    ctx.v3_metrics.ranged(began.elapsed(), answer.is_ok());
    let (mut answer, revision) = answer?;
    ctx.node.ranges_served(1);
    answer.header = header::at(&ctx.node, revision);
    Ok(WithPermit::new(answer, permit))
}

/// Returns the size class of a range.
pub(crate) fn size(kv: &Kv, range: &kv::Range) -> ReadSize {
    ReadSize::by(
        |keys| kv.reads_more_than(range, keys),
        |keys| kv.reads_longer_than(range, keys),
    )
}

/// Validates and authorizes a range. Returns this member's state if the range is serializable, or else a linearizable one.
pub(crate) async fn view_for(ctx: &Context, request: &RangeRequest) -> RpcResult<CurrentView> {
    if !request.serializable {
        ctx.node.refuse_learner()?;
    }
    check(request)?;
    let view = if request.serializable {
        ctx.node.view().await?
    } else {
        ctx.node.read().await?
    };
    authorize::on(ctx, &view.machine, |caller| {
        caller.read(&request.key, &request.range_end)
    })?;
    Ok(view)
}

/// Fails if a range has no key or an unknown sort option. Validates in etcd's order.
pub(crate) fn check(request: &RangeRequest) -> RpcResult<()> {
    if request.key.is_empty() {
        return Err(RpcError::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(RpcError::InvalidSortOption)
    }
}

/// Converts a range to the state machine's type. Unknown sort options, which only etcd 3.4 has logged, have no effect.
pub(crate) fn operation(request: RangeRequest) -> kv::Range {
    let (sort_order, sort_target) = (request.sort_order(), request.sort_target());
    kv::Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: sort_order as i32,
        sort_target: sort_target as i32,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

pub(crate) fn response(header: Header, reply: RangeReply) -> RangeResponse {
    RangeResponse {
        header,
        kvs: key_values(reply.kvs),
        more: reply.more,
        count: reply.count,
    }
}
