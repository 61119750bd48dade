//! Messages that wait for one stream: the replica's thread adds them without waiting, the link's task takes them in
//! batches.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;
use witan_base::budget::SMALL_BYTES;

/// Bytes that wait for a stream, of which each message counts [`SMALL_BYTES`] at least; one may always wait. If the
/// stream is slower than the sender, further ones are dropped, and raft sends them again when the other member reports
/// the gap.
const BYTES_MAX: usize = 64 << 20;

/// Bytes after which a batch is complete.
const BATCH_BYTES: usize = 1 << 20;

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
}

impl LaneQueue {
    /// Queues a message; `false` if it was dropped.
    pub(super) fn push(&self, message: Bytes) -> bool {
        let mut queued = self.lock();
        let counted = counted(&message);
        let fits = queued.bytes == 0 || queued.bytes + counted <= BYTES_MAX;
        if queued.closed || !fits {
            return false;
        }
        queued.bytes += counted;
        queued.messages.push_back(message);
        queued.written = false;
        if queued.messages.len() == 1 {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for a message and takes the queued ones, up to the size of a batch.
    pub(super) async fn next_batch(&self) -> Vec<Bytes> {
        loop {
            let filled = self.filled.notified();
            let batch = self.lock().take();
            if !batch.is_empty() {
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
    /// Takes messages from the front until they have [`BATCH_BYTES`] or more. Without any, notes that all
    /// earlier ones are written.
    fn take(&mut self) -> Vec<Bytes> {
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
        self.written = count == 0;
        self.messages.drain(..count).collect()
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
        assert!(queue.push(large), "one message always fits");
        assert!(!queue.push(Bytes::from_static(b"x")));
        let batch = queue.next_batch().now_or_never();
        assert_eq!(batch.map(|batch| batch.len()), Some(1));
        let taken = (0..BYTES_MAX / 1024)
            .filter(|_| queue.push(Bytes::new()))
            .count();
        assert_eq!(taken, BYTES_MAX / SMALL_BYTES);
        while queue.next_batch().now_or_never().is_some() {}
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn a_batch_ends_at_its_size_and_loses_nothing() {
        let queue = LaneQueue::default();
        for at in 0..10_u8 {
            assert!(queue.push(vec![at; BATCH_BYTES / 4].into()));
        }
        let mut seen = Vec::new();
        while let Some(batch) = queue.next_batch().now_or_never() {
            assert!(batch.len() <= 4);
            seen.extend(batch.into_iter().map(|message| message[0]));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }

    #[test]
    fn a_closed_lane_takes_nothing_until_it_is_opened() {
        let queue = LaneQueue::default();
        assert!(queue.push(Bytes::new()));
        assert_eq!(queue.close(), 1);
        assert!(!queue.push(Bytes::new()));
        queue.open();
        assert!(queue.next_batch().now_or_never().is_none());
        assert!(queue.push(Bytes::new()));
    }
}
