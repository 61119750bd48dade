//! The request body of a call: one message, a stream of messages, or content that is not gRPC.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;

use crate::limits::{MESSAGE_OVERHEAD, WINDOW_BYTES};

/// The body of a gRPC request.
#[derive(Debug)]
pub enum Body {
    /// One message with its prefix, collected before the call started. Empty or incomplete if the request ended early.
    Whole(Bytes),
    /// A stream of messages that the call reads.
    Stream(RequestStream),
}

/// The error that a call gets when it reads a request that the client has reset, or whose connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

/// The content of a request, which the call reads as it arrives: gRPC messages with their prefixes, or chunks of other content.
#[derive(Debug)]
pub struct RequestStream(Arc<RequestQueue>);

/// The connection's half of a [`RequestStream`]. Dropping it before [`Self::end`] aborts the stream.
#[derive(Debug)]
pub(crate) struct RequestSender(Arc<RequestQueue>);

#[derive(Debug)]
struct RequestQueue {
    queue: Mutex<QueueState>,
    /// Wakes the connection when the call has taken messages or dropped its half.
    connection: Waker,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<Bytes>,
    /// Memory usage of `messages` in bytes, bounded by the stream's window and the largest message.
    held: usize,
    /// Number of message bytes that the call has taken since it last woke the connection.
    taken: usize,
    ended: Option<Result<(), Aborted>>,
    reader: Option<Waker>,
    /// Whether the call has dropped its half.
    dropped: bool,
}

/// Returns the memory usage of a queued message in bytes.
fn cost(message: &Bytes) -> usize {
    message.len() + MESSAGE_OVERHEAD
}

/// Releases the lock, then wakes the call if it waits for a message.
fn wake_reader(mut queue: MutexGuard<'_, QueueState>) {
    let reader = queue.reader.take();
    drop(queue);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// Creates both halves of a message queue. `connection` is woken when the call has emptied the queue, has taken a quarter of a
/// window, or has dropped queued messages with its half.
pub(crate) fn stream(connection: Waker) -> (RequestSender, RequestStream) {
    let queue = Mutex::default();
    let inbox = Arc::new(RequestQueue { queue, connection });
    (RequestSender(inbox.clone()), RequestStream(inbox))
}

impl RequestQueue {
    fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestSender {
    /// Adds a message to the queue and wakes the call. Drops the message if the call has dropped its half.
    pub(crate) fn send(&self, message: Bytes) {
        let mut queue = self.0.queue();
        if !queue.dropped {
            queue.held += cost(&message);
            queue.messages.push_back(message);
            wake_reader(queue);
        }
    }

    /// Ends the stream of messages. `Aborted` also drops the queued messages. Only the first call has an effect.
    pub(crate) fn end(&self, how: Result<(), Aborted>) {
        let mut queue = self.0.queue();
        if queue.ended.is_none() {
            queue.ended = Some(how);
            if how.is_err() {
                queue.messages.clear();
                queue.held = 0;
            }
            wake_reader(queue);
        }
    }

    /// Returns whether messages wait for the call.
    pub(crate) fn waits(&self) -> bool {
        !self.0.queue().messages.is_empty()
    }

    /// Returns the memory usage of the queued messages in bytes.
    pub(crate) fn held(&self) -> usize {
        self.0.queue().held
    }
}

impl Drop for RequestSender {
    fn drop(&mut self) {
        self.end(Err(Aborted));
    }
}

impl Drop for RequestStream {
    /// Drops the queued messages. If messages were queued, wakes the connection, which then releases their charge.
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.dropped = true;
        queue.messages = VecDeque::new();
        let held = std::mem::take(&mut queue.held);
        drop(queue);
        if held > 0 {
            self.0.connection.wake_by_ref();
        }
    }
}

impl http_body::Body for RequestStream {
    type Data = Bytes;
    type Error = Aborted;

    /// Returns the next message, or fails once the stream is aborted. Wakes the connection if the queue is then empty, or if
    /// the call has taken a quarter of a window since the last wake-up.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let mut queue = self.0.queue();
        if let Some(message) = queue.messages.pop_front() {
            queue.held -= cost(&message);
            queue.taken += message.len();
            // The connection reopens the stream's receive window when the queue is empty.
            let wake = queue.messages.is_empty() || queue.taken >= WINDOW_BYTES as usize / 4;
            if wake {
                queue.taken = 0;
            }
            drop(queue);
            if wake {
                self.0.connection.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        match queue.ended {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(aborted)) => Poll::Ready(Some(Err(aborted))),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
