//! The inbox that the replica's thread empties before it takes client requests. It holds events about other members, a received
//! snapshot, an executed command, durable checkpoints and the stop request. The thread reads messages from other members itself
//! (`Post`).

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

use super::Node;

/// The inbox. The number of members bounds the number of events.
#[derive(Debug, Default)]
pub(super) struct RaftInbox {
    queued: Mutex<RaftBatch>,
    /// Whether an input has been added since the thread last took the inputs.
    filled: AtomicBool,
}

/// A command that the executor has executed, and how long that took.
pub(super) type Executed = (Box<ExecutedCommand>, Duration);

/// A snapshot message and the received state. The storage accepts no other snapshot while this one exists.
pub(super) type ReceivedState = (Envelope, ReceivedSnapshot);

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
    /// Returns whether an input has been added since the thread last took the inputs.
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
}

impl Node {
    /// Passes another member's snapshot message and the received state to the replica. Replaces a snapshot that still waits.
    pub fn receive_snapshot(&self, envelope: Envelope, snapshot: ReceivedSnapshot) {
        let received = Box::new((envelope, snapshot));
        let before = self.put(|queued| queued.snapshot.replace(received));
        // Drop the earlier snapshot after the unlock, because dropping a large state takes a long time.
        drop(before);
    }

    /// Reports a transport event to the replica. Removes an equal event that still waits, so that the last event describes the
    /// current process of the member.
    pub fn peer_event(&self, member: MemberId, event: PeerEvent) {
        self.put(|queued| {
            queued.events.retain(|queued| *queued != (member, event));
            queued.events.push((member, event));
        });
    }

    /// Reports to the replica that the checkpoint at raft index `index` is durable.
    pub fn durable(&self, index: u64) {
        self.put(|queued| queued.durable = queued.durable.max(Some(index)));
    }

    /// Makes the replica's thread end after one more turn, which takes no client requests.
    pub fn stop(&self) {
        self.put(|queued| queued.stop = true);
    }

    /// Passes an executed command to the replica. At most one command is in progress.
    pub(super) fn executed(&self, executed: Executed) {
        self.put(|queued| queued.executed = Some(executed));
    }

    /// Changes the inbox and wakes the replica's thread.
    fn put<T>(&self, change: impl FnOnce(&mut RaftBatch) -> T) -> T {
        let inbox = &self.shared.raft_inbox;
        let changed = change(&mut inbox.queued.lock());
        inbox.filled.store(true, Release);
        self.wake();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::without_replica;

    #[test]
    fn an_event_is_queued_once_and_the_last_event_comes_last() {
        let node = without_replica(MemberId(1), 1);
        let inbox = &node.shared.raft_inbox;
        for _ in 0..1000 {
            node.peer_event(MemberId(2), PeerEvent::Unreachable);
        }
        node.peer_event(MemberId(3), PeerEvent::Unreachable);
        node.peer_event(MemberId(2), PeerEvent::ProcessGone);
        assert!(inbox.is_filled());
        assert_eq!(inbox.take().events.len(), 3);
        assert!(!inbox.is_filled() && inbox.take().events.is_empty());
        let (gone, back) = (PeerEvent::ProcessGone, PeerEvent::StreamOpened);
        for event in [back, gone, back] {
            node.peer_event(MemberId(2), event);
        }
        assert_eq!(
            inbox.take().events,
            [(MemberId(2), gone), (MemberId(2), back)]
        );
    }
}
