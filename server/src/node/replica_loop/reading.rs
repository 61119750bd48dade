//! Linearizable reads on their way to the replica. They are held in a [`crate::node::request_group`] until
//! they are due, so that one ReadIndex round serves the clients that read at the same time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use witan_replica::{host::Ticket, machine::view::View};

use super::ReplicaLoop;
use crate::node::{completions::CompletionSender, request_group::Source};

/// What a held read counts for in the bound of bytes.
const READ_BYTES: usize = 64;

/// The reads that were last asked for together.
#[derive(Debug)]
pub(super) struct LastReads {
    /// Ticket of the last of them, while it waits.
    ticket: Option<Ticket>,
    asked: Instant,
    /// How long the last answered ones took, which is a round and what had to be applied.
    pub(super) took: Duration,
}

impl LastReads {
    pub(super) fn new(now: Instant) -> Self {
        Self { ticket: None, asked: now, took: Duration::ZERO }
    }

    /// Notes after a turn whether they wait, and returns it.
    fn turned(&mut self, is_waiting: impl Fn(Ticket) -> bool, now: Instant) -> bool {
        let waits = self.ticket.is_some_and(is_waiting);
        if !waits && self.ticket.take().is_some() {
            self.took = now.saturating_duration_since(self.asked);
        }
        waits
    }
}

impl ReplicaLoop {
    /// Holds a read until it is due.
    pub(super) fn hold_read(&mut self, to: CompletionSender<Arc<View>>) {
        self.reads.push(Source::Clients, to, READ_BYTES);
    }

    /// Passes the held reads to the replica if they are due. A sole voter needs no round for them.
    pub(super) fn read_due(&mut self, now: Instant) {
        let due = match self.replica.is_sole_voter() {
            true => self.reads.take(),
            false => self.reads.take_due(self.last_reads.took, now),
        };
        if due.is_empty() {
            return;
        }
        self.reads_asked = true;
        self.last_reads.asked = now;
        for to in due {
            let ticket = self.ticket();
            match self.replica.read(ticket) {
                Ok(()) => {
                    self.last_reads.ticket = Some(ticket);
                    self.host.reads.insert(ticket, self.ticks, to);
                }
                Err(refusal) => to.refuse(refusal.into()),
            }
        }
    }

    /// Notes after a turn whether the last reads still wait for their answers.
    pub(super) fn follow_last_reads(&mut self, now: Instant) {
        let waiting = &self.host.reads;
        let waits = { &mut self.last_reads }.turned(|ticket| waiting.is_waiting(ticket), now);
        self.reads.turned(waits, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_take_from_their_round_to_their_answer() {
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
