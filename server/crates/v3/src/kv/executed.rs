//! Finds the operations that a transaction executed, using the branch that its response reports.

use witan_api::v3::etcdserverpb::{
    TxnRequest, TxnResponse, request_op::Request, response_op::Response,
};
use witan_dialect::sampling::KeyOperation;

/// Calls `visit` with the kind and first key of each executed operation, including the operations of nested transactions. The
/// depth of nesting was checked earlier.
pub(super) fn each(
    request: &TxnRequest,
    response: &TxnResponse,
    visit: &mut impl FnMut(KeyOperation, &[u8]),
) {
    let branch = match response.succeeded {
        true => &request.success,
        false => &request.failure,
    };
    for (op, answer) in branch.iter().zip(&response.responses) {
        match (&op.request, &answer.response) {
            (Some(Request::RequestRange(range)), _) => visit(KeyOperation::Read, &range.key),
            (Some(Request::RequestPut(put)), _) => visit(KeyOperation::Write, &put.key),
            (Some(Request::RequestDeleteRange(delete)), _) => {
                visit(KeyOperation::Write, &delete.key);
            }
            (Some(Request::RequestTxn(nested)), Some(Response::ResponseTxn(answer))) => {
                each(nested, answer, visit);
            }
            // An operation and its response have the same kind, and empty operations were refused earlier.
            (Some(Request::RequestTxn(_)) | None, _) => {}
        }
    }
}
