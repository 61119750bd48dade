//! Decodes the requests and encodes the responses of gRPC calls, on another thread if the messages are large. `long_range`
//! encodes a long range while it is sent. The transport has already decompressed the messages.

use std::marker::PhantomData;

use bytes::{BufMut as _, Bytes};
use futures_util::Stream;
use http::{Response, header::CONTENT_TYPE};
use prost::Message;
use tonic::{
    Status, Streaming,
    body::Body,
    codec::{Codec as _, EncodeBody, EncodeBuf, Encoder, SingleMessageCompressionOverride},
    metadata::GRPC_CONTENT_TYPE,
};
use tonic_prost::ProstCodec;
use witan_api::v3::{
    etcdserverpb::{
        DeleteRangeResponse, LeaseTimeToLiveResponse, RangeResponse, TxnResponse,
        response_op::Response as OpResponse,
    },
    mvccpb::KeyValue,
    shape::Shaped,
};
use witan_base::account::{Account, Charge};
use witan_dialect::{Context, blocking, jobs::WithPermit, reply};
use witan_transport::{Outgoing, RequestBody, RequestMessages};

use super::RpcResult;
use crate::{error::RpcError, kv::txn, list_elements};

/// Size in bytes above which a request is decoded on another thread, because it can contain many operations.
const INLINE_REQUEST_BYTES: usize = 256 << 10;

/// Maximum number of pairs in a response that the worker encodes itself. The encoding takes at most 1 ms.
const INLINE_PAIRS: usize = 16_384;

/// Maximum size in bytes of the keys and values in a response that the worker encodes itself.
const INLINE_BYTES: usize = 4 << 20;

/// Size in bytes of the prefix of a gRPC message: a flag and the length.
const PREFIX_BYTES: usize = 5;

/// The response of a unary call.
#[derive(Debug)]
pub(super) enum UnaryResponse<M> {
    Whole(M),
    /// A response that is encoded while it is sent.
    Long(Response<Body>),
}

impl<M: MessageResponse> UnaryResponse<M> {
    /// Returns the message, or `None` if it is encoded while it is sent.
    fn message(&self) -> Option<&M> {
        match self {
            Self::Whole(message) => Some(message),
            Self::Long(_) => None,
        }
    }

    fn into_outgoing(self) -> Outgoing {
        match self {
            Self::Whole(message) => Outgoing::Message(framed(&message)),
            Self::Long(response) => Outgoing::Response(response),
        }
    }
}

/// A response that is a message in memory.
pub(super) trait MessageResponse: Message + Sized + 'static {
    /// Returns the number of pairs and the total size in bytes of their keys and values. The size is 0 if the number exceeds
    /// `INLINE_PAIRS`, because computing the size takes a long time. By default, returns 0 pairs and the encoded length.
    fn weight(&self) -> (usize, usize) {
        (0, self.encoded_len())
    }
}

impl MessageResponse for RangeResponse {
    fn weight(&self) -> (usize, usize) {
        weight(&self.kvs)
    }
}

impl MessageResponse for DeleteRangeResponse {
    fn weight(&self) -> (usize, usize) {
        weight(&self.prev_kvs)
    }
}

impl MessageResponse for LeaseTimeToLiveResponse {}

impl MessageResponse for TxnResponse {
    /// Adds the weights of all responses. Counts a pair for each put or deletion, even if its response has no pairs.
    fn weight(&self) -> (usize, usize) {
        let weights = self.responses.iter().map(|op| match &op.response {
            Some(OpResponse::ResponseRange(range)) => range.weight(),
            Some(OpResponse::ResponsePut(put)) => {
                (1, put.prev_kv.as_ref().map_or(0, |kv| kv.value.len()))
            }
            Some(OpResponse::ResponseDeleteRange(delete)) => {
                let (pairs, bytes) = delete.weight();
                (1 + pairs, bytes)
            }
            // Count nested pairs twice, because each level computes their length again.
            Some(OpResponse::ResponseTxn(txn)) => {
                let (pairs, bytes) = txn.weight();
                (pairs.saturating_mul(2), bytes)
            }
            None => (0, 0),
        });
        weights.fold((0, 0), |sum: (usize, usize), each| {
            (sum.0.saturating_add(each.0), sum.1 + each.1)
        })
    }
}

/// Returns the [`MessageResponse::weight`] of a list of pairs.
fn weight(pairs: &[KeyValue]) -> (usize, usize) {
    if pairs.len() > INLINE_PAIRS {
        return (pairs.len(), 0);
    }
    let bytes = pairs.iter().map(|kv| kv.key.len() + kv.value.len());
    (pairs.len(), bytes.sum())
}

