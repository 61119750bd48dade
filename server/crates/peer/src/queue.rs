//! Messages for one stream: the replica's thread adds them without waiting, the link's task takes them in batches. A
//! short message for a link that has nothing to write is written by the replica's thread: that saves waking the
//! link's thread, which costs more than the write.

use std::{
    collections::VecDeque,
    io::Write as _,
    net::TcpStream,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;
use witan_base::budget::SMALL_BYTES;

use super::frame::{self, FrameKind};

/// Bytes that wait for a stream, of which each message counts [`SMALL_BYTES`] at least; one may always wait. If the
/// stream is slower than the sender, further ones are dropped, and raft sends them again when the other member reports
/// the gap.
const BYTES_MAX: usize = 64 << 20;

/// Bytes after which a batch is complete.
const BATCH_BYTES: usize = 1 << 20;

/// The longest message that the replica's thread writes.
const WRITTEN_AT_ONCE_BYTES: usize = 16 << 10;

/// The result of handing over a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits for the link.
    Queued,
    /// It was written, with its header in so many bytes.
    Written(u64),
    /// There was no room, or the other side was not reached.
    Dropped,
}

/// The messages that a link writes together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The rest of a frame that was written in part; the stream goes on with it.
    pub(super) rest: Bytes,
    pub(super) messages: Vec<Bytes>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    queued: Mutex<Queued>,
    filled: Notify,
    /// Wakes the tasks that wait until all is written.
    written: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Whether messages are dropped: the other side was not reached.
    closed: bool,
    /// Whether the last batch was written: the link has asked for the next one.
    written: bool,
    /// The socket of an open stream without TLS. It does not block.
    socket: Option<TcpStream>,
    rest: Bytes,
}

/// Takes the socket from the queue when the stream has ended, so that it is closed.
#[derive(Debug)]
pub(super) struct Attached<'a>(&'a LaneQueue);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut queued = self.0.lock();
        queued.socket = None;
        queued.rest = Bytes::new();
    }
}

