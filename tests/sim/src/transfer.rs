//! Snapshot transfers. Each snapshot is sent in pieces on its own stream. A broken stream is reopened a few times and continues
//! at the same piece, if the receiver is still running. After that, the sender reports a failure. Two members have at most one
//! transfer in each direction.

use witan_machine::member::MemberId;
use witan_replica::replica::PeerEvent;

use crate::{
    net::Packet,
    world::{Event, Phase, World},
};

/// Maximum number of times that a stream is opened for one snapshot.
const ATTEMPTS: u32 = 3;

/// Longest pause in units before a stream is reopened.
const RETRY_UNITS: u64 = 40;

/// A snapshot in transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    packet: Packet,
    pieces: u64,
    arrived: u64,
    attempts: u32,
    /// Incarnation of the sending process.
    sender: u64,
    receiver: u64,
    /// Distinguishes the transfer from others between the same members.
    number: u64,
}

impl World {
    /// Starts the transfer of a snapshot. Drops the snapshot if another transfer to the same member is in progress, as the real
    /// transport does. That transfer reports its own end.
    pub(crate) fn begin_transfer(&mut self, packet: Packet) {
        let way = (packet.from, packet.to);
        let sender = self.members[(packet.from - 1) as usize].incarnation;
        if let Some(other) = self.transfers.get(&way)
            && other.sender == sender
        {
            return;
        }
        self.counts.snapshots += 1;
        let number = self.counts.snapshots;
        let pieces = self.chance.range(1, self.climate.snapshot_pieces);
        let receiver = self.members[(packet.to - 1) as usize].incarnation;
        let transfer = Transfer {
            packet,
            pieces,
            arrived: 0,
            attempts: 1,
            sender,
            receiver,
            number,
        };
        self.transfers.insert(way, transfer);
        self.next_piece(way, number, 0);
    }

    /// Schedules the next piece, `pause` units plus a network delay from now.
    fn next_piece(&mut self, way: (u64, u64), number: u64, pause: u64) {
        let delay = pause + self.chance.range(1, self.net.delay_max);
        self.after(delay, Event::Piece { way, number });
    }

    /// Delivers a piece, or breaks the stream. Reports a failure after the last attempt.
    pub(crate) fn piece(&mut self, way: (u64, u64), number: u64) {
        let Some(mut transfer) = self.transfers.remove(&way) else {
            return;
        };
        if transfer.number != number {
            self.transfers.insert(way, transfer);
            return;
        }
        let (from, to) = ((way.0 - 1) as usize, (way.1 - 1) as usize);
        if !self.runs(from, transfer.sender) {
            return;
        }
        let receiver = &self.members[to];
        let busy = transfer.arrived + 1 >= transfer.pieces && receiver.inbox.snapshot.is_some();
        let open = receiver.replica.is_some()
            && !receiver.registry.removed_ids.contains(&MemberId(way.0))
            && !self.refuses_unknown_sender(way.0, way.1)
            && !self.net.cut.contains(&way)
            && !self.net.cut.contains(&(way.1, way.0));
        if receiver.incarnation != transfer.receiver {
            transfer.receiver = receiver.incarnation;
            transfer.arrived = 0;
        }
        let breaks = self.phase == Phase::Chaos && self.chance.chance(self.climate.break_percent);
        if !open || busy || breaks {
            self.counts.interrupted += 1;
            transfer.attempts += 1;
            if transfer.attempts > ATTEMPTS {
                return self.report(way.0, way.1, PeerEvent::SnapshotFailed);
            }
            self.transfers.insert(way, transfer);
            let pause = self.chance.range(1, RETRY_UNITS);
            return self.next_piece(way, number, pause);
        }
        transfer.arrived += 1;
        if transfer.arrived < transfer.pieces {
            self.transfers.insert(way, transfer);
            return self.next_piece(way, number, 0);
        }
        if !self.members[to]
            .registry
            .by_id
            .contains_key(&MemberId(way.0))
        {
            self.members[to].remotes.insert(way.0);
        }
        self.members[to].inbox.snapshot = Some((number, transfer.packet.clone()));
        self.transfers.insert(way, transfer);
        self.wake(to);
    }

    /// Reports to the sender that the receiver has accepted or rejected a snapshot, or that its incarnation `receiver` has
    /// ended.
    pub(crate) fn snapshot_taken(&mut self, way: (u64, u64), number: u64, receiver: u64) {
        let transfer = self.transfers.remove(&way);
        let Some(transfer) = transfer.filter(|transfer| transfer.number == number) else {
            return;
        };
        if !self.runs((way.0 - 1) as usize, transfer.sender) {
            return;
        }
        let event = match self.runs((way.1 - 1) as usize, receiver) {
            true => PeerEvent::SnapshotDelivered,
            false => PeerEvent::SnapshotFailed,
        };
        self.report(way.0, way.1, event);
    }

    /// Ends the transfers that an ending receiver has received completely, and reports their failure.
    pub(crate) fn receiver_gone(&mut self, place: usize) {
        let ways: Vec<(u64, u64)> = self
            .transfers
            .iter()
            .filter(|(way, transfer)| {
                way.1 == place as u64 + 1 && transfer.arrived >= transfer.pieces
            })
            .map(|(way, _)| *way)
            .collect();
        for way in ways {
            self.transfers.remove(&way);
            self.report(way.0, way.1, PeerEvent::SnapshotFailed);
        }
    }
}