/// Decodes a request, runs `verb` and encodes the response. Holds the permit until the response is encoded or, if it is encoded
/// while it is sent, until sending starts. Charges a large response before encoding it, so that the encodings of all
/// connections together stay within the limit. Fails with `TooManyRequests` if the charge is refused.
pub(super) async fn respond<Q, M>(
    ctx: &Context,
    body: &Bytes,
    verb: impl AsyncFnOnce(&Context, Q) -> RpcResult<WithPermit<UnaryResponse<M>>>,
) -> Result<Outgoing, Status>
where
    Q: Shaped + Message + Default + 'static,
    M: MessageResponse,
{
    let (request, _charge) = read(ctx, body).await?;
    let with_permit = verb(ctx, request).await?;
    let message = with_permit.response.message();
    let (pairs, bytes) = message.map_or((0, 0), M::weight);
    if pairs <= INLINE_PAIRS && bytes <= INLINE_BYTES {
        return Ok(with_permit.response.into_outgoing());
    }
    let account = ctx.account().clone();
    let encode = move || {
        let length = with_permit.response.message().map_or(0, M::encoded_len);
        let charge = reply::charge(Some(&account), length);
        let _charge = charge.map_err(|_| RpcError::TooManyRequests)?;
        // The closure owns the permit, which therefore stays taken if the client disconnects.
        Ok::<_, RpcError>(with_permit.map(UnaryResponse::into_outgoing))
    };
    let encoded = Box::pin(blocking::run(ctx.account(), encode)).await;
    Ok(encoded.map_err(RpcError::from)??.response)
}

/// Decodes a unary call's message from its collected body, on another thread if the message is large. Also returns the charge
/// for the elements of its lists.
async fn read<Q>(ctx: &Context, body: &Bytes) -> Result<(Q, Option<Charge>), Status>
where
    Q: Shaped + Message + Default + 'static,
{
    let message = message(body)?;
    let elements_max = txn::total_max(ctx.settings.max_txn_ops);
    if message.len() <= INLINE_REQUEST_BYTES {
        return decode(ctx.account(), message, elements_max);
    }
    let account = ctx.account().clone();
    let decode = move || decode(&account, message, elements_max);
    let decoded = Box::pin(blocking::run(ctx.account(), decode)).await;
    decoded.map_err(RpcError::from)?
}

/// Decodes a message. Also returns the charge for the elements of its lists. Fails before decoding if its lists have more than
/// `elements_max` elements, or if the charge is refused.
pub(super) fn decode<Q: Shaped + Message + Default>(
    account: &Account,
    message: Bytes,
    elements_max: usize,
) -> Result<(Q, Option<Charge>), Status> {
    let elements = list_elements::check(&message, Q::SHAPE, elements_max)?;
    let charge = list_elements::charge(account, elements)?;
    let request = Q::decode(message).map_err(|e| Status::internal(e.to_string()))?;
    Ok((request, charge))
}

/// Decodes the messages of a request body as they arrive.
pub(super) fn read_stream<Q: Message + Default + 'static>(body: RequestBody) -> Streaming<Q> {
    let decoder = ProstCodec::<Q, Q>::default().decoder();
    // The transport enforces the limit on message size.
    Streaming::new_request(decoder, RequestMessages(body), None, Some(usize::MAX))
}

/// Returns the first request message in a streamed body and ignores later messages. Fails if the body contains no message.
pub(super) async fn read_first<Q: Message + Default + 'static>(
    body: RequestBody,
) -> Result<Q, Status> {
    let first = read_stream(body).message().await?;
    first.ok_or_else(|| Status::internal("Missing request message."))
}

/// Builds the response of a streaming call.
pub(super) fn stream<A: Message + Default + 'static>(
    responses: impl Stream<Item = Result<A, Status>> + Send + 'static,
) -> Outgoing {
    let encoding = SingleMessageCompressionOverride::default();
    let body = EncodeBody::new_server(ExactEncoder(PhantomData), responses, None, encoding, None);
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    Outgoing::Response(response)
}

/// Encodes a message into a buffer of exact size. A growing buffer would copy a large message several times.
struct ExactEncoder<A>(PhantomData<A>);

impl<A: Message> Encoder for ExactEncoder<A> {
    type Item = A;
    type Error = Status;

    fn encode(&mut self, response: A, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(response.encoded_len());
        response.encode_raw(buffer);
        Ok(())
    }
}

/// Returns the message in a body, without its prefix (a flag and the length). Ignores bytes after the message. Fails if the
/// body ends too early.
fn message(body: &Bytes) -> Result<Bytes, Status> {
    match body.first_chunk::<PREFIX_BYTES>() {
        Some(&[_compressed, a, b, c, d]) => {
            let end = PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize;
            if body.len() < end {
                return Err(Status::internal("Unexpected EOF decoding stream."));
            }
            Ok(body.slice(PREFIX_BYTES..end))
        }
        None => Err(Status::internal("Missing request message.")),
    }
}

