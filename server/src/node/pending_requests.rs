//! Requests that wait for the replica, by ticket.

use std::collections::BTreeMap;

use witan_replica::host::Ticket;

use super::completions::CompletionSender;

/// A map, because requests of all kinds draw from one sequence of tickets, and one that is lost waits while those
/// behind it come and go. Bounded by the replica, which refuses requests beyond its limits, and by
/// [`PendingRequests::expire`].
#[derive(Debug)]
pub(super) struct PendingRequests<T> {
    /// The waiting requests by ticket, with the tick of their begin.
    waiting: BTreeMap<u64, (u64, CompletionSender<T>)>,
}

impl<T> Default for PendingRequests<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<T> PendingRequests<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a request that waits since `tick`. `ticket` must be higher than any before, and `tick` not lower.
    pub(super) fn insert(&mut self, ticket: Ticket, tick: u64, to: CompletionSender<T>) {
        self.waiting.insert(ticket.0, (tick, to));
    }

    /// Whether a request waits with this ticket.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket.0)
    }

    /// Takes out the request that waits with this ticket; `None` if none does.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<CompletionSender<T>> {
        self.waiting.remove(&ticket.0).map(|(_, to)| to)
    }

    /// Drops requests that have waited since before `tick`; they timed out long ago.
    pub(super) fn expire(&mut self, tick: u64) {
        while let Some(first) = self.waiting.first_entry()
            && first.get().0 < tick
        {
            first.remove();
        }
    }

    /// Returns the senders of all requests that wait.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = CompletionSender<T>> {
        self.waiting.into_values().map(|(_, to)| to)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::AppliedCommand;

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
    async fn a_lost_request_costs_nothing_for_the_tickets_behind_it() {
        let mut waiting = PendingRequests::default();
        let to = || CompletionSender::<AppliedCommand>::new(Duration::from_secs(60)).0;
        let much_later = Ticket(1 << 60);
        waiting.insert(Ticket(1), 1, to());
        waiting.insert(much_later, 1, to());
        assert!(waiting.remove(much_later).is_some());
        assert!(waiting.is_waiting(Ticket(1)));
        waiting.expire(2);
        assert_eq!(waiting.len(), 0);
    }
}
