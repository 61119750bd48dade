//! DeleteRange: deletes a key or a range.

use witan_api::v3::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse};
use witan_dialect::sampling::KeyOperation;
use witan_machine::kv::{self, DeleteReply};

use super::{
    Context, Header, LARGE_READ_KEYS, RpcResult, authorize, fits, header, key_values, permit_if,
    propose_in,
};
use crate::error::RpcError;

/// Validates, authorizes and proposes a deletion. If it returns many pairs, waits for a large-read permit.
pub(crate) async fn delete_range(
    ctx: &Context,
    request: DeleteRangeRequest,
) -> RpcResult<DeleteRangeResponse> {
    check(&request)?;
    fits(ctx, &request)?;
    ctx.count_key(KeyOperation::Write, &request.key);
    let delete = operation(request);
    authorize::before_proposal(ctx, |caller| caller.delete(&delete)).await?;
    let many = |state: &kv::Kv| state.delete_reads_more_than(&delete, LARGE_READ_KEYS);
    let permit = permit_if(ctx, delete.reads_span(), many).await?;
    let (done, _permit) = propose_in(ctx, delete, permit).await?;
    let header = header::at(&ctx.node, done.revision);
    Ok(response(header, done.output))
}

/// Fails with `EmptyKey` if a deletion has no key.
pub(crate) fn check(request: &DeleteRangeRequest) -> RpcResult<()> {
    if request.key.is_empty() {
        Err(RpcError::EmptyKey)
    } else {
        Ok(())
    }
}

/// Converts a deletion to the state machine's type. The read limits (`bounded`) apply only if it returns pairs.
pub fn operation(request: DeleteRangeRequest) -> kv::DeleteRange {
    kv::DeleteRange {
        key: request.key,
        range_end: request.range_end,
        prev_kv: request.prev_kv,
        // Without returned pairs, a deletion reads nothing and can delete any number of keys.
        bounded: request.prev_kv,
    }
}

pub(super) fn response(header: Header, reply: DeleteReply) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header,
        deleted: reply.deleted,
        prev_kvs: key_values(reply.prev_kvs),
    }
}
