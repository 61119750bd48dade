//! Linearizable reads on their way to the replica. They are held in a [`crate::request_group`] until
//! they are due, so that one ReadIndex round serves the clients that read at the same time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use witan_base::client_network::Connection;
use witan_machine::view::View;
use witan_replica::host::Ticket;

use super::ReplicaLoop;
use crate::{completions::CompletionSender, request_group::Source};

/// Bytes for which a held read counts.
const READ_BYTES: usize = 64;

/// The last batch of reads that was passed to the replica.
#[derive(Debug)]
pub(super) struct LastReads {
    /// Ticket of the last of them, until their round is over.
    ticket: Option<Ticket>,
    asked: Instant,
    /// How long the last ones took until their round was over.
    pub(super) took: Duration,
}

impl LastReads {
    pub(super) fn new(now: Instant) -> Self {
        Self { ticket: None, asked: now, took: Duration::ZERO }
    }

    /// Notes after a turn whether they are in a round, and returns it.
    fn turned(&mut self, is_in_round: impl Fn(Ticket) -> bool, now: Instant) -> bool {
        let waits = self.ticket.is_some_and(is_in_round);
        if !waits && self.ticket.take().is_some() {
            self.took = now.saturating_duration_since(self.asked);
        }
        waits
    }
}

impl ReplicaLoop {
    /// Holds a read until it is due.
    pub(super) fn hold_read(&mut self, to: CompletionSender<Arc<View>>) {
        // one round serves all of them, so it does not matter whose they are
        let sender = Source::Client(Connection::default());
        self.reads.push(sender, to, READ_BYTES);
    }

    /// Passes the held reads to the replica if they are due. A sole voter needs no round for them, and a round
    /// that follows anyway takes them along.
    pub(super) fn read_due(&mut self, now: Instant) {
        let due = match self.replica.is_sole_voter() || self.replica.has_open_round() {
            true => self.reads.take(usize::MAX),
            false => self.reads.take_due(self.last_reads.took, now, usize::MAX),
        };
        if due.is_empty() {
            return;
        }
        self.reads_asked = true;
        for held in due {
            let (ticket, to) = (self.ticket(), held.request);
            match self.replica.read(ticket) {
                Ok(()) => {
                    self.last_reads.ticket = Some(ticket);
                    self.last_reads.asked = now;
                    self.host.reads.insert(ticket, self.ticks, to);
                }
                Err(refusal) => to.refuse(refusal.into()),
            }
        }
    }

    /// Notes after a turn whether the last reads are still in a round. What must be applied before they are
    /// answered does not hold back the next round.
    pub(super) fn follow_last_reads(&mut self, now: Instant) {
        let in_round = self.replica.is_in_round() || self.replica.has_open_round();
        let waiting = &self.host.reads;
        let waits = |ticket| in_round && waiting.is_waiting(ticket);
        let waits = self.last_reads.turned(waits, now);
        self.reads.turned(waits, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_take_from_the_request_to_the_end_of_their_round() {
        let asked = Instant::now();
        let mut reads = LastReads { ticket: Some(Ticket(7)), ..LastReads::new(asked) };
        let after = |micros| asked + Duration::from_micros(micros);
        assert!(reads.turned(|ticket| ticket == Ticket(7), after(100)));
        assert_eq!(reads.took, Duration::ZERO);
        assert!(!reads.turned(|_| false, after(300)));
        assert!(!reads.turned(|_| false, after(900)));
        assert_eq!(
            reads.took,
            Duration::from_micros(300),
            "not what came later"
        );
    }
}