impl LaneQueue {
    /// Lets short messages be written to the socket of a stream, which is open until the returned value is dropped.
    pub(super) fn attach(&self, socket: Option<TcpStream>) -> Attached<'_> {
        self.lock().socket = socket;
        Attached(self)
    }

    /// Writes or queues a message.
    pub(super) fn push(&self, message: Bytes) -> Pushed {
        let mut queued = self.lock();
        if let Some(bytes) = queued.write(&message) {
            if !queued.rest.is_empty() {
                self.filled.notify_one();
            }
            return Pushed::Written(bytes);
        }
        let counted = counted(&message);
        let fits = queued.bytes == 0 || queued.bytes + counted <= BYTES_MAX;
        if queued.closed || !fits {
            return Pushed::Dropped;
        }
        queued.bytes += counted;
        queued.messages.push_back(message);
        queued.written = false;
        if queued.messages.len() == 1 {
            self.filled.notify_one();
        }
        Pushed::Queued
    }

    /// Queues each new message until the link asks for the next batch: it writes something else, after the returned rest
    /// of a frame.
    pub(super) fn hold(&self) -> Batch {
        let mut queued = self.lock();
        queued.written = false;
        Batch { rest: std::mem::take(&mut queued.rest), messages: Vec::new() }
    }

    /// Waits for a message and takes the queued ones, up to the size of a batch.
    pub(super) async fn next_batch(&self) -> Batch {
        loop {
            let filled = self.filled.notified();
            let batch = self.lock().take();
            if !batch.rest.is_empty() || !batch.messages.is_empty() {
                return batch;
            }
            self.written.notify_waiters();
            filled.await;
        }
    }

    /// Completes when everything that was queued is written.
    pub(super) async fn emptied(&self) {
        loop {
            let written = self.written.notified();
            if self.lock().written {
                return;
            }
            written.await;
        }
    }

    /// Lets the queue take messages again, which wait for the next connection.
    pub(super) fn open(&self) {
        self.lock().closed = false;
    }

    /// Drops all messages, and each new one until [`Self::open`]. Returns how many were dropped now.
    pub(super) fn close(&self) -> usize {
        let mut queued = self.lock();
        let dropped = queued.messages.len();
        *queued = Queued { closed: true, ..Queued::default() };
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queued {
    /// Writes a short message if the link is idle; returns the bytes with its header, `None` if it is to be queued. The
    /// link writes what the socket does not take.
    fn write(&mut self, message: &[u8]) -> Option<u64> {
        let short = message.len() <= WRITTEN_AT_ONCE_BYTES;
        let socket = self.socket.as_mut().filter(|_| self.written && short)?;
        let frame = frame::encode(FrameKind::Message, message);
        // the link meets the same error, and reports it
        let written = socket.write(&frame).ok()?;
        let bytes = frame.len() as u64;
        if written < frame.len() {
            self.rest = Bytes::from(frame).slice(written..);
            self.written = false;
        }
        Some(bytes)
    }

    /// Takes messages from the front until they have [`BATCH_BYTES`] or more. Without any, notes that all
    /// earlier ones are written.
    fn take(&mut self) -> Batch {
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
        let rest = std::mem::take(&mut self.rest);
        self.written = count == 0 && rest.is_empty();
        Batch { rest, messages: self.messages.drain(..count).collect() }
    }
}

/// Returns the bytes that a message counts in the queue.
fn counted(message: &Bytes) -> usize {
    message.len().max(SMALL_BYTES)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_lane_is_bounded_by_bytes_of_which_each_message_counts_some() {
        let queue = LaneQueue::default();
        let large = Bytes::from(vec![0; BYTES_MAX + 1]);
        assert_eq!(queue.push(large), Pushed::Queued, "one message always fits");
        assert_eq!(queue.push(Bytes::from_static(b"x")), Pushed::Dropped);
        let batch = queue.next_batch().now_or_never();
        assert_eq!(batch.map(|batch| batch.messages.len()), Some(1));
        let taken = (0..BYTES_MAX / 1024)
            .filter(|_| queue.push(Bytes::new()) == Pushed::Queued)
            .count();
        assert_eq!(taken, BYTES_MAX / SMALL_BYTES);
        while queue.next_batch().now_or_never().is_some() {}
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn a_batch_ends_at_its_size_and_loses_nothing() {
        let queue = LaneQueue::default();
        for at in 0..10_u8 {
            assert_eq!(queue.push(vec![at; BATCH_BYTES / 4].into()), Pushed::Queued);
        }
        let mut seen = Vec::new();
        while let Some(batch) = queue.next_batch().now_or_never() {
            assert!(batch.messages.len() <= 4);
            seen.extend(batch.messages.into_iter().map(|message| message[0]));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }

    #[test]
    fn a_closed_lane_takes_nothing_until_it_is_opened() {
        let queue = LaneQueue::default();
        assert_eq!(queue.push(Bytes::new()), Pushed::Queued);
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.push(Bytes::new()), Pushed::Dropped);
        queue.open();
        assert!(queue.next_batch().now_or_never().is_none());
        assert_eq!(queue.push(Bytes::new()), Pushed::Queued);
    }

    #[tokio::test]
    async fn a_short_message_for_an_idle_link_is_written_at_once_and_none_passes_the_rest_of_another()
     {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let queue = LaneQueue::default();
        let attached = queue.attach(Some(near));
        assert_eq!(queue.push(Bytes::from_static(b"first")), Pushed::Queued);
        assert_eq!(queue.next_batch().await.messages.len(), 1);
        assert_eq!(
            queue.push(Bytes::new()),
            Pushed::Queued,
            "a batch is being written"
        );
        queue.next_batch().await;
        assert!(
            queue.next_batch().now_or_never().is_none(),
            "the link is idle"
        );
        let long = vec![0; WRITTEN_AT_ONCE_BYTES + 1];
        assert_eq!(queue.push(long.into()), Pushed::Queued);
        queue.next_batch().await;
        assert!(queue.next_batch().now_or_never().is_none());
        let contents = |at: u32| Bytes::from(at.to_be_bytes().repeat(1000));
        let mut sent = 0;
        while queue.lock().rest.is_empty() {
            assert!(matches!(queue.push(contents(sent)), Pushed::Written(_)));
            sent += 1;
        }
        assert_eq!(
            queue.push(contents(sent)),
            Pushed::Queued,
            "behind the rest"
        );
        let rest = queue.hold().rest;
        let batch = queue.next_batch().await;
        assert_eq!(batch.messages, [contents(sent)]);
        drop(attached);
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut far, &mut read).unwrap();
        read.extend_from_slice(&rest);
        let frames = (0..sent).map(|at| frame::encode(FrameKind::Message, &contents(at)));
        assert!(read == frames.collect::<Vec<_>>().concat());
        assert_eq!(
            queue.push(Bytes::new()),
            Pushed::Queued,
            "the stream has ended"
        );
    }
}
