//! The inbox that the replica's thread empties before the requests of clients: events of other members, a received
//! snapshot, an executed command, durable checkpoints, and the end. Messages of other members do not pass it: the thread
//! reads them by itself (`post`).

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering::{AcqRel, Acquire, Release},
    },
    time::Duration,
};

use witan_base::sync::Mutex;
use witan_machine::member::MemberId;
use witan_replica::{host::Envelope, long_command::ExecutedCommand, replica::PeerEvent};
use witan_storage::ReceivedSnapshot;

/// See the module's description. Events are bounded by the number of members.
#[derive(Debug, Default)]
pub(super) struct RaftInbox {
    queued: Mutex<RaftBatch>,
    /// Whether something was put in since the thread looked last.
    filled: AtomicBool,
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

/// The events and results that the next turn takes.
#[derive(Debug, Default)]
pub(super) struct RaftBatch {
    pub(super) events: Vec<(MemberId, PeerEvent)>,
    pub(super) snapshot: Option<Box<ReceivedState>>,
    pub(super) executed: Option<Executed>,
    /// Index of the last durable checkpoint, 0 if there is no new one.
    pub(super) durable: u64,
    pub(super) stop: bool,
}

impl RaftInbox {
    /// Keeps a received snapshot for the next turn, in place of one that was not taken yet; wakes nobody.
    pub(super) fn receive_snapshot(&self, envelope: Envelope, snapshot: ReceivedSnapshot) {
        let received = Box::new(ReceivedState { envelope, snapshot });
        let before = self.put(|queued| queued.snapshot.replace(received));
        // outside of the lock
        drop(before);
    }

    /// Stores the result of an executed command for the next turn; there is one at a time.
    pub(super) fn executed(&self, executed: Executed) {
        self.put(|queued| queued.executed = Some(executed));
    }

    /// Queues an event of a member for the next turn, behind the others, in place of the same one that is
    /// queued: of a process that ended and was started again, the last event counts.
    pub(super) fn event(&self, member: MemberId, event: PeerEvent) {
        self.put(|queued| {
            queued.events.retain(|queued| *queued != (member, event));
            queued.events.push((member, event));
        });
    }

    pub(super) fn durable(&self, index: u64) {
        self.put(|queued| queued.durable = queued.durable.max(index));
    }

    pub(super) fn stop(&self) {
        self.put(|queued| queued.stop = true);
    }

    /// Whether something was put in since the thread looked last.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Acquire)
    }

    /// Takes everything for the next turn.
    pub(super) fn take(&self) -> RaftBatch {
        match self.filled.swap(false, AcqRel) {
            true => std::mem::take(&mut *self.queued.lock()),
            false => RaftBatch::default(),
        }
    }

    /// Changes what is queued, and wakes nobody.
    fn put<T>(&self, change: impl FnOnce(&mut RaftBatch) -> T) -> T {
        let changed = change(&mut self.queued.lock());
        self.filled.store(true, Release);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_once_and_the_last_one_comes_last() {
        let inbox = RaftInbox::default();
        for _ in 0..1000 {
            inbox.event(MemberId(2), PeerEvent::Unreachable);
        }
        inbox.event(MemberId(3), PeerEvent::Unreachable);
        inbox.event(MemberId(2), PeerEvent::ProcessGone);
        assert!(inbox.is_filled());
        assert_eq!(inbox.take().events.len(), 3);
        assert!(!inbox.is_filled() && inbox.take().events.is_empty());
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
        inbox.stop();
        let batch = inbox.take();
        assert_eq!((batch.durable, batch.stop), (7, true));
    }
}
