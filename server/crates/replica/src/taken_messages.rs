//! Remembers which forwarded messages a leader has accepted in its term. A follower resends a message that may have been lost,
//! and the leader accepts only the first copy.
use std::collections::BTreeSet;

use crate::limits::{LOST_MESSAGES_MAX, TAKEN_PROCESSES_MAX};

/// The messages that a leader has accepted in its current term. The first message of another term clears them, because messages
/// of other terms are never accepted.
#[derive(Debug, Default)]
pub(crate) struct TakenMessages {
    term: u64,
    /// The sending processes by member and incarnation, ordered by their latest messages, oldest first.
    processes: Vec<((u64, u32), TakenNumbers)>,
}

impl TakenMessages {
    /// Records message `number` of a process, identified by member and incarnation, for the leader of `term`. Returns whether
    /// the leader may accept the message. Returns `false` if the message was accepted before or is so old that this is unknown.
    /// Remembers the last [`TAKEN_PROCESSES_MAX`] processes of each member.
    pub(crate) fn take(&mut self, term: u64, process: (u64, u32), number: u64) -> bool {
        if self.term != term {
            *self = Self { term, processes: Vec::new() };
        }
        let known = self.processes.iter().rposition(|(it, _)| *it == process);
        let (_, mut numbers) = known.map_or_else(Default::default, |at| self.processes.remove(at));
        let first = numbers.take(number);
        self.processes.push((process, numbers));
        let of_member = |((member, _), _): &((u64, u32), TakenNumbers)| *member == process.0;
        if self.processes.iter().filter(|it| of_member(it)).count() > TAKEN_PROCESSES_MAX {
            let earliest = self.processes.iter().position(of_member);
            self.processes
                .remove(earliest.expect("the list is not empty"));
        }
        first
    }
}

/// The message numbers that have arrived from one process. Numbers start at 1, and most messages arrive in order.
#[derive(Debug, Default)]
struct TakenNumbers {
    highest: u64,
    /// Numbers below `highest` that have not arrived.
    missing: BTreeSet<u64>,
}

impl TakenNumbers {
    /// Records a number. Returns `false` if it arrived before or is so old that this is unknown.
    fn take(&mut self, number: u64) -> bool {
        if number <= self.highest {
            return self.missing.remove(&number);
        }
        let oldest = number.saturating_sub(LOST_MESSAGES_MAX as u64);
        self.missing.extend(oldest.max(self.highest + 1)..number);
        while self.missing.len() > LOST_MESSAGES_MAX {
            self.missing.pop_first();
        }
        self.highest = number;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: (u64, u32) = (1, 7);

    #[test]
    fn each_message_is_accepted_once_in_any_order() {
        let mut taken = TakenMessages::default();
        for (number, first) in [
            (5, true),
            (5, false),
            (8, true),
            (6, true),
            (6, false),
            (4, true),
        ] {
            assert_eq!(taken.take(3, PROCESS, number), first, "{number}");
        }
        assert!(taken.take(3, (1, 8), 5), "another process");
        assert!(taken.take(3, (2, 7), 5), "another member");
        assert!(
            !taken.take(3, PROCESS, 8),
            "the first process is still known"
        );
        assert!(
            taken.take(4, PROCESS, 8),
            "the message is for the leader of another term"
        );
    }

    #[test]
    fn messages_lost_too_long_ago_are_ignored_and_memory_is_bounded() {
        let mut taken = TakenMessages::default();
        let last = 1 << 40;
        assert!(taken.take(1, PROCESS, 1));
        assert!(taken.take(1, PROCESS, last));
        let oldest = last - LOST_MESSAGES_MAX as u64;
        assert!(!taken.take(1, PROCESS, oldest - 1));
        assert!(taken.take(1, PROCESS, oldest) && !taken.take(1, PROCESS, oldest));
        assert!(taken.take(1, PROCESS, u64::MAX) && !taken.take(1, PROCESS, u64::MAX));
        assert_eq!(taken.processes[0].1.missing.len(), LOST_MESSAGES_MAX);
        for incarnation in 0..1000 {
            assert!(taken.take(1, (2, incarnation), 1));
        }
        assert_eq!(taken.processes.len(), 1 + TAKEN_PROCESSES_MAX);
        assert!(
            !taken.take(1, PROCESS, last),
            "other processes do not displace numbers"
        );
    }
}
