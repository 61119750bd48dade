//! Messages for one stream. The replica's thread adds messages without blocking, and the link's task takes them in batches. The
//! replica's thread writes short messages for an idle link itself, because that costs less than waking the link's thread.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;
use witan_base::{
    account::{SMALL_BYTES, limit_within},
    sync::Mutex,
};
use witan_transport::DirectWriter;

use super::frame::{self, FrameKind};

/// Maximum size in bytes of the messages that wait for a stream; further messages are dropped. Raft sends them again when the
/// other member reports the gap. Each message is counted as at least [`SMALL_BYTES`], and one message can always wait. A small
/// memory budget lowers the limit.
const BYTES_MAX: usize = 64 << 20;

/// Divisor of the memory budget. The quotient limits the size of one queue. Each other member has two queues.
const MEMORY_DIVISOR: u64 = 64;

/// Size in bytes at which a batch is complete.
const BATCH_BYTES: usize = 1 << 20;

/// Size in bytes of the longest message that the replica's thread writes itself.
const DIRECT_WRITE_BYTES: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushOutcome {
    /// The message waits for the link.
    Queued,
    /// The message was written. The number is its size in bytes with the header.
    Written(u64),
    /// The queue is full, or the other side is unreachable.
    Dropped,
}

#[derive(Debug)]
pub(super) struct LaneQueue {
    /// Maximum size in bytes of the messages that wait.
    bytes_max: usize,
    queued: Mutex<Queued>,
    filled: Notify,
    /// Wakes tasks that wait until all messages have been written.
    written: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Whether new messages are dropped, because the other side is unreachable.
    closed: bool,
    /// Whether the last batch was written and the link waits for messages.
    written: bool,
    writer: Option<DirectWriter>,
    /// Whether the link must write the rest of a message that was written directly.
    unflushed: bool,
}

/// A guard that allows direct writes to a stream. Dropping the guard also drops the writer, because the writer keeps the socket
/// open.
#[derive(Debug)]
pub(super) struct Attached<'a>(&'a LaneQueue);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut queued = self.0.queued.lock();
        (queued.writer, queued.unflushed) = (None, false);
    }
}

impl LaneQueue {
    /// Creates an empty queue of a process with a memory budget of `memory_bytes` bytes.
    pub(super) fn new(memory_bytes: u64) -> Self {
        Self {
            bytes_max: limit_within(BYTES_MAX, memory_bytes, MEMORY_DIVISOR),
            queued: Mutex::default(),
            filled: Notify::new(),
            written: Notify::new(),
        }
    }

    /// Allows direct writes with `writer` until the returned value is dropped. `None` allows no direct writes.
    pub(super) fn attach(&self, writer: Option<DirectWriter>) -> Attached<'_> {
        self.queued.lock().writer = writer;
        Attached(self)
    }

    /// Writes a short message to the stream if the link is idle; otherwise queues the message. Drops the message if the queue
    /// is closed or full.
    pub(super) fn push(&self, message: Bytes) -> PushOutcome {
        let mut queued = self.queued.lock();
        if let Some(bytes) = queued.write(&message) {
            if queued.unflushed {
                self.filled.notify_one();
            }
            return PushOutcome::Written(bytes);
        }
        let counted = counted(&message);
        let fits = queued.bytes == 0 || queued.bytes + counted <= self.bytes_max;
        if queued.closed || !fits {
            return PushOutcome::Dropped;
        }
        queued.bytes += counted;
        queued.messages.push_back(message);
        queued.written = false;
        if queued.messages.len() == 1 {
            self.filled.notify_one();
        }
        PushOutcome::Queued
    }

    /// Makes new messages wait for the link's next batch. Call this before the link writes other bytes.
    pub(super) fn hold(&self) {
        self.queued.lock().written = false;
    }

    /// Waits for messages and takes a batch of them. An empty batch means that the stream only needs a flush. The previous
    /// batch must be written before the call, because `emptied` completes if no message is left. Cancel safe.
    pub(super) async fn next_batch(&self) -> Vec<Bytes> {
        loop {
            let filled = self.filled.notified();
            let (messages, unflushed) = self.queued.lock().take();
            if unflushed || !messages.is_empty() {
                return messages;
            }
            self.written.notify_waiters();
            filled.await;
        }
    }

    /// Completes when all queued messages have been written.
    pub(super) async fn emptied(&self) {
        loop {
            let written = self.written.notified();
            if self.queued.lock().written {
                return;
            }
            written.await;
        }
    }

    /// Accepts messages again.
    pub(super) fn open(&self) {
        self.queued.lock().closed = false;
    }

    /// Drops all queued messages, and new messages until [`Self::open`].
    pub(super) fn close(&self) {
        *self.queued.lock() = Queued { closed: true, ..Queued::default() };
    }
}

impl Queued {
    /// Writes a short message if the link is idle. Returns its size in bytes with the header, or `None` if the message must be
    /// queued.
    fn write(&mut self, message: &[u8]) -> Option<u64> {
        let short = message.len() <= DIRECT_WRITE_BYTES;
        let writer = self.writer.as_ref().filter(|_| self.written && short)?;
        let frame = frame::encode(FrameKind::Message, message);
        // After an error, the message is queued. The link gets the same error and reports it.
        self.written = writer.write(&frame).ok()?;
        self.unflushed = !self.written;
        Some(frame.len() as u64)
    }

