//! What a request must look like before it goes anywhere, in the order in which etcd looks.

use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
};

use super::{Answer, overlap::Writes};

pub(in crate::api) fn range(request: &RangeRequest) -> Answer<()> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(Error::InvalidSortOption)
    }
}

pub(in crate::api) fn put(request: &PutRequest) -> Answer<()> {
    if request.key.is_empty() {
        Err(Error::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(Error::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(Error::LeaseProvided)
    } else {
        Ok(())
    }
}

pub(in crate::api) fn delete_range(request: &DeleteRangeRequest) -> Answer<()> {
    if request.key.is_empty() {
        Err(Error::EmptyKey)
    } else {
        Ok(())
    }
}

/// Transactions below the outermost one. The log's codec reads messages up to 100 levels deep: two
/// stand around the outermost transaction, and each takes two.
const TXNS_NESTED_MAX: usize = 48;

/// Operations and comparisons of a transaction with all that is nested in it, in units of
/// `--max-txn-ops`. etcd bounds each list alone, so that nesting multiplies without bound.
const TXN_LISTS_MAX: usize = 64;

/// No list may be longer than `ops_max`; what the longest one uses is taken from the nested ones.
#[cfg(any(test, feature = "fuzz"))]
pub(in crate::api) fn txn(request: &TxnRequest, ops_max: usize) -> Answer<()> {
    operations(request, ops_max)?;
    overlaps(request)
}

/// Checks each operation by itself, in linear time. Returns how many operations there are.
pub(super) fn operations(request: &TxnRequest, ops_max: usize) -> Answer<usize> {
    let total = ops_max.saturating_mul(TXN_LISTS_MAX);
    let mut left = total;
    each(request, ops_max, TXNS_NESTED_MAX, &mut left)?;
    Ok(total - left)
}

fn each(request: &TxnRequest, ops_max: usize, nested_max: usize, total: &mut usize) -> Answer<()> {
    let lists = [
        request.compare.len(),
        request.success.len(),
        request.failure.len(),
    ];
    let longest = lists.into_iter().max().unwrap_or_default();
    let left = ops_max.checked_sub(longest).ok_or(Error::TooManyOps)?;
    let all = lists.into_iter().sum();
    *total = total.checked_sub(all).ok_or(Error::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(request)) => {
                let deeper = nested_max.checked_sub(1).ok_or(Error::TooManyOps)?;
                each(request, left, deeper, total)?;
            }
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// No key may be written twice by what can run together. Takes n log n steps.
pub(super) fn overlaps(request: &TxnRequest) -> Answer<()> {
    Writes::of(&request.success)?;
    Writes::of(&request.failure)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use witan_api::v3::etcdserverpb::RequestOp;

    use super::*;

    fn op_put(key: &str) -> RequestOp {
        let put = PutRequest {
            key: key.to_owned().into(),
            ..Default::default()
        };
        RequestOp {
            request: Some(Request::RequestPut(put)),
        }
    }

    fn op_delete(key: &str, end: &str) -> RequestOp {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        let delete = DeleteRangeRequest {
            key,
            range_end,
            ..Default::default()
        };
        RequestOp {
            request: Some(Request::RequestDeleteRange(delete)),
        }
    }

    fn op_txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        let txn = TxnRequest {
            compare: Vec::new(),
            success,
            failure,
        };
        RequestOp {
            request: Some(Request::RequestTxn(txn)),
        }
    }

    fn check(success: Vec<RequestOp>) -> Answer<()> {
        txn(
            &TxnRequest {
                success,
                ..Default::default()
            },
            128,
        )
    }

    const DUPLICATE: Answer<()> = Err(Error::DuplicateKey);

    #[test]
    fn a_key_is_written_once() {
        assert_eq!(check(vec![op_put("a"), op_put("b")]), Ok(()));
        assert_eq!(check(vec![op_put("a"), op_put("a")]), DUPLICATE);
        assert_eq!(check(vec![op_put("a"), op_delete("a", "")]), DUPLICATE);
        assert_eq!(check(vec![op_delete("a", "c"), op_put("b")]), DUPLICATE);
        assert_eq!(check(vec![op_delete("a", "c"), op_put("c")]), Ok(()));
        assert_eq!(check(vec![op_delete("a", ""), op_delete("a", "b")]), Ok(()));
        assert_eq!(check(vec![op_delete("a", "\0"), op_put("b")]), Ok(()));
    }

    #[test]
    fn branches_of_a_nested_txn_may_share_keys_with_each_other_only() {
        assert_eq!(
            check(vec![op_txn(vec![op_put("a")], vec![op_put("a")])]),
            Ok(())
        );
        assert_eq!(
            check(vec![op_txn(vec![op_put("a")], vec![]), op_put("a")]),
            DUPLICATE
        );
        assert_eq!(
            check(vec![op_txn(vec![], vec![op_put("a")]), op_put("a")]),
            DUPLICATE
        );
        let two = vec![
            op_txn(vec![op_put("a")], vec![]),
            op_txn(vec![], vec![op_put("a")]),
        ];
        assert_eq!(check(two), DUPLICATE);
        let deleted = vec![op_txn(vec![op_delete("a", "c")], vec![]), op_put("b")];
        assert_eq!(check(deleted), DUPLICATE);
        let outer = vec![op_delete("a", "c"), op_txn(vec![], vec![op_put("b")])];
        assert_eq!(check(outer), DUPLICATE);
    }

    #[test]
    fn nesting_uses_up_operations() {
        let many = |count: usize| {
            (0..count)
                .map(|i| op_put(&i.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(check(many(128)), Ok(()));
        assert_eq!(check(many(129)), Err(Error::TooManyOps));
        assert_eq!(check(vec![op_txn(many(127), vec![])]), Ok(()));
        assert_eq!(
            check(vec![op_txn(many(128), vec![])]),
            Err(Error::TooManyOps)
        );
    }

    /// Lists within the bound, nested so that together they are far beyond it.
    #[test]
    fn nesting_does_not_multiply_without_bound() {
        let range = || RequestOp {
            request: Some(Request::RequestRange(RangeRequest {
                key: "k".into(),
                ..Default::default()
            })),
        };
        let txns = |inner: &[RequestOp], times: usize| {
            (0..times)
                .map(|_| op_txn(inner.to_vec(), vec![]))
                .collect::<Vec<_>>()
        };
        let ranges: Vec<_> = (0..30).map(|_| range()).collect();
        let sane = txns(&txns(&ranges, 30), 8);
        assert_eq!(check(sane), Ok(()));
        let vast = txns(&txns(&ranges, 30), 30);
        assert_eq!(check(vast), Err(Error::TooManyOps));
    }

    #[test]
    fn nesting_ends_where_the_log_could_not_hold_it() {
        let deep = |depth: usize| (0..depth).fold(op_put("a"), |op, _| op_txn(vec![op], vec![]));
        assert_eq!(check(vec![deep(TXNS_NESTED_MAX)]), Ok(()));
        assert_eq!(
            check(vec![deep(TXNS_NESTED_MAX + 1)]),
            Err(Error::TooManyOps)
        );
    }

    #[test]
    fn the_first_fault_in_etcds_order_is_told() {
        assert_eq!(
            check(vec![RequestOp { request: None }]),
            Err(Error::KeyNotFound)
        );
        assert_eq!(
            check(vec![op_put(""), op_put("a"), op_put("a")]),
            Err(Error::EmptyKey)
        );
        let both = PutRequest {
            key: "a".into(),
            value: "v".into(),
            lease: 1,
            ignore_value: true,
            ignore_lease: true,
            ..Default::default()
        };
        assert_eq!(put(&both), Err(Error::ValueProvided));
        let lease = PutRequest {
            value: Bytes::new(),
            ..both
        };
        assert_eq!(put(&lease), Err(Error::LeaseProvided));
        let range_request = RangeRequest {
            key: "a".into(),
            sort_order: 7,
            ..Default::default()
        };
        assert_eq!(range(&range_request), Err(Error::InvalidSortOption));
        assert_eq!(
            range(&RangeRequest {
                key: Bytes::new(),
                ..range_request
            }),
            Err(Error::EmptyKey)
        );
    }
}
