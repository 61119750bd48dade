//! Unary calls without tonic's layers, for the verbs that carry the load: one message in, one out,
//! each in one buffer of its own size.
//!
//! Whatever is unusual (a compressed message) goes through tonic's routes instead; what both answer
//! is the same, which `tests/e2e` checks by asking on both.

use bytes::{BufMut as _, Bytes};
use prost::Message;
use tonic::Status;

use super::Answer;
use crate::transport::Outgoing;

/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// Runs `verb` on the message of a request's body and makes the response of its answer.
pub(super) async fn answer<Q, A>(body: Bytes, verb: impl AsyncFnOnce(Q) -> Answer<A>) -> Outgoing
where
    Q: Message + Default,
    A: Message,
{
    let answer = async {
        let message = message(&body)?;
        let request = Q::decode(message).map_err(|e| Status::internal(e.to_string()))?;
        Ok::<A, Status>(verb(request).await?)
    };
    match answer.await {
        Ok(answer) => Outgoing::Message(encode(&answer)),
        Err(status) => Outgoing::Response(status.into_http()),
    }
}

fn message(body: &Bytes) -> Result<Bytes, Status> {
    match body.first_chunk::<PREFIX_BYTES>() {
        Some(&[0, a, b, c, d]) => {
            let end = PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize;
            if body.len() < end {
                return Err(Status::internal("Unexpected EOF decoding stream."));
            }
            Ok(body.slice(PREFIX_BYTES..end))
        }
        Some(_) => Err(Status::unimplemented(
            "compressed messages are not supported",
        )),
        None => Err(Status::internal("Missing request message.")),
    }
}

fn encode(answer: &impl Message) -> Vec<u8> {
    let length = answer.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer
        .encode(&mut bytes)
        .expect("the buffer has the length that was asked for");
    bytes
}
