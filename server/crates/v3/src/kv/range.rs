//! Range reads a key or a range at a revision.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    RangeRequest, RangeResponse,
    range_request::{SortOrder, SortTarget},
};
use witan_dialect::sampling::KeyOperation;
use witan_machine::{
    auth::AccessCheck,
    kv::{self, Kv, KvError, RangeReply},
    revision::Revision,
    view::View,
};
use witan_node::{CurrentView, MemoryBudget, RequestType};

use super::{
    Context, Header, ReadBounds, ReadReply, ReadSize, RpcResult, WHOLE_BYTES, WithPermit,
    authorize, header, key_values, pairs_bytes, read,
};
use crate::{
    error::RpcError,
    long_range::{self, RangeAnswer},
};

/// The pairs of a read may always use the memory budget divided by this number.
const PAIRS_DIVISOR: u64 = 8;

/// Maximum number of large reads that run concurrently (`JobKind::Read`). These reads share the memory of the cache for values.
const LARGE_READS: u64 = 4;

/// Validates, authorizes and executes a range. Records its duration and, if a sample is running, its key. The response shares
/// memory with the state until it is encoded; a large read keeps its permit until then.
pub(crate) async fn range(
    ctx: &Context,
    request: RangeRequest,
) -> RpcResult<WithPermit<RangeResponse>> {
    let began = Instant::now();
    ctx.count_key(KeyOperation::Read, &request.key);
    let bytes = pairs_bytes_max(ctx.node.memory());
    let answer = execute(ctx, request, bytes).await;
    // `execute` does not record this failure, because `grpc_range` repeats the read.
    if matches!(answer, Err(RpcError::ResponseTooLarge)) {
        ctx.v3_metrics.record_range(began.elapsed(), false);
    }
    ctx.node
        .request_took(RequestType::Range, answer.is_ok(), began.elapsed());
    answer
}

/// Like [`range`], but if the pairs exceed [`WHOLE_BYTES`], the response reads them while it is sent.
pub(crate) async fn grpc_range(
    ctx: &Context,
    request: RangeRequest,
) -> RpcResult<WithPermit<RangeAnswer>> {
    let began = Instant::now();
    ctx.count_key(KeyOperation::Read, &request.key);
    let answer = match execute(ctx, request.clone(), WHOLE_BYTES).await {
        // The box keeps the future of a short response small.
        Err(RpcError::ResponseTooLarge) => {
            let long = Box::pin(long_range::begin(ctx, request)).await;
            long.map(|long| long.map(RangeAnswer::Long))
        }
        whole => whole.map(|whole| whole.map(RangeAnswer::Whole)),
    };
    ctx.node
        .request_took(RequestType::Range, answer.is_ok(), began.elapsed());
    answer
}

/// Returns the maximum size in bytes of the pairs that a read may have in memory at the same time. The maximum is the read's
/// share of the cache for values, but at least an eighth of the memory budget.
pub(crate) fn pairs_bytes_max(memory: &MemoryBudget) -> u64 {
    let share = memory.cache().target() / LARGE_READS;
    share.max(memory.bytes() / PAIRS_DIVISOR)
}

/// Executes a range without counting its key in a sample. Fails with `ResponseTooLarge` if the pairs exceed `bytes` bytes; the
/// duration of such a range is not recorded.
async fn execute(
    ctx: &Context,
    request: RangeRequest,
    bytes: u64,
) -> RpcResult<WithPermit<RangeResponse>> {
    let view = view_for(ctx, &request).await?;
    let began = Instant::now();
    let range = operation(request);
    let check =
        |caller: AccessCheck<'_>, range: &kv::Range| caller.read(&range.key, &range.range_end);
    let work = |view: &View, range: &kv::Range, bounds: ReadBounds| {
        let kv = &view.machine.kv;
        let reply = kv.range_within(range, bounds.bytes, bounds.source)?;
        Ok::<_, KvError>((response(None, reply), kv.revision()))
    };
    let (answer, permit) = read(ctx, (view, bytes), range, size, check, work).await?;
    if !matches!(answer, Err(RpcError::ResponseTooLarge)) {
        ctx.v3_metrics.record_range(began.elapsed(), answer.is_ok());
    }
    let (mut answer, revision) = answer?;
    ctx.node.ranges_served(1);
    answer.header = header::at(&ctx.node, revision);
    Ok(WithPermit::new(answer, permit))
}

impl ReadReply for (RangeResponse, Revision) {
    fn bytes(&self) -> usize {
        pairs_bytes(&self.0.kvs)
    }
}

/// Classifies a range by the number of keys that it can read.
pub(crate) fn size(kv: &Kv, range: &kv::Range) -> ReadSize {
    ReadSize::by(
        |keys| kv.reads_more_than(range, keys),
        |keys| kv.reads_longer_than(range, keys),
    )
}

/// Validates and authorizes a range. Returns this member's state if the range is serializable. Otherwise, returns a
/// linearizable state. On a learner, fails unless the range is serializable.
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
    authorize::check_on(ctx, &view.machine, |caller| {
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

/// Converts a range to the state machine's type. Unknown sort options, which only logs of etcd 3.4 contain, have no effect. As
/// in etcd 3.7, ascending keys need no sort, so that a limit also limits the pairs that are read.
pub(crate) fn operation(request: RangeRequest) -> kv::Range {
    let sort_target = request.sort_target();
    let sort_order = match (request.sort_order(), sort_target) {
        (SortOrder::Ascend, SortTarget::Key) => SortOrder::None,
        (order, _) => order,
    };
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

#[cfg(test)]
mod tests {
    use witan_machine::kv::ValueSource;

    use super::*;
    use crate::test_context::{all_keys, put};

    #[test]
    fn a_limit_in_key_order_limits_the_pairs_that_are_read() {
        const VALUE_BYTES: usize = 1 << 10;
        let mut kv = Kv::default();
        for at in 0..100 {
            put(&mut kv, vec![b'k', at], vec![at; VALUE_BYTES]);
        }
        let read = |order: SortOrder| {
            let request = RangeRequest { limit: 1, sort_order: order as i32, ..all_keys() };
            let bytes = 4 * VALUE_BYTES as u64;
            let reply = kv.range_within(&operation(request), bytes, ValueSource::Memory);
            reply.map(|reply| (reply.kvs[0].key.clone(), reply.more, reply.count))
        };
        let first = Ok((vec![b'k', 0].into(), true, 100));
        assert_eq!(read(SortOrder::Ascend), first);
        assert_eq!(read(SortOrder::None), first);
        // Any other order needs all pairs.
        assert_eq!(read(SortOrder::Descend), Err(KvError::ResponseTooLarge));
    }
}
