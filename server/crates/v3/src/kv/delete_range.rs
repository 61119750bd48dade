//! DeleteRange deletes a key or a range.

use witan_api::v3::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse};
use witan_dialect::sampling::KeyOperation;
use witan_machine::kv::{self, DeleteReply};

use super::{
    Context, Header, LARGE_READ_KEYS, RpcResult, WHOLE_BYTES, WithPermit, authorize, estimate,
    fits, header, key_values, permit_if,
    proposal::{charge_if, propose_in},
};
use crate::error::RpcError;

/// Validates, authorizes and proposes a deletion. If a sample is running, counts the key before the authorization. If the
/// deletion returns many or long pairs, waits for a large-read permit and keeps it until the response is encoded. If other
/// returned pairs may not fit in memory, charges them until the deletion is applied.
pub(crate) async fn delete_range(
    ctx: &Context,
    request: DeleteRangeRequest,
) -> RpcResult<WithPermit<DeleteRangeResponse>> {
    check(&request)?;
    fits(ctx, &request)?;
    ctx.count_key(KeyOperation::Write, &request.key);
    let delete = operation(request);
    authorize::before_proposal(ctx, |caller| caller.delete(&delete)).await?;
    let is_large = |state: &kv::Kv| {
        state.delete_reads_more_than(&delete, LARGE_READ_KEYS)
            || estimate::deletion_bytes(state, &delete) > WHOLE_BYTES
    };
    let permit = permit_if(ctx, delete.reads_span(), is_large).await?;
    let bytes = |state: &kv::Kv| estimate::deletion_bytes(state, &delete);
    let charge = charge_if(ctx, delete.prev_kv && permit.is_none(), bytes).await?;
    let (done, permit) = propose_in(ctx, delete, (permit, charge)).await?;
    let header = header::at(&ctx.node, done.revision);
    Ok(WithPermit::new(response(header, done.output), permit))
}

/// Fails with `EmptyKey` if a deletion has no key.
pub(crate) fn check(request: &DeleteRangeRequest) -> RpcResult<()> {
    if request.key.is_empty() {
        Err(RpcError::EmptyKey)
    } else {
        Ok(())
    }
}

/// Converts a deletion to the state machine's type. The read limits (`bounded`) apply only if the deletion returns pairs.
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::task::yield_now;
    use witan_base::account::JobKind;
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::{context, put};

    #[test]
    fn a_response_with_many_or_long_pairs_keeps_its_permit() {
        actix_rt::System::new().block_on(async {
            for (keys, value_len) in [(LARGE_READ_KEYS + 1, 5), (5, 1 << 20)] {
                let mut state = kv::Kv::default();
                for key in 0..keys {
                    put(&mut state, format!("k{key:04}"), vec![b'v'; value_len]);
                }
                let mut states = NodeOfStates::begin(&state);
                let ctx = context(states.node.clone());
                let _other = ctx.account().permit(JobKind::Read).await;
                let is_free = || ctx.account().try_permit(JobKind::Read).is_some();
                let (key, range_end) = ("k".into(), "l".into());
                let request = DeleteRangeRequest { key, range_end, prev_kv: true };
                let mut deletion = Box::pin(delete_range(&ctx, request));
                let answer = loop {
                    if let Some(answer) = deletion.as_mut().now_or_never() {
                        break answer.expect("a deletion");
                    }
                    yield_now().await;
                    states.apply(&mut state);
                };
                assert_eq!(answer.response.prev_kvs.len() as u64, keys);
                assert!(!is_free(), "{keys} keys");
                drop(answer);
                assert!(is_free(), "{keys} keys");
            }
        });
    }
}
