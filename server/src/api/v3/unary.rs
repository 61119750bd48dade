//! Unary calls without tonic's layers, for the hot path: one message in, one out, each in one
//! buffer of exact size.
//!
//! Answers are the same as through tonic, which `tests/e2e` checks. Messages are decompressed
//! before they arrive here.

use bytes::{BufMut as _, Bytes};
use prost::Message;
use tonic::Status;
use witan_api::v3::{
    error::RpcError,
    etcdserverpb::{PutResponse, RangeResponse, TxnResponse, response_op::Response as OpResponse},
    mvccpb::KeyValue,
};

use super::{RpcResult, large_reads::WithPermit};
use crate::{api::Context, transport::Outgoing};

/// Longer messages are decoded on another thread: they can hold an operation in every few bytes.
const INLINE_REQUEST_BYTES_MAX: usize = 256 << 10;

/// Answers with up to this many pairs are encoded on the worker, within 1 ms.
const INLINE_PAIRS_MAX: usize = 16_384;

/// Bytes of keys and values in such an answer.
const INLINE_BYTES_MAX: usize = 4 << 20;

/// An answer whose size is known before it is encoded.
pub(super) trait UnaryResponse: Send + Sized + 'static {
    /// Returns the number of pairs in the answer and the bytes of their keys and values.
    fn weight(&self) -> (usize, usize);

    /// Encodes the message with its prefix.
    fn encode(&self) -> Vec<u8>;

    /// Whether the answer is encoded on another thread: above `INLINE_PAIRS_MAX` pairs or
    /// `INLINE_BYTES_MAX` bytes.
    fn is_large(&self) -> bool {
        let (pairs, bytes) = self.weight();
        pairs > INLINE_PAIRS_MAX || bytes > INLINE_BYTES_MAX
    }
}

impl UnaryResponse for PutResponse {
    fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    fn weight(&self) -> (usize, usize) {
        let bytes = self.prev_kv.as_ref().map_or(0, |kv| kv.value.len());
        (1, bytes)
    }
}

impl UnaryResponse for RangeResponse {
    fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    fn weight(&self) -> (usize, usize) {
        let pairs = self.kvs.len();
        if pairs > INLINE_PAIRS_MAX {
            return (pairs, 0);
        }
        (pairs, pair_bytes(&self.kvs))
    }
}

fn pair_bytes(pairs: &[KeyValue]) -> usize {
    pairs.iter().map(|kv| kv.key.len() + kv.value.len()).sum()
}

impl UnaryResponse for TxnResponse {
    fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    fn weight(&self) -> (usize, usize) {
        let weights = self.responses.iter().map(|op| match &op.response {
            Some(OpResponse::ResponseRange(range)) => range.weight(),
            Some(OpResponse::ResponsePut(put)) => put.weight(),
            Some(OpResponse::ResponseDeleteRange(delete)) => {
                (1 + delete.prev_kvs.len(), pair_bytes(&delete.prev_kvs))
            }
            // each level computes the length of all that is nested in it
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

impl<A: UnaryResponse> UnaryResponse for WithPermit<A> {
    fn encode(&self) -> Vec<u8> {
        self.answer.encode()
    }

    fn weight(&self) -> (usize, usize) {
        self.answer.weight()
    }
}

/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// Decodes the message of a request's body, runs `verb` on it and encodes the response; large messages
/// are decoded and encoded on another thread.
pub(super) async fn respond<Q, A>(
    ctx: &Context,
    body: Bytes,
    verb: impl AsyncFnOnce(Q) -> RpcResult<A>,
) -> Outgoing
where
    Q: Message + Default + 'static,
    A: UnaryResponse,
{
    let answer = async {
        let message = message(&body)?;
        let decoded = if message.len() > INLINE_REQUEST_BYTES_MAX {
            let decoded = Box::pin(ctx.blocking.run(move || Q::decode(message))).await;
            decoded.map_err(RpcError::from)?
        } else {
            Q::decode(message)
        };
        let request = decoded.map_err(|e| Status::internal(e.to_string()))?;
        Ok::<_, Status>(verb(request).await?)
    };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(status) => return Outgoing::Response(status.into_http()),
    };
    let message = if answer.is_large() {
        match Box::pin(ctx.blocking.run(move || answer.encode())).await {
            Ok(message) => message,
            Err(fault) => {
                return Outgoing::Response(Status::from(RpcError::from(fault)).into_http());
            }
        }
    } else {
        answer.encode()
    };
    Outgoing::Message(message)
}

/// Returns the message of a body without its prefix (a flag and the length); an error if the body ends
/// before it.
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

/// Encodes a message after its prefix (a flag and the length) into one buffer of exact size.
fn framed(answer: &impl Message) -> Vec<u8> {
    let length = answer.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer
        .encode(&mut bytes)
        .expect("the buffer has the length that was asked for");
    bytes
}
