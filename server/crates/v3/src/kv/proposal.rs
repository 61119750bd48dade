//! Proposes commands that return pairs.
//!
//! A command of few keys needs no permit, and one turn of the replica applies thousands of commands. If not all values fit in
//! memory, the pairs of each of these commands can take additional memory. In that case, the pairs are charged before the
//! command is proposed. Values that fit in memory are shared with the state.

use witan_base::account::{Charge, Permit};
use witan_dialect::{Context, jobs::run_to_end, reply};
use witan_machine::{kv::Kv, operation::Operation};
use witan_node::Applied;

use crate::{RpcResult, authorize, error::RpcError};

/// Charges the pairs of a command that has no permit and may return pairs (`may_return_pairs`), if some values may not fit in
/// memory. `bytes` returns the size of the pairs in the latest state. Fails with `TooManyRequests` if the memory for unread
/// responses is used up.
pub(super) async fn charge_if(
    ctx: &Context,
    may_return_pairs: bool,
    bytes: impl FnOnce(&Kv) -> u64,
) -> RpcResult<Option<Charge>> {
    // The size includes keys and metadata, so pairs can be charged although all values are in memory.
    if may_return_pairs && ctx.node.size_bytes() > ctx.node.memory().cache().target() {
        // The box keeps the usual future small.
        Box::pin(charge_pairs(ctx, bytes)).await
    } else {
        Ok(None)
    }
}

/// Charges the pairs that a command returns until the returned value is dropped. Charges nothing for short pairs.
async fn charge_pairs(ctx: &Context, bytes: impl FnOnce(&Kv) -> u64) -> RpcResult<Option<Charge>> {
    let bytes = bytes(&ctx.node.view().await?.machine.kv);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let charge = reply::charge(Some(ctx.account()), bytes);
    charge.map_err(|_| RpcError::TooManyRequests)
}

/// Proposes an operation. Keeps its permit and its charge, if any, until the operation is applied or times out. A disconnect
/// does not release them earlier, because the operation is executed anyway. Returns the permit.
pub(super) async fn propose_in<O: Operation<Error: Into<RpcError>> + 'static>(
    ctx: &Context,
    operation: O,
    held: (Option<Permit>, Option<Charge>),
) -> RpcResult<(Applied<O::Output>, Option<Permit>)> {
    if let (None, None) = held {
        return Ok((authorize::propose(ctx, operation).await?, None));
    }
    let ctx = ctx.clone();
    let work = async move { authorize::propose(&ctx, operation).await };
    let (done, (permit, _charge)) = Box::pin(run_to_end(held, work)).await?;
    Ok((done?, permit))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::task::yield_now;
    use witan_api::v3::etcdserverpb::PutRequest;
    use witan_base::account::Resource;
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::{
        kv,
        test_context::{context, put},
    };

    #[test]
    fn returned_pairs_that_may_be_on_disk_are_charged_until_they_are_read() {
        let value = vec![b'v'; 1 << 20];
        actix_rt::System::new().block_on(async {
            for fits in [true, false] {
                let mut state = Kv::default();
                put(&mut state, "k", value.clone());
                let mut states = NodeOfStates::begin(&state);
                let ctx = context(states.node.clone());
                if !fits {
                    ctx.node.memory().cache().set_target(0);
                }
                let charged = || ctx.account().charged(Resource::Answers);
                let request = PutRequest {
                    key: "k".into(),
                    value: value.clone().into(),
                    prev_kv: true,
                    ..PutRequest::default()
                };
                let mut call = Box::pin(kv::put(&ctx, request.clone()));
                assert!(call.as_mut().now_or_never().is_none());
                assert_eq!(charged() > value.len(), !fits);
                let answer = loop {
                    if let Some(answer) = call.as_mut().now_or_never() {
                        break answer.expect("a put");
                    }
                    states.apply(&mut state);
                    yield_now().await;
                };
                assert_eq!(answer.prev_kv.expect("a pair").value, value);
                assert_eq!(charged(), 0);
                // The next put is executed even without its client.
                let mut call = Box::pin(kv::put(&ctx, request));
                assert!(call.as_mut().now_or_never().is_none());
                drop(call);
                assert_eq!(charged() > value.len(), !fits);
                while charged() > 0 {
                    states.apply(&mut state);
                    yield_now().await;
                }
            }
        });
    }
}
