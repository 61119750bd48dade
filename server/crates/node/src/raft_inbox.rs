//! The inbox that the replica's thread empties before the requests of clients: messages and events of other
//! members, durable checkpoints, and the end. Requests of clients have a queue of their own, through
//! which the thread is woken.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;
use witan_machine::member::MemberId;
use witan_replica::{
    host::{Envelope, Lane},
    long_command::ExecutedCommand,
    replica::PeerEvent,
};
use witan_storage::ReceivedSnapshot;

/// Bytes of bulk messages that are taken in one turn, so that a follower that catches up goes on
/// answering heartbeats.
const TURN_BYTES: usize = 16 << 20;

/// See the module's description. Messages are bounded by the permits that their streams have
/// (`peer::listener`), events by the number of members.
#[derive(Debug, Default)]
pub(super) struct RaftInbox {
    queued: Mutex<RaftQueue>,
    /// Whether the thread was woken and has not looked since.
    woken: AtomicBool,
    /// Index of the last durable checkpoint.
    durable: AtomicU64,
    stop: AtomicBool,
}

/// The messages and events that wait.
#[derive(Debug, Default)]
struct RaftQueue {
    control: Vec<ReceivedMessage>,
    bulk: VecDeque<ReceivedMessage>,
    events: Vec<(MemberId, PeerEvent)>,
    snapshot: Option<Box<ReceivedState>>,
    executed: Option<Executed>,
}

/// A command that was executed beside the replica's thread, and how long that took.
pub(super) type Executed = (Box<ExecutedCommand>, Duration);

/// A snapshot message, and the state that came with it. There is one at a time, because the storage
/// receives no other before it is dropped or installed.
#[derive(Debug)]
pub(super) struct ReceivedState {
    pub(super) envelope: Envelope,
    pub(super) snapshot: ReceivedSnapshot,
}

/// A message, and the permit that it holds until the replica has it.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    pub(super) envelope: Envelope,
    _permit: OwnedSemaphorePermit,
}

/// The messages and events that one turn takes.
#[derive(Debug, Default)]
pub(super) struct RaftBatch {
    /// In the order in which they are to be handled.
    pub(super) messages: Vec<ReceivedMessage>,
    pub(super) events: Vec<(MemberId, PeerEvent)>,
    pub(super) snapshot: Option<Box<ReceivedState>>,
    pub(super) executed: Option<Executed>,
    /// Index of the last durable checkpoint.
    pub(super) durable: u64,
    pub(super) stop: bool,
    /// Whether messages are left for the next turn.
    pub(super) more: bool,
}

impl RaftInbox {
    /// Queues a message of another member by its lane, and wakes nobody; `permit` is released when the replica
    /// has taken it.
    pub(super) fn receive(&self, envelope: Envelope, permit: OwnedSemaphorePermit) {
        let lane = envelope.lane;
        let message = ReceivedMessage { envelope, _permit: permit };
        let mut queued = self.lock();
        match lane {
            Lane::Control => queued.control.push(message),
            Lane::Bulk => queued.bulk.push_back(message),
        }
    }

    /// Keeps a received snapshot for the next turn, in place of one that was not taken yet; wakes nobody.
    pub(super) fn receive_snapshot(&self, envelope: Envelope, snapshot: ReceivedSnapshot) {
        let received = Box::new(ReceivedState { envelope, snapshot });
        let before = self.lock().snapshot.replace(received);
        // outside of the lock
        drop(before);
    }

    /// Stores the result of an executed command for the next turn; there is one at a time.
    pub(super) fn executed(&self, executed: Executed) {
        self.lock().executed = Some(executed);
    }

    /// Queues an event of a member for the next turn, behind the others, in place of the same one that is
    /// queued: of a process that ended and was started again, the last event counts.
    pub(super) fn event(&self, member: MemberId, event: PeerEvent) {
        let mut queued = self.lock();
        queued.events.retain(|queued| *queued != (member, event));
        queued.events.push((member, event));
    }

