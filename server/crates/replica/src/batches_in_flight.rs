//! Tracks batches of submitted proposals until they are answered, oldest first.
use std::collections::VecDeque;

use crate::{
    host::Ticket,
    limits::IN_FLIGHT_BYTES_MAX,
    replica::{Role, Status},
};

#[derive(Debug, Default)]
pub(crate) struct BatchesInFlight {
    batches: VecDeque<Batch>,
    /// Size in bytes, with the overhead of each proposal.
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Ticket of the batch's last proposal from this process.
    pub(crate) ticket: Option<Ticket>,
    /// Index of the last entry in this member's log after the turn that submitted the batch; `None` during that turn.
    pub(crate) end: Option<u64>,
    /// Size in bytes, with the overhead of each proposal.
    pub(crate) bytes: usize,
}

impl BatchesInFlight {
    /// Returns the maximum size of the next batch in bytes, or 0 if no batch may be submitted now.
    pub(crate) fn bytes_left(&self) -> usize {
        IN_FLIGHT_BYTES_MAX.saturating_sub(self.bytes)
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
    }

    /// Records `end` as the last log index after the turn that submitted the newest batches.
    pub(crate) fn turned(&mut self, end: u64) {
        let batches = self.batches.iter_mut().rev();
        for batch in batches.take_while(|batch| batch.end.is_none()) {
            batch.end = Some(end);
        }
    }

    /// Removes batches from the front while `waits` is false for them. Returns whether `waits` is true for the newest batch;
    /// `false` if there is no batch.
    pub(crate) fn drop_answered(&mut self, waits: impl Fn(&Batch) -> bool) -> bool {
        let newest_waits = self.batches.back().is_some_and(&waits);
        while let Some(first) = self.batches.pop_front_if(|first| !waits(first)) {
            self.bytes -= first.bytes;
        }
        newest_waits
    }
}

impl Batch {
    /// Returns whether the batch is still waiting for its answers. On a leader, a batch waits until its last entry is applied.
    /// If the log was truncated, it waits for the entry at `last`, the log's last index. On another member, a batch waits until
    /// its last proposal is answered: `is_waiting` is false for its ticket.
    pub(crate) fn waits(
        &self,
        status: &Status,
        last: u64,
        is_waiting: impl Fn(Ticket) -> bool,
    ) -> bool {
        match status.role {
            Role::Leader => self.end.is_none_or(|end| status.applied < end.min(last)),
            Role::Follower | Role::Candidate | Role::PreCandidate => {
                self.ticket.is_some_and(is_waiting)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_for_its_log_and_a_follower_for_its_own_proposals() {
        let batch = Batch { ticket: Some(Ticket(7)), end: Some(100), bytes: 1 };
        let waits = |role, applied, waiting: &[u64]| {
            let status = Status { role, applied, ..Status::default() };
            batch.waits(&status, 100, |ticket| waiting.contains(&ticket.0))
        };
        assert!(
            waits(Role::Leader, 99, &[]),
            "forwarded proposals have no ticket"
        );
        assert!(!waits(Role::Leader, 100, &[7]));
        assert!(waits(Role::Follower, 100, &[6, 7]));
        assert!(!waits(Role::Follower, 99, &[6]));
        let cut_off = Status { role: Role::Leader, applied: 90, ..Status::default() };
        assert!(
            !batch.waits(&cut_off, 90, |_| true),
            "the log was truncated"
        );
        let refused = Batch { ticket: None, ..batch };
        let status = Status { role: Role::Follower, ..Status::default() };
        assert!(!refused.waits(&status, 100, |_| true));
    }

    #[test]
    fn batches_in_flight_reduce_the_size_of_the_next_batch() {
        let mut batches = BatchesInFlight::default();
        for bytes in [1 << 20, 2 << 20, 8 << 20] {
            batches.push(Batch { bytes, ..Batch::default() });
            batches.turned(bytes as u64);
        }
        assert_eq!(batches.bytes_left(), 0);
        assert!(batches.drop_answered(|batch| batch.end > Some(1 << 20)));
        assert_eq!(batches.bytes_left(), 0);
        assert!(!batches.drop_answered(|_| false));
        assert_eq!(batches.bytes_left(), IN_FLIGHT_BYTES_MAX);
    }
}
