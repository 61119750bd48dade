//! Requests that wait for the replica, by ticket.

use std::collections::VecDeque;

use witan_replica::host::Ticket;

use super::completions::CompletionSender;

/// A queue with gaps: tickets increase by one, and most are answered in order. Bounded by the
/// replica, which refuses requests beyond its limits, and by [`PendingRequests::expire`].
#[derive(Debug)]
pub(super) struct PendingRequests<T> {
    /// Ticket of the first entry.
    first: u64,
    /// The waiting requests, with the tick of their begin.
    queue: VecDeque<Option<(u64, CompletionSender<T>)>>,
    count: usize,
}

impl<T> Default for PendingRequests<T> {
    fn default() -> Self {
        Self { first: 0, queue: VecDeque::new(), count: 0 }
    }
}

impl<T> PendingRequests<T> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a request that waits since `tick`. `ticket` must be higher than any before.
    pub(super) fn insert(&mut self, ticket: Ticket, tick: u64, to: CompletionSender<T>) {
        if self.queue.is_empty() {
            self.first = ticket.0;
        }
        while self.first + (self.queue.len() as u64) < ticket.0 {
            self.queue.push_back(None);
        }
        self.queue.push_back(Some((tick, to)));
        self.count += 1;
    }

    /// Whether a request waits with this ticket.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        let place = ticket.0.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        place.is_some_and(|place| matches!(self.queue.get(place), Some(Some(_))))
    }

    /// Takes out the request that waits with this ticket; `None` if none does.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<CompletionSender<T>> {
        let place = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        let (_, to) = self.queue.get_mut(place)?.take()?;
        self.count -= 1;
        self.close_up();
        Some(to)
    }

    /// Drops requests that have waited since before `tick`; they timed out long ago.
    pub(super) fn expire(&mut self, tick: u64) {
        for place in &mut self.queue {
            match place {
                Some((since, _)) if *since >= tick => break,
                Some(_) => self.count -= 1,
                None => {}
            }
            *place = None;
        }
        self.close_up();
    }

    /// Returns the senders of all requests that wait.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = CompletionSender<T>> {
        self.queue.into_iter().flatten().map(|(_, to)| to)
    }

    /// Drops the places at the front of the queue whose requests were taken out.
    fn close_up(&mut self) {
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.first += 1;
        }
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
        assert_eq!((waiting.len(), waiting.queue.len()), (0, 0));
    }
}
