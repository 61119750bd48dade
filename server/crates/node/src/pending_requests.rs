//! Requests that wait for the replica, by ticket.

use std::collections::VecDeque;

use witan_replica::host::Ticket;

use super::completions::CompletionSender;

/// Places of removed requests that are kept at least before the queue is compacted.
const EMPTY_PLACES_MIN: usize = 64;

/// A queue in the order of tickets, because most requests are answered in that order: the first place is the one
/// that is looked for. Requests of all kinds draw from one sequence of tickets, and one that is lost waits while
/// those behind it come and go, so a removed one leaves an empty place, and the queue is compacted when more
/// than half of its places are empty. Bounded by the replica, which refuses requests beyond its limits, and by
/// [`PendingRequests::expire`].
#[derive(Debug)]
pub(super) struct PendingRequests<T> {
    queue: VecDeque<Place<T>>,
    /// Places that are not empty; the first one never is.
    count: usize,
}

#[derive(Debug)]
struct Place<T> {
    ticket: u64,
    /// The tick in which the request began.
    since: u64,
    /// `None` if the request was removed.
    to: Option<CompletionSender<T>>,
}

impl<T> Default for PendingRequests<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), count: 0 }
    }
}

impl<T> PendingRequests<T> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a request that waits since `tick`. `ticket` must be higher than any before, and `tick` not lower.
    pub(super) fn insert(&mut self, ticket: Ticket, tick: u64, to: CompletionSender<T>) {
        self.queue
            .push_back(Place { ticket: ticket.0, since: tick, to: Some(to) });
        self.count += 1;
    }

    /// Whether a request waits with this ticket.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.find(ticket)
            .is_some_and(|at| self.queue[at].to.is_some())
    }

    /// Takes out the request that waits with this ticket; `None` if none does.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<CompletionSender<T>> {
        let at = self.find(ticket)?;
        let to = self.queue[at].to.take()?;
        self.count -= 1;
        self.drop_empty();
        Some(to)
    }

    /// Drops requests that have waited since before `tick`; they timed out long ago.
    pub(super) fn expire(&mut self, tick: u64) {
        while let Some(first) = self.queue.pop_front_if(|first| first.since < tick) {
            self.count -= usize::from(first.to.is_some());
        }
        self.drop_empty();
    }

    /// Returns the senders of all requests that wait.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = CompletionSender<T>> {
        self.queue.into_iter().filter_map(|place| place.to)
    }

    /// Returns the place of a ticket.
    fn find(&self, ticket: Ticket) -> Option<usize> {
        if self.queue.front()?.ticket == ticket.0 {
            return Some(0);
        }
        self.queue
            .binary_search_by_key(&ticket.0, |place| place.ticket)
            .ok()
    }

    /// Drops the empty places at the front, and all of them if they are the larger part.
    fn drop_empty(&mut self) {
        while self
            .queue
            .pop_front_if(|first| first.to.is_none())
            .is_some()
        {}
        if self.queue.len() - self.count > self.count.max(EMPTY_PLACES_MIN) {
            self.queue.retain(|place| place.to.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::AppliedCommand;

    #[actix_rt::test]
    async fn tickets_find_who_waits() {
        let mut waiting = PendingRequests::default();
        let to = || CompletionSender::<AppliedCommand>::new(Duration::from_secs(60)).0;
        for (ticket, tick) in [(5, 1), (6, 1), (9, 2), (10, 3)] {
            waiting.insert(Ticket(ticket), tick, to());
        }
        assert_eq!(waiting.len(), 4);
        assert!(waiting.is_waiting(Ticket(5)) && waiting.is_waiting(Ticket(10)));
        for absent in [0, 4, 7, 8, 11] {
            assert!(!waiting.is_waiting(Ticket(absent)), "{absent}");
            assert!(waiting.remove(Ticket(absent)).is_none(), "{absent}");
        }
        assert!(waiting.remove(Ticket(6)).is_some());
        assert!(!waiting.is_waiting(Ticket(6)));
        assert!(waiting.remove(Ticket(6)).is_none());
        waiting.expire(3);
        assert_eq!(waiting.len(), 1);
        assert!(waiting.remove(Ticket(9)).is_none());
        assert!(waiting.remove(Ticket(10)).is_some());
        waiting.insert(Ticket(20), 4, to());
        assert!(waiting.remove(Ticket(20)).is_some());
        assert_eq!(waiting.len(), 0);
    }

    /// Reads and requests about leases draw from the same tickets.
    #[actix_rt::test]
    async fn a_lost_request_costs_little_for_those_behind_it() {
        let mut waiting = PendingRequests::default();
        let to = || CompletionSender::<AppliedCommand>::new(Duration::from_secs(60)).0;
        waiting.insert(Ticket(1), 1, to());
        for ticket in (10..1 << 60).step_by(1 << 46) {
            waiting.insert(Ticket(ticket), 1, to());
            assert!(waiting.remove(Ticket(ticket)).is_some());
        }
        assert_eq!(waiting.len(), 1);
        assert!(waiting.queue.len() <= 2 * EMPTY_PLACES_MIN);
        assert!(waiting.is_waiting(Ticket(1)));
        waiting.expire(2);
        assert_eq!((waiting.len(), waiting.queue.len()), (0, 0));
    }
}
