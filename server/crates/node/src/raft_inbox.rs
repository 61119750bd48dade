//! The inbox that the replica's thread empties before client requests. It holds events about other members, a received
//! snapshot, an executed command, durable checkpoints and the stop request. The thread reads messages from other members itself
//! (`post`).

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

/// The inbox. The number of members bounds the number of events.
#[derive(Debug, Default)]
pub(super) struct RaftInbox {
    queued: Mutex<RaftBatch>,
    /// Whether an input was added since the thread last took the inputs.
    filled: AtomicBool,
}

/// A command that the executor has executed, and how long that took.
pub(super) type Executed = (Box<ExecutedCommand>, Duration);

/// A snapshot message and the received state. The storage accepts no other snapshot while one exists.
#[derive(Debug)]
pub(super) struct ReceivedState {
    pub(super) envelope: Envelope,
    pub(super) snapshot: ReceivedSnapshot,
}

#[derive(Debug, Default)]
pub(super) struct RaftBatch {
    pub(super) events: Vec<(MemberId, PeerEvent)>,
    pub(super) snapshot: Option<Box<ReceivedState>>,
    pub(super) executed: Option<Executed>,
    /// Index of the newest durable checkpoint, or `None` if there is no new checkpoint.
    pub(super) durable: Option<u64>,
    pub(super) stop: bool,
}

impl RaftInbox {
    /// Queues a received snapshot for the next turn and drops a queued snapshot. Does not wake the thread.
    pub(super) fn receive_snapshot(&self, envelope: Envelope, snapshot: ReceivedSnapshot) {
        let received = Box::new(ReceivedState { envelope, snapshot });
        let before = self.put(|queued| queued.snapshot.replace(received));
        // Drop the earlier snapshot after the unlock, because dropping a large state takes long.
        drop(before);
    }

    /// Queues an executed command for the next turn. At most one is in progress.
    pub(super) fn executed(&self, executed: Executed) {
        self.put(|queued| queued.executed = Some(executed));
    }

    /// Queues a member's event last and removes an equal event, so that the last event describes a peer's current process.
    pub(super) fn event(&self, member: MemberId, event: PeerEvent) {
        self.put(|queued| {
            queued.events.retain(|queued| *queued != (member, event));
            queued.events.push((member, event));
        });
    }

    /// Records that the checkpoint at `index` is durable.
    pub(super) fn durable(&self, index: u64) {
        self.put(|queued| queued.durable = queued.durable.max(Some(index)));
    }

    pub(super) fn stop(&self) {
        self.put(|queued| queued.stop = true);
    }

    /// Returns whether an input was added since the thread last took the inputs.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Acquire)
    }

    /// Takes all inputs for the next turn.
    pub(super) fn take(&self) -> RaftBatch {
        match self.filled.swap(false, AcqRel) {
            true => std::mem::take(&mut *self.queued.lock()),
            false => RaftBatch::default(),
        }
    }

    /// Changes the queued inputs without waking the thread.
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
    fn an_event_is_queued_once_and_the_last_event_comes_last() {
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
}