    pub(super) fn durable(&self, index: u64) {
        self.durable.fetch_max(index, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Release);
    }

    /// Whether the caller must wake the thread, because nobody has done so since it looked last. Call it
    /// after putting something in.
    pub(super) fn needs_wake(&self) -> bool {
        !self.woken.swap(true, AcqRel)
    }

    /// Whether the thread was woken since it looked last.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Acquire)
    }

    /// Takes what the next turn processes: all control messages and events, and bulk messages up to
    /// [`TURN_BYTES`].
    pub(super) fn take(&self) -> RaftBatch {
        // first: what comes from now on wakes the thread again
        self.woken.swap(false, AcqRel);
        let mut queued = self.lock();
        let mut messages = std::mem::take(&mut queued.control);
        let mut bytes = 0;
        while bytes < TURN_BYTES
            && let Some(message) = queued.bulk.pop_front()
        {
            bytes += message.envelope.message.len();
            messages.push(message);
        }
        let more = !queued.bulk.is_empty();
        let events = std::mem::take(&mut queued.events);
        let snapshot = queued.snapshot.take();
        let executed = queued.executed.take();
        drop(queued);
        RaftBatch {
            messages,
            events,
            snapshot,
            executed,
            durable: self.durable.load(Relaxed),
            stop: self.stop.load(Acquire),
            more,
        }
    }

    fn lock(&self) -> MutexGuard<'_, RaftQueue> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::Semaphore;

    use super::*;

    fn envelope(lane: Lane, message: Bytes) -> Envelope {
        Envelope {
            to: MemberId(1),
            from: MemberId(2),
            lane,
            message,
            snapshot: None,
        }
    }

    #[test]
    fn short_messages_pass_long_ones_and_a_turn_takes_a_bounded_share_of_those() {
        let inbox = RaftInbox::default();
        let permits = Arc::new(Semaphore::new(100));
        let permit = || permits.clone().try_acquire_owned().expect("one is free");
        let long = Bytes::from(vec![0; TURN_BYTES / 2]);
        for _ in 0..3 {
            inbox.receive(envelope(Lane::Bulk, long.clone()), permit());
        }
        inbox.receive(envelope(Lane::Control, Bytes::new()), permit());
        assert!(inbox.needs_wake() && !inbox.needs_wake(), "woken once");
        assert!(inbox.is_woken());
        let batch = inbox.take();
        assert!(!inbox.is_woken());
        assert_eq!(batch.messages.len(), 3);
        assert_eq!(batch.messages[0].envelope.lane, Lane::Control);
        assert!(batch.more && inbox.needs_wake());
        assert_eq!(permits.available_permits(), 96);
        drop(batch);
        assert_eq!(
            permits.available_permits(),
            99,
            "handled messages free theirs"
        );
        let batch = inbox.take();
        assert_eq!((batch.messages.len(), batch.more), (1, false));
    }

    #[test]
    fn an_event_waits_once_and_the_last_one_comes_last() {
        let inbox = RaftInbox::default();
        for _ in 0..1000 {
            inbox.event(MemberId(2), PeerEvent::Unreachable);
        }
        inbox.event(MemberId(3), PeerEvent::Unreachable);
        inbox.event(MemberId(2), PeerEvent::ProcessGone);
        assert_eq!(inbox.take().events.len(), 3);
        assert!(inbox.take().events.is_empty());
        let (gone, back) = (PeerEvent::ProcessGone, PeerEvent::StreamOpened);
        for event in [back, gone, back] {
            inbox.event(MemberId(2), event);
        }
        assert_eq!(
            inbox.take().events,
            [(MemberId(2), gone), (MemberId(2), back)]
        );
    }

    #[test]
    fn the_latest_checkpoint_and_the_end_are_not_lost() {
        let inbox = RaftInbox::default();
        inbox.durable(7);
        inbox.durable(5);
        let batch = inbox.take();
        assert_eq!((batch.durable, batch.stop), (7, false));
        inbox.stop();
        let batch = inbox.take();
        assert_eq!((batch.durable, batch.stop), (7, true));
    }
}
