//! A connection's streams. Frames refer to a stream by its id, and wake-ups by its slot.

use std::{borrow::Cow, collections::BTreeMap, mem, rc::Rc, sync::Arc, task::Waker, time::Instant};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    Head, Refusal, Service,
    body::RequestSender,
    limits::{SLOTS_KEPT, WINDOW_BYTES},
    message::{Assembler, Messages},
    meter::{ResourceCharge, ResourceMeter},
    ready::{ReadyList, StreamWaker},
};

pub(crate) type ActiveCall<S> = (Rc<Head<<S as Service>::Method>>, <S as Service>::Call);

/// An open stream: a request whose response has not been sent completely.
pub(crate) struct Stream<S: Service> {
    pub(crate) id: u32,
    pub(crate) began: Instant,
    /// Time at which the first bytes of the current message arrived, for a stream of messages.
    pub(crate) collecting: Option<Instant>,
    pub(crate) receiving: Receiving,
    /// The queue to a call that reads a stream of messages.
    pub(crate) sender: Option<RequestSender>,
    /// Number of body bytes that are still missing, according to `content-length`.
    pub(crate) content_left: Option<u64>,
    pub(crate) receive_window: i64,
    /// Number of received bytes for which no WINDOW_UPDATE of the stream has been sent.
    pub(crate) unacknowledged: usize,
    /// The charge for the request's bytes.
    pub(crate) request: ResourceCharge<S>,
    /// Size in bytes of the request's head. `request` includes this size.
    pub(crate) head_bytes: usize,
    pub(crate) call: Option<ActiveCall<S>>,
    /// Whether the request is not gRPC. Its response then has no gRPC status.
    pub(crate) plain: bool,
    pub(crate) running: Option<S::Future>,
    pub(crate) deadline: Option<Instant>,
    /// The reason why the connection will end the call in the next turn.
    pub(crate) refusal: Option<Refusal>,
    /// The stream's send window minus the connection's initial window.
    pub(crate) send_credit: i64,
    /// A response body that still has content.
    pub(crate) body: Option<S::Body>,
    pub(crate) messages: Messages,
    pub(crate) pending: Bytes,
    /// The charge for the response's bytes.
    pub(crate) answer: ResourceCharge<S>,
    /// The trailers, to be sent after `pending`.
    pub(crate) trailers: Option<Cow<'static, HeaderMap>>,
    /// The charge for the call, against the server's budget of calls.
    pub(crate) call_charge: ResourceCharge<S>,
    pub(crate) queued: bool,
}

/// The part of the request that arrives next, which determines the frames that the client may send.
#[derive(Debug)]
pub(crate) enum Receiving {
    /// The only message of a unary call. `message` is set when it is complete.
    Message {
        assembler: Assembler,
        message: Option<Bytes>,
    },
    /// Messages that the call reads as they arrive.
    Stream {
        assembler: Assembler,
    },
    /// The content of a request that is not gRPC, passed on as it arrives.
    Content,
    /// Content that is dropped, because the response does not depend on it.
    Unwanted,
    Ended,
}