    /// Takes messages until their size reaches [`BATCH_BYTES`]. Also returns whether a direct write needs a flush. If there is
    /// neither a message nor such a write, marks the link as idle.
    fn take(&mut self) -> (Vec<Bytes>, bool) {
        let mut bytes = 0;
        let mut count = 0;
        for message in &self.messages {
            if bytes >= BATCH_BYTES {
                break;
            }
            bytes += message.len();
            count += 1;
            self.bytes -= counted(message);
        }
        let unflushed = std::mem::take(&mut self.unflushed);
        self.written = count == 0 && !unflushed;
        (self.messages.drain(..count).collect(), unflushed)
    }
}

/// Returns the number of bytes that are counted for a message: its size, but at least [`SMALL_BYTES`].
fn counted(message: &Bytes) -> usize {
    message.len().max(SMALL_BYTES)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use witan_transport::DialedStream;

    use super::*;

    #[test]
    fn a_queue_is_bounded_and_each_message_has_a_minimum_cost() {
        for (memory_bytes, bytes_max) in [(u64::MAX, BYTES_MAX), (512 << 20, 8 << 20)] {
            let queue = LaneQueue::new(memory_bytes);
            let large = Bytes::from(vec![0; bytes_max + 1]);
            assert_eq!(
                queue.push(large),
                PushOutcome::Queued,
                "one message always fits"
            );
            assert_eq!(queue.push(Bytes::from_static(b"x")), PushOutcome::Dropped);
            let batch = queue.next_batch().now_or_never();
            assert_eq!(batch.map(|batch| batch.len()), Some(1));
            let taken = (0..BYTES_MAX / 1024)
                .filter(|_| queue.push(Bytes::new()) == PushOutcome::Queued)
                .count();
            assert_eq!(taken, bytes_max / SMALL_BYTES);
            while queue.next_batch().now_or_never().is_some() {}
            assert_eq!(queue.queued.lock().bytes, 0);
        }
    }

    #[test]
    fn a_batch_ends_at_its_size_and_loses_nothing() {
        let queue = LaneQueue::new(u64::MAX);
        for at in 0..10_u8 {
            assert_eq!(
                queue.push(vec![at; BATCH_BYTES / 4].into()),
                PushOutcome::Queued
            );
        }
        let mut seen = Vec::new();
        while let Some(batch) = queue.next_batch().now_or_never() {
            assert!(batch.len() <= 4);
            seen.extend(batch.into_iter().map(|message| message[0]));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }

    #[test]
    fn a_closed_queue_drops_messages_until_it_is_opened() {
        let queue = LaneQueue::new(u64::MAX);
        assert_eq!(queue.push(Bytes::new()), PushOutcome::Queued);
        queue.close();
        assert_eq!(queue.push(Bytes::new()), PushOutcome::Dropped);
        queue.open();
        assert!(queue.next_batch().now_or_never().is_none());
        assert_eq!(queue.push(Bytes::new()), PushOutcome::Queued);
    }

    #[tokio::test]
    async fn a_short_message_for_an_idle_link_is_written_directly_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        let mut near = DialedStream::plain(near.unwrap());
        let (mut far, _) = listener.accept().await.unwrap();
        let queue = LaneQueue::new(u64::MAX);
        let attached = queue.attach(Some(near.direct_writer()));
        assert_eq!(
            queue.push(Bytes::from_static(b"first")),
            PushOutcome::Queued
        );
        assert_eq!(queue.next_batch().await.len(), 1);
        assert_eq!(
            queue.push(Bytes::new()),
            PushOutcome::Queued,
            "a batch is being written"
        );
        queue.next_batch().await;
        assert!(
            queue.next_batch().now_or_never().is_none(),
            "the link is idle"
        );
        let long = vec![0; DIRECT_WRITE_BYTES + 1];
        assert_eq!(queue.push(long.into()), PushOutcome::Queued);
        queue.next_batch().await;
        assert!(queue.next_batch().now_or_never().is_none());
        let contents = |at: u32| Bytes::from(at.to_be_bytes().repeat(1000));
        let mut sent = 0;
        while !queue.queued.lock().unflushed {
            assert!(matches!(
                queue.push(contents(sent)),
                PushOutcome::Written(_)
            ));
            sent += 1;
        }
        assert_eq!(
            queue.push(contents(sent)),
            PushOutcome::Queued,
            "the rest of a message comes first"
        );
        assert_eq!(queue.next_batch().await, [contents(sent)]);
        drop(attached);
        let mut read = Vec::new();
        let flushing = async {
            near.flush().await.unwrap();
            near.shutdown().await.unwrap();
        };
        let (all, ()) = tokio::join!(far.read_to_end(&mut read), flushing);
        all.unwrap();
        let frames = (0..sent).map(|at| frame::encode(FrameKind::Message, &contents(at)));
        assert!(read == frames.collect::<Vec<_>>().concat());
        assert_eq!(
            queue.push(Bytes::new()),
            PushOutcome::Queued,
            "the stream has ended"
        );
    }
}
