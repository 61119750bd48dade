//! Finds the operations that a transaction executed, by the branch that its response reports.

use witan_api::v3::etcdserverpb::{
    TxnRequest, TxnResponse, request_op::Request, response_op::Response,
};
use witan_dialect::sampling::KeyOperation;

/// Calls `visit` with each executed operation and its first key, including nested transactions of checked depth.
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

#[cfg(test)]
mod tests {
    use witan_api::v3::etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp,
    };

    use super::*;

    fn ops(ops: impl IntoIterator<Item = Request>) -> Vec<RequestOp> {
        let op = |request| RequestOp { request: Some(request) };
        ops.into_iter().map(op).collect()
    }

    fn answered(succeeded: bool, responses: Vec<Option<Response>>) -> TxnResponse {
        let responses = responses.into_iter();
        let responses = responses.map(|response| ResponseOp { response }).collect();
        TxnResponse { succeeded, responses, ..TxnResponse::default() }
    }

    #[test]
    fn the_branch_that_was_executed_counts_also_of_a_nested_transaction() {
        let put = |key: &'static str| {
            Request::RequestPut(PutRequest { key: key.into(), ..PutRequest::default() })
        };
        let range = |key: &'static str| {
            Request::RequestRange(RangeRequest { key: key.into(), ..RangeRequest::default() })
        };
        let delete = |key: &'static str| {
            let key = key.into();
            Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() })
        };
        let nested = TxnRequest {
            success: ops([put("no")]),
            failure: ops([delete("d")]),
            ..TxnRequest::default()
        };
        let request = TxnRequest {
            success: ops([put("a"), Request::RequestTxn(nested), range("b")]),
            failure: ops([range("c")]),
            ..TxnRequest::default()
        };
        let found = |response: &TxnResponse| {
            let mut found = Vec::new();
            each(&request, response, &mut |operation, key| {
                found.push((operation, key.to_vec()));
            });
            found
        };
        let inner = answered(false, vec![None]);
        let outer = answered(true, vec![None, Some(Response::ResponseTxn(inner)), None]);
        let key = |key: &str| key.as_bytes().to_vec();
        assert_eq!(
            found(&outer),
            [
                (KeyOperation::Write, key("a")),
                (KeyOperation::Write, key("d")),
                (KeyOperation::Read, key("b")),
            ]
        );
        let failed = answered(false, vec![None]);
        assert_eq!(found(&failed), [(KeyOperation::Read, key("c"))]);
    }
}
