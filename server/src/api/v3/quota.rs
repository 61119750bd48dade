//! `--quota-backend-bytes`: what would make the key space outgrow it is refused, and the alarm is raised
//! that makes every member refuse what grows. A request comes here once it is known to be one that
//! could be done, by somebody who may: others raise no alarm.
//!
//! What the alarm stops is decided by the core (`machine/alarm.rs`). Both key spaces, users and roles
//! count together; what v1 and v2 add, and what is added about users and members, is looked at in
//! `node/room.rs`.

use super::Answer;
use crate::api::Context;
use witan_api::v3::{
    error::Error,
    etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request},
};

/// What etcd adds to the key and the value of each put when it reckons what that will take.
const PUT_BYTES: u64 = 256;

/// Whether there is room for a request that takes `cost` bytes. One that takes nothing always passes.
pub(super) async fn admit(ctx: &Context, cost: u64) -> Answer<()> {
    let Some(quota) = ctx.settings.quota_bytes else {
        return Ok(());
    };
    let size = ctx.node.quota_used_bytes();
    if cost == 0 || size.saturating_add(cost) < quota {
        return Ok(());
    }
    ctx.node.raise_no_space().await;
    Err(Error::NoSpace)
}

pub(super) fn of_put(request: &PutRequest) -> u64 {
    PUT_BYTES + (request.key.len() + request.value.len()) as u64
}

/// What the larger branch takes.
pub(super) fn of_txn(request: &TxnRequest) -> u64 {
    of_ops(&request.success).max(of_ops(&request.failure))
}

fn of_ops(ops: &[RequestOp]) -> u64 {
    ops.iter()
        .map(|op| match &op.request {
            Some(Request::RequestPut(put)) => of_put(put),
            Some(Request::RequestTxn(txn)) => of_txn(txn),
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: usize) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: "k".into(),
                value: vec![0; value].into(),
                ..Default::default()
            })),
        }
    }

    #[test]
    fn a_transaction_takes_what_its_larger_branch_does() {
        let inner = TxnRequest {
            failure: vec![put(10)],
            ..Default::default()
        };
        let nested = RequestOp {
            request: Some(Request::RequestTxn(inner)),
        };
        let txn = TxnRequest {
            success: vec![put(100)],
            failure: vec![put(0), nested],
            ..Default::default()
        };
        assert_eq!(of_txn(&txn), 257 + 257 + 10);
        assert_eq!(of_txn(&TxnRequest::default()), 0);
    }
}
