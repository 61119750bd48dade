//! Unary calls without tonic's layers, for the verbs that carry the load: one message in, one out,
//! each in one buffer of its own size. What such a call costs beyond this is hyper's.
//!
//! Whatever is unusual (a compressed message) goes through tonic's routes instead; what both answer
//! is the same, which `tests/e2e` checks by asking on both.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::{Status, body::Body};

use super::Answer;
use crate::transport::Limited;

/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// Runs `verb` on the message of a request's body and makes the response of its answer.
pub(super) async fn answer<Q, A>(
    body: Limited,
    verb: impl AsyncFnOnce(Q) -> Answer<A>,
) -> Response<Body>
where
    Q: Message + Default,
    A: Message,
{
    let answer = async {
        let message = read(body).await?;
        let request = Q::decode(message).map_err(|e| Status::internal(e.to_string()))?;
        Ok::<A, Status>(verb(request).await?)
    };
    match answer.await {
        Ok(answer) => response(&answer),
        Err(status) => status.into_http(),
    }
}

/// The one message of a request, shared with the frame it came in when that is whole.
async fn read(mut body: Limited) -> Result<Bytes, Status> {
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(chunk) = frame?.into_data() else {
            continue;
        };
        if whole.is_empty() && parts.is_empty() {
            whole = chunk;
        } else {
            parts.extend_from_slice(&std::mem::take(&mut whole));
            parts.extend_from_slice(&chunk);
        }
        if body.is_end_stream() {
            break;
        }
    }
    let bytes = if parts.is_empty() {
        whole
    } else {
        parts.freeze()
    };
    match bytes.first_chunk::<PREFIX_BYTES>() {
        Some(&[0, a, b, c, d]) => {
            let end = PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize;
            if bytes.len() < end {
                return Err(Status::internal("Unexpected EOF decoding stream."));
            }
            Ok(bytes.slice(PREFIX_BYTES..end))
        }
        Some(_) => Err(Status::unimplemented(
            "compressed messages are not supported",
        )),
        None => Err(Status::internal("Missing request message.")),
    }
}

fn response(answer: &impl Message) -> Response<Body> {
    let length = answer.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer
        .encode(&mut bytes)
        .expect("the buffer has the length that was asked for");
    let mut response = Response::new(Body::new(One {
        message: Some(bytes.freeze()),
        ended: false,
    }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// One message, then the status.
struct One {
    message: Option<Bytes>,
    ended: bool,
}

impl http_body::Body for One {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
