//! Encodes a range response with large pairs while it is sent. The pairs share memory with the state, so a response of
//! gigabytes needs little additional memory.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Frame, SizeHint};
use prost::Message as _;
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use witan_api::v3::{etcdserverpb::RangeResponse, mvccpb::KeyValue};

/// Number of bytes encoded at once, which takes about 10 µs. A larger pair is encoded at once.
const SLICE_BYTES: usize = 64 << 10;

/// Minimum ratio of the encoded size to the size of the in-memory list at which pairs count as long. The list must be
/// comparatively small, because the connection is charged only for the unsent encoding.
const LONG_PAIRS: usize = 4;

/// Tag and wire type of `RangeResponse.kvs`.
const PAIR_TAG: u8 = 2 << 3 | 2;

/// A response body: one message with its prefix, and the trailers for success.
struct LongRange {
    /// The bytes before the pairs; empty once returned.
    head: Bytes,
    /// The remaining pairs in reverse order.
    pairs: Vec<KeyValue>,
    /// The bytes after the pairs; `None` once returned.
    tail: Option<Bytes>,
    /// Number of message bytes not returned yet.
    left: usize,
    /// The trailers for success; `None` once returned.
    trailers: Option<HeaderMap>,
}

/// Builds a response that encodes the range while it is sent. Returns the range as the error if its pairs are short, because
/// short pairs use more memory than their encoding.
pub(super) fn stream_if_long(mut range: RangeResponse) -> Result<Response<Body>, RangeResponse> {
    let length = range.encoded_len();
    if length < LONG_PAIRS * size_of_val(range.kvs.as_slice()) {
        return Err(range);
    }
    let mut pairs = std::mem::take(&mut range.kvs);
    pairs.reverse();
    let behind = RangeResponse {
        more: range.more,
        count: range.count,
        ..RangeResponse::default()
    };
    let before = RangeResponse { header: range.header, ..RangeResponse::default() };
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    let prefix_bytes = head.len();
    head.extend_from_slice(&before.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Ok as i32));
    let mut response = Response::new(Body::new(LongRange {
        head: head.freeze(),
        pairs,
        tail: Some(behind.encode_to_vec().into()),
        left: prefix_bytes + length,
        trailers: Some(trailers),
    }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    Ok(response)
}

impl LongRange {
    /// Encodes the next part of the message. Returns an empty slice at the end.
    fn slice(&mut self) -> Bytes {
        let mut slice = BytesMut::with_capacity(SLICE_BYTES.min(self.left));
        slice.extend_from_slice(&std::mem::take(&mut self.head));
        while slice.len() < SLICE_BYTES {
            let Some(pair) = self.pairs.pop() else {
                slice.extend_from_slice(&self.tail.take().unwrap_or_default());
                break;
            };
            slice.put_u8(PAIR_TAG);
            pair.encode_length_delimited(&mut slice)
                .expect("the buffer grows");
        }
        if self.pairs.len() < self.pairs.capacity() / 2 {
            self.pairs.shrink_to_fit();
        }
        self.left -= slice.len();
        slice.freeze()
    }
}

impl http_body::Body for LongRange {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match self.tail {
            Some(_) => Some(Ok(Frame::data(self.slice()))),
            None => self
                .trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    use witan_api::v3::etcdserverpb::ResponseHeader;

    use super::*;

    fn range(lengths: impl IntoIterator<Item = usize>) -> RangeResponse {
        let pair = |length| KeyValue {
            key: "key".into(),
            value: vec![7; length].into(),
            mod_revision: 3,
            ..KeyValue::default()
        };
        RangeResponse {
            header: Some(ResponseHeader { revision: 9, ..ResponseHeader::default() }),
            kvs: lengths.into_iter().map(pair).collect(),
            more: true,
            count: 12345,
        }
    }

    #[test]
    fn the_slices_are_the_message_and_its_length_is_known_before_each() {
        for lengths in [
            vec![],
            vec![SLICE_BYTES; 3],
            vec![1000; 10_000],
            vec![1, 3 << 20, 1],
        ] {
            let range = range(lengths);
            let mut expected = vec![0];
            expected.put_u32(range.encoded_len() as u32);
            expected.extend(range.encode_to_vec());
            let mut body = stream_if_long(range).unwrap().into_body();
            let mut received = Vec::new();
            let trailers = loop {
                let left = http_body::Body::size_hint(&body).exact().unwrap();
                assert_eq!(left as usize, expected.len() - received.len());
                let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
                match frame.into_data() {
                    Ok(data) => received.extend_from_slice(&data),
                    Err(frame) => break frame.into_trailers().unwrap(),
                }
            };
            assert!(received == expected);
            assert_eq!(trailers[Status::GRPC_STATUS], "0");
        }
    }

    #[test]
    fn a_list_of_short_pairs_is_not_encoded_while_it_is_sent() {
        assert!(stream_if_long(range(vec![100; 10_000])).is_err());
    }
}