/// Returns the minimum number of remaining bytes in a body, according to its size hint. Includes bytes that the body has not
/// produced yet.
pub(crate) fn unsent(body: &impl http_body::Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// A connection's meters, which its streams charge.
pub(crate) struct ResourceMeters<S: Service> {
    pub(crate) requests: Rc<ResourceMeter<S>>,
    pub(crate) answers: Rc<ResourceMeter<S>>,
    /// Counts calls with one request message. The first [`STREAMS_FREE`](crate::limits::STREAMS_FREE) need no reservation.
    pub(crate) calls: Rc<ResourceMeter<S>>,
    /// Counts requests in streaming mode. Each such request needs a reservation, because it can stay open for a long time and
    /// takes more memory.
    pub(crate) streaming_calls: Rc<ResourceMeter<S>>,
}

impl<S: Service> Stream<S> {
    /// Creates a stream without a call. Unless the request has `ended`, its content is dropped until `receiving` is set.
    pub(crate) fn new(
        id: u32,
        began: Instant,
        ended: bool,
        meters: &ResourceMeters<S>,
    ) -> Box<Self> {
        Box::new(Self {
            id,
            began,
            collecting: None,
            receiving: if ended {
                Receiving::Ended
            } else {
                Receiving::Unwanted
            },
            sender: None,
            content_left: None,
            receive_window: i64::from(WINDOW_BYTES),
            unacknowledged: 0,
            request: ResourceCharge::new(&meters.requests),
            head_bytes: 0,
            call: None,
            plain: false,
            running: None,
            deadline: None,
            refusal: None,
            send_credit: 0,
            body: None,
            messages: Messages::default(),
            pending: Bytes::new(),
            answer: ResourceCharge::new(&meters.answers),
            trailers: None,
            call_charge: ResourceCharge::new(&meters.calls),
            queued: false,
        })
    }

    /// Returns the memory usage of the request in bytes: its head, its incomplete message, and the messages that wait for the
    /// call.
    pub(crate) fn request_bytes(&self) -> usize {
        self.head_bytes
            + self.sender.as_ref().map_or(0, RequestSender::held)
            + match &self.receiving {
                Receiving::Message { assembler, message } => {
                    assembler.held() + message.as_ref().map_or(0, Bytes::len)
                }
                Receiving::Stream { assembler } => assembler.held(),
                Receiving::Content | Receiving::Unwanted | Receiving::Ended => 0,
            }
    }

    /// Returns whether the response's headers have been written.
    pub(crate) fn answered(&self) -> bool {
        self.body.is_some() || self.trailers.is_some()
    }
}

pub(crate) struct Streams<S: Service> {
    slots: Vec<StreamSlot<S>>,
    free: Vec<usize>,
    by_id: BTreeMap<u32, usize>,
    list: Arc<ReadyList>,
}

struct StreamSlot<S: Service> {
    stream: Option<Box<Stream<S>>>,
    listed: Arc<StreamWaker>,
    waker: Waker,
}

impl<S: Service> Streams<S> {
    pub(crate) fn new(list: Arc<ReadyList>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            list,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Reserves a slot for the new stream `id`. The caller must fill the slot with [`Streams::keep`].
    pub(crate) fn reserve(&mut self, id: u32) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let listed = StreamWaker::new(slot, &self.list);
            let waker = Waker::from(listed.clone());
            self.slots.push(StreamSlot { stream: None, listed, waker });
            slot
        });
        self.by_id.insert(id, slot);
        slot
    }

    pub(crate) fn waker(&self, slot: usize) -> Waker {
        self.slots[slot].waker.clone()
    }

    /// Records that a slot is now in a list of ready streams. Returns `false` if it was already in one.
    pub(crate) fn mark_listed(&self, slot: usize) -> bool {
        self.slots[slot].listed.mark_listed()
    }

    /// Records that a slot was removed from the list of ready streams.
    pub(crate) fn unlisted(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.listed.unlisted();
        }
    }

    /// Wakes the connection and makes a stream run in its next turn.
    pub(crate) fn wake(&self, slot: usize) {
        self.slots[slot].waker.wake_by_ref();
    }

    /// Takes a stream out of its slot; `None` if the slot is empty. [`Streams::keep`] or [`Streams::release`] must follow.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Box<Stream<S>>> {
        self.slots.get_mut(slot)?.stream.take()
    }

    /// Takes an open stream out of its slot, like [`Streams::take`], and returns it with the slot. Returns `None` if no stream
    /// with this id is open.
    pub(crate) fn take_by_id(&mut self, id: u32) -> Option<(usize, Box<Stream<S>>)> {
        let slot = *self.by_id.get(&id)?;
        Some((slot, self.take(slot)?))
    }

    /// Puts a stream into its slot.
    pub(crate) fn keep(&mut self, slot: usize, stream: Box<Stream<S>>) {
        self.slots[slot].stream = Some(stream);
    }

    /// Frees the slot of a stream that was taken out. If no stream remains, also frees the memory of the slots, unless there
    /// are at most [`SLOTS_KEPT`].
    pub(crate) fn release(&mut self, slot: usize, id: u32) {
        self.by_id.remove(&id);
        self.free.push(slot);
        if self.by_id.is_empty() && self.slots.len() > SLOTS_KEPT {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Returns the stream in a slot, or `None` if the slot is empty.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Stream<S>> {
        self.slots.get_mut(slot)?.stream.as_deref_mut()
    }

    /// Returns the stream in a slot and the waker that makes it run, or `None` if the slot is empty.
    pub(crate) fn with_waker(&mut self, slot: usize) -> Option<(&mut Stream<S>, &Waker)> {
        let slot = self.slots.get_mut(slot)?;
        Some((slot.stream.as_deref_mut()?, &slot.waker))
    }

    /// Returns all streams that are not taken out, with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Stream<S>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, kept)| Some((slot, kept.stream.as_deref()?)))
    }

    /// Calls `act` with the slot and the stream, for each stream that is not taken out.
    pub(crate) fn each(&mut self, mut act: impl FnMut(usize, &mut Stream<S>)) {
        for (slot, kept) in self.slots.iter_mut().enumerate() {
            if let Some(stream) = &mut kept.stream {
                act(slot, stream);
            }
        }
    }

    /// Drops all streams, including their calls, and frees their slots.
    pub(crate) fn clear(&mut self) {
        let slots = mem::take(&mut self.slots);
        (self.free, self.by_id) = (Vec::new(), BTreeMap::new());
        drop(slots);
    }
}
