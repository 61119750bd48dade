//! Bounds and charges the list elements in a request before it is decoded. An empty operation of a transaction takes two bytes
//! in a message, but more than 100 bytes in memory.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, merge_loop, skip_field},
};
use witan_api::v3::{
    etcdserverpb::RequestOp,
    shape::{FieldKind, MessageShape},
};
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};

use super::RpcResult;
use crate::{error::RpcError, gateway::RECURSION_LIMIT};

/// Size in bytes of an operation in memory: once in the request, and once in its command.
const ELEMENT_BYTES: usize = 2 * size_of::<RequestOp>();

/// The number of elements in all lists of a message and its nested messages.
#[derive(Debug, Default)]
struct ListElements {
    /// Operations and comparisons of transactions.
    messages: usize,
    /// URLs of members.
    texts: usize,
}

/// Returns the number of elements in all lists of an encoded message with this shape. Returns 0 if the message is too short for
/// elements that must be charged. Fails with `TooManyOps` for more than `max` messages, and with `MemberBadUrls` for more than
/// `max` strings. Does not report other errors, which the decoder finds.
pub(super) fn check(message: &[u8], shape: &MessageShape, max: usize) -> RpcResult<usize> {
    // An element takes at least two bytes.
    let elements_max = message.len() / 2;
    if elements_max <= max && elements_max * ELEMENT_BYTES <= SMALL_BYTES {
        return Ok(0);
    }
    let (mut found, mut rest) = (ListElements::default(), message);
    while !rest.is_empty() {
        // The decoder also stops at this error.
        if count_field(&mut found, &mut rest, shape, 0).is_err() {
            break;
        }
    }
    if found.messages > max {
        return Err(RpcError::TooManyOps);
    }
    if found.texts > max {
        return Err(RpcError::MemberBadUrls);
    }
    Ok(found.messages + found.texts)
}

/// Returns the charge for the memory of this number of elements, or `None` for few elements. Fails with `TooManyRequests` if
/// the charge is refused.
pub(super) fn charge(account: &Account, elements: usize) -> RpcResult<Option<Charge>> {
    let bytes = elements * ELEMENT_BYTES;
    if bytes <= SMALL_BYTES {
        return Ok(None);
    }
    let charge = account.hold(Resource::Requests, bytes);
    charge.map(Some).ok_or(RpcError::TooManyRequests)
}

/// Reads a field, including its nested messages, and counts the list elements. Does not count elements deeper than
/// `RECURSION_LIMIT`, which the decoder refuses. Fails only where the decoder also fails.
fn count_field(
    found: &mut ListElements,
    rest: &mut &[u8],
    shape: &MessageShape,
    depth: usize,
) -> Result<(), DecodeError> {
    let (number, wire_type) = decode_key(rest)?;
    let field = shape.fields.iter().find(|field| field.number == number);
    if let Some(field) = field {
        let is_message = matches!(field.kind, FieldKind::Message(_));
        found.messages += usize::from(field.list && is_message);
        found.texts += usize::from(field.list && !is_message);
        if let FieldKind::Message(nested) = field.kind
            && wire_type == WireType::LengthDelimited
            && depth < RECURSION_LIMIT
        {
            return merge_loop(found, rest, DecodeContext::default(), |found, rest, _| {
                count_field(found, rest, nested, depth + 1)
            });
        }
    }
    skip_field(wire_type, number, rest, DecodeContext::default())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use witan_api::v3::{
        etcdserverpb::{Compare, MemberUpdateRequest, PutRequest, TxnRequest, request_op::Request},
        shape::Shaped,
    };
    use witan_base::{account::Totals, metrics::Register};

    use super::*;

    const MAX: usize = 64;

    fn checked(txn: &TxnRequest) -> RpcResult<()> {
        check(&txn.encode_to_vec(), TxnRequest::SHAPE, MAX).map(drop)
    }

    fn txn_of(operations: usize) -> TxnRequest {
        TxnRequest {
            success: vec![RequestOp::default(); operations],
            ..TxnRequest::default()
        }
    }

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    #[test]
    fn the_elements_of_all_lists_are_counted() {
        let (too_many, half) = (Err(RpcError::TooManyOps), MAX / 2);
        assert_eq!(checked(&txn_of(MAX)), Ok(()));
        assert_eq!(checked(&txn_of(MAX + 1)), too_many);
        let mixed = |compares: usize| TxnRequest {
            compare: vec![Compare::default(); compares],
            failure: vec![RequestOp::default(); half],
            ..txn_of(half)
        };
        assert_eq!(checked(&mixed(0)), Ok(()));
        assert_eq!(checked(&mixed(1)), too_many);
        let nested = |operations: usize| TxnRequest {
            failure: vec![op(Request::RequestTxn(txn_of(operations)))],
            ..txn_of(half)
        };
        assert_eq!(checked(&nested(half - 1)), Ok(()));
        assert_eq!(checked(&nested(half)), too_many);
        let peer_urls = vec![String::new(); MAX + 1];
        let update = MemberUpdateRequest { peer_urls, ..MemberUpdateRequest::default() };
        let update = update.encode_to_vec();
        let checked = check(&update, MemberUpdateRequest::SHAPE, MAX);
        assert_eq!(checked, Err(RpcError::MemberBadUrls));
    }

    #[test]
    fn elements_are_charged() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other] = [(); 2].map(|()| totals.open());
        let txn = txn_of(SMALL_BYTES).encode_to_vec();
        let elements = check(&txn, TxnRequest::SHAPE, SMALL_BYTES);
        assert_eq!(elements, Ok(SMALL_BYTES));
        let charged = || account.charged(Resource::Requests);
        let charge = |elements: usize| charge(&account, elements);
        let held = charge(SMALL_BYTES).expect("there is memory");
        assert_eq!(charged(), SMALL_BYTES * ELEMENT_BYTES);
        drop(held);
        assert!(matches!(charge(1), Ok(None)));
        // The message is small, but its elements are not.
        let txn = txn_of(SMALL_BYTES / 4).encode_to_vec();
        let elements = check(&txn, TxnRequest::SHAPE, SMALL_BYTES);
        assert_eq!(elements, Ok(SMALL_BYTES / 4));
        let _all = other.hold(Resource::Requests, Resource::Requests.limit());
        let refused = charge(SMALL_BYTES).expect_err("no memory is left");
        assert_eq!((refused, charged()), (RpcError::TooManyRequests, 0));
    }

    #[test]
    fn long_values_are_not_counted() {
        let value = txn_of(2 * MAX).encode_to_vec().into();
        let put = PutRequest { value, ..PutRequest::default() };
        let put = op(Request::RequestPut(put));
        let txn = TxnRequest { success: vec![put], ..TxnRequest::default() };
        assert_eq!(checked(&txn), Ok(()));
    }

    /// The decoder reads the operations of the nested transaction before it finds that the operation around it is too short.
    #[test]
    fn operations_beyond_the_end_of_the_message_around_them_are_counted() {
        let operations = txn_of(MAX + 1).encode_to_vec();
        let mut message = vec![
            2 << 3 | 2, // TxnRequest.success
            3,
            4 << 3 | 2, // RequestOp.request_txn
        ];
        prost::encoding::encode_varint(operations.len() as u64, &mut message);
        message.extend_from_slice(&operations);
        assert!(TxnRequest::decode(&*message).is_err());
        let checked = check(&message, TxnRequest::SHAPE, MAX);
        assert_eq!(checked, Err(RpcError::TooManyOps));
    }
}
