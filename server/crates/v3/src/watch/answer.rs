//! Responses of a watch stream. Each event is encoded once for all watchers, because encoding accounts for most of the cost of
//! an event.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};
use witan_api::v3::{etcdserverpb::WatchResponse, mvccpb};

/// An encoded event of a [`WatchResponse`]: the field's tag, the event's length and the message.
#[derive(Clone, Debug)]
pub(super) struct EncodedEvent(Bytes);

impl EncodedEvent {
    pub(super) fn new(event: mvccpb::Event) -> Self {
        let alone = WatchResponse { events: vec![event], ..WatchResponse::default() };
        Self(alone.encode_to_vec().into())
    }

    /// Returns the number of bytes that the event adds to a response.
    pub(super) fn encoded_len(&self) -> usize {
        self.0.len()
    }
}

/// A response: its fields without events, and its encoded events, which come last on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchAnswer {
    pub(super) head: WatchResponse,
    pub(super) events: Vec<EncodedEvent>,
}

impl WatchAnswer {
    /// Decodes the events, for callers in this process.
    pub(super) fn into_response(self) -> WatchResponse {
        let mut response = self.head;
        for event in &self.events {
            response
                .merge(&event.0[..])
                .expect("this process encoded the event");
        }
        response
    }
}

impl From<WatchResponse> for WatchAnswer {
    fn from(head: WatchResponse) -> Self {
        Self { head, events: Vec::new() }
    }
}

impl Message for WatchAnswer {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.head.encode_raw(buf);
        for event in &self.events {
            buf.put_slice(&event.0);
        }
    }

    fn encoded_len(&self) -> usize {
        let events = self.events.iter().map(EncodedEvent::encoded_len);
        self.head.encoded_len() + events.sum::<usize>()
    }

    /// Decodes every field into `head`, including events. The server only encodes this type; [`Message`] requires the method.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.head.merge_field(tag, wire_type, buf, ctx)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_bytes_of_its_response() {
        let event = |n: u8| mvccpb::Event {
            kv: Some(mvccpb::KeyValue { key: vec![n; 200].into(), ..Default::default() }),
            ..mvccpb::Event::default()
        };
        let head = WatchResponse {
            watch_id: 7,
            cancel_reason: "why".into(),
            ..WatchResponse::default()
        };
        let events = [1, 2].map(event);
        let whole = WatchResponse { events: events.to_vec(), ..head.clone() };
        let answer = WatchAnswer { head, events: events.map(EncodedEvent::new).into() };
        assert_eq!(answer.encode_to_vec(), whole.encode_to_vec());
        assert_eq!(answer.into_response(), whole);
    }
}
