//! Put sets the value of a key.

use witan_api::v3::etcdserverpb::{PutRequest, PutResponse};
use witan_dialect::sampling::KeyOperation;
use witan_machine::kv::{self, PutReply};

use super::{
    Context, Header, RpcResult, authorize, estimate, fits, header, key_value,
    proposal::{charge_if, propose_in},
};
use crate::error::RpcError;

/// Validates, authorizes and proposes a put. If a sample is running, counts the key before the authorization. If the previous
/// pair is requested and may not fit in memory, charges it until the put is applied.
pub(crate) async fn put(ctx: &Context, request: PutRequest) -> RpcResult<PutResponse> {
    check(&request)?;
    fits(ctx, &request)?;
    ctx.count_key(KeyOperation::Write, &request.key);
    let put = operation(request);
    let caller = authorize::before_proposal(ctx, |caller| caller.put(&put)).await?;
    let charge = charge_if(ctx, put.prev_kv, |state| estimate::put_bytes(state, &put)).await?;
    let done = match charge {
        // The box keeps the usual future small.
        Some(charge) => {
            let held = (None, Some(charge));
            Box::pin(propose_in(ctx, put, held)).await?.0
        }
        None => ctx.node.propose_for(put, caller).await?,
    };
    let header = header::at(&ctx.node, done.revision);
    Ok(response(header, done.output))
}

/// Fails if a put has no key, or contains a value or a lease and also asks to ignore it. Validates in etcd's order.
pub(crate) fn check(request: &PutRequest) -> RpcResult<()> {
    if request.key.is_empty() {
        Err(RpcError::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(RpcError::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(RpcError::LeaseProvided)
    } else {
        Ok(())
    }
}

/// Converts a put to the state machine's type.
pub fn operation(request: PutRequest) -> kv::Put {
    kv::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
        kept_bytes_max: None,
    }
}

pub(super) fn response(header: Header, reply: PutReply) -> PutResponse {
    PutResponse { header, prev_kv: reply.prev_kv.map(key_value) }
}