/// Encodes a message with its prefix (a flag and the length) into a buffer of exact size.
fn framed(response: &impl Message) -> Vec<u8> {
    let length = response.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    response
        .encode(&mut bytes)
        .expect("the buffer has the length of the message");
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use bytes::{Buf, BufMut};
    use futures_util::FutureExt as _;
    use prost::{
        DecodeError,
        encoding::{DecodeContext, WireType},
    };
    use tokio::{sync::oneshot, task::yield_now};
    use tonic::Code;
    use witan_api::v3::etcdserverpb::{RangeRequest, RequestOp, TxnRequest};
    use witan_base::account::{JobKind, Resource};
    use witan_machine::kv::Kv;
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::context;

    /// The body of a request without fields.
    static EMPTY: Bytes = Bytes::from_static(&[0; PREFIX_BYTES]);

    /// A response whose encoding waits for the test.
    #[derive(Debug)]
    struct SlowResponse(Mutex<Option<(oneshot::Sender<()>, mpsc::Receiver<()>)>>);

    impl Message for SlowResponse {
        fn encode_raw(&self, _: &mut impl BufMut) {
            let channels = self.0.lock().expect("no other thread panics").take();
            let (begun, end) = channels.expect("the response is encoded once");
            begun.send(()).expect("the test waits");
            end.recv().expect("the test ends the encoding");
        }

        fn encoded_len(&self) -> usize {
            0
        }

        fn merge_field(
            &mut self,
            _: u32,
            _: WireType,
            _: &mut impl Buf,
            _: DecodeContext,
        ) -> Result<(), DecodeError> {
            unreachable!("a response is not decoded")
        }

        fn clear(&mut self) {}
    }

    impl MessageResponse for SlowResponse {
        fn weight(&self) -> (usize, usize) {
            (usize::MAX, 0)
        }
    }

    #[test]
    fn a_large_response_is_charged_before_it_is_encoded() {
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&Kv::default());
            let ctx = context(states.node.clone());
            let code = async || {
                let verb = async |_: &Context, _: RangeRequest| {
                    let (key, value) = ("k".into(), vec![0_u8; INLINE_BYTES].into());
                    let kvs = vec![KeyValue { key, value, ..KeyValue::default() }];
                    let response = RangeResponse { kvs, ..RangeResponse::default() };
                    Ok::<_, RpcError>(WithPermit::without(UnaryResponse::Whole(response)))
                };
                let done = respond(&ctx, &EMPTY, verb).await;
                done.map_or_else(|status| status.code(), |_| Code::Ok)
            };
            let answers = Resource::Answers;
            let all = ctx.account().hold(answers, answers.limit());
            assert!(all.is_some());
            assert_eq!(code().await, Code::ResourceExhausted);
            drop(all);
            assert_eq!(code().await, Code::Ok);
        });
    }

    #[test]
    fn a_response_that_is_being_encoded_keeps_its_permit_without_its_client() {
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&Kv::default());
            let ctx = context(states.node.clone());
            let permit = ctx.account().permit(JobKind::Read).await;
            let _other = ctx.account().permit(JobKind::Read).await;
            let ((begun, is_begun), (finish, end)) = (oneshot::channel(), mpsc::sync_channel(1));
            let verb = async move |_: &Context, _: RangeRequest| {
                let response = SlowResponse(Mutex::new(Some((begun, end))));
                let response = UnaryResponse::Whole(response);
                Ok::<_, RpcError>(WithPermit::new(response, Some(permit)))
            };
            let mut call = Box::pin(respond(&ctx, &EMPTY, verb));
            assert!(call.as_mut().now_or_never().is_none());
            is_begun.await.expect("the response is encoded");
            drop(call);
            let is_free = || ctx.account().try_permit(JobKind::Read).is_some();
            assert!(!is_free());
            finish.send(()).expect("the encoding waits");
            while !is_free() {
                yield_now().await;
            }
        });
    }

    #[test]
    fn a_transaction_with_too_many_operations_is_not_decoded() {
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&Kv::default());
            let ctx = context(states.node.clone());
            let max = txn::total_max(ctx.settings.max_txn_ops);
            let read = async |operations: usize| {
                let success = vec![RequestOp::default(); operations];
                let txn = TxnRequest { success, ..TxnRequest::default() };
                let read = read::<TxnRequest>(&ctx, &framed(&txn).into()).await;
                read.map(|(txn, charge)| (txn.success.len(), charge.is_some()))
            };
            assert_eq!(
                read(max).await.expect("the request is decoded"),
                (max, true)
            );
            // The second message is decoded on another thread.
            for operations in [max + 1, INLINE_REQUEST_BYTES] {
                let refusal = read(operations).await.expect_err("the request is refused");
                assert_eq!(refusal.code(), Code::InvalidArgument);
                assert_eq!(refusal.message(), RpcError::TooManyOps.text());
            }
        });
    }
}
