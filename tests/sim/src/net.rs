//! The simulated network: loss, delay and duplication of packets between two members.
//!
//! A snapshot is transferred as checkpoint records, as on a real wire, never as shared memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use witan_machine::{member::MemberId, record::CorruptRecord};
use witan_replica::{
    host::{Envelope, Lane},
    replica::Replica,
};

use crate::{disk::Saved, rng::Rng};

/// An encoded envelope.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) to: u64,
    pub(crate) from: u64,
    pub(crate) lane: Lane,
    pub(crate) message: Bytes,
    pub(crate) snapshot: Option<Saved>,
}

impl Packet {
    pub(crate) fn new(envelope: Envelope) -> Self {
        let Envelope { to, from, lane, message, snapshot } = envelope;
        Self {
            to: to.0,
            from: from.0,
            lane,
            message,
            snapshot: snapshot.map(|view| Saved::whole(&view, 0)),
        }
    }

    /// Decodes the envelope at the receiver.
    pub(crate) fn open(self) -> Result<Envelope, CorruptRecord> {
        let snapshot = self
            .snapshot
            .as_ref()
            .map(Saved::view)
            .transpose()?
            .map(Box::new);
        Ok(Envelope {
            to: MemberId(self.to),
            from: MemberId(self.from),
            lane: self.lane,
            message: self.message,
            snapshot,
        })
    }
}

/// The state of all links.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    /// Cut links as `(from, to)`.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Percentage of packets that are lost.
    pub(crate) drop_percent: u64,
    /// Percentage of packets that arrive twice.
    pub(crate) duplicate_percent: u64,
    /// Longest delay in units. Packets are reordered because their delays differ.
    pub(crate) delay_max: u64,
}

impl Net {
    /// Creates a network without faults.
    pub(crate) fn calm() -> Self {
        Self {
            cut: BTreeSet::new(),
            drop_percent: 0,
            duplicate_percent: 0,
            delay_max: 2,
        }
    }

    /// Returns the delays in units of the delivered copies of a packet. The list is empty if the packet is lost.
    pub(crate) fn route(&self, packet: &Packet, rng: &mut Rng) -> Vec<u64> {
        if self.cut.contains(&(packet.from, packet.to)) || rng.chance(self.drop_percent) {
            return Vec::new();
        }
        let copies = if rng.chance(self.duplicate_percent) {
            2
        } else {
            1
        };
        (0..copies).map(|_| rng.range(1, self.delay_max)).collect()
    }

    /// Cuts all links between the members in `group` and the others. With `one_way`, the links into the group stay open.
    pub(crate) fn split(&mut self, members: u64, group: &BTreeSet<u64>, one_way: bool) {
        for a in group {
            for b in (1..=members).filter(|b| !group.contains(b)) {
                self.cut.insert((*a, b));
                if !one_way {
                    self.cut.insert((b, *a));
                }
            }
        }
    }
}

impl Packet {
    /// Returns the text of the packet for a trace.
    pub(crate) fn text(&self) -> String {
        let snapshot = self.snapshot.as_ref().map_or(String::new(), |saved| {
            format!(" with a snapshot of {} records", saved.records.len())
        });
        format!("{}{snapshot}", Replica::describe(&self.message))
    }
}
