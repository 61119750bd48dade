//! Chooses which waiting requests enter a batch that cannot hold all of them. A sender is a connection or another member. A
//! request goes first if its sender has the fewest bytes of earlier requests, so every sender gets an equal share of the log.

use std::collections::BTreeMap;

/// Fixed cost in bytes added to every request, because logging, applying and answering a request also take time.
const REQUEST_BYTES: usize = 512;

/// A waiting request and its sender.
#[derive(Debug)]
pub(crate) struct Waiting<S, R> {
    pub(crate) sender: S,
    pub(crate) bytes: usize,
    pub(crate) request: R,
}

impl<S, R> Waiting<S, R> {
    /// Returns the size of the request in bytes, with its overhead.
    pub(crate) fn cost(&self) -> usize {
        cost_of_all(1, self.bytes)
    }
}

/// Returns the total cost in bytes of `requests` requests whose sizes add up to `bytes`.
pub(crate) fn cost_of_all(requests: usize, bytes: usize) -> usize {
    bytes.saturating_add(REQUEST_BYTES * requests)
}

/// Takes requests from `waiting` until their total cost reaches `budget` bytes; the last request may exceed the budget. Prefers
/// requests whose senders have the fewest bytes of earlier requests in `waiting`. Both the taken and the remaining requests
/// keep their order.
pub(crate) fn take<S: Copy + Ord, R>(
    waiting: &mut Vec<Waiting<S, R>>,
    budget: usize,
) -> Vec<Waiting<S, R>> {
    let mut sent: BTreeMap<S, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, usize)> = Vec::with_capacity(waiting.len());
    for (at, request) in waiting.iter().enumerate() {
        let before = sent.entry(request.sender).or_default();
        turns.push((*before, at));
        *before = before.saturating_add(request.cost());
    }
    turns.sort_unstable();
    let mut taken = vec![false; waiting.len()];
    let mut used = 0_usize;
    for (_, at) in turns {
        if used >= budget {
            break;
        }
        taken[at] = true;
        used = used.saturating_add(waiting[at].cost());
    }
    let mut taken = taken.into_iter();
    waiting
        .extract_if(.., |_| taken.next() == Some(true))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one request of `bytes` bytes for each character of `senders`, in the same order and numbered from 0.
    fn queue(senders: &str, bytes: usize) -> Vec<Waiting<char, usize>> {
        let requests = senders.chars().enumerate();
        requests
            .map(|(request, sender)| Waiting { sender, bytes, request })
            .collect()
    }

    fn senders(requests: &[Waiting<char, usize>]) -> String {
        requests.iter().map(|request| request.sender).collect()
    }

    #[test]
    fn senders_take_turns_and_their_requests_stay_in_order() {
        let mut waiting = queue("aaaaaabbc", 100);
        let cost = waiting[0].cost();
        let first = take(&mut waiting, 5 * cost);
        assert_eq!(senders(&first), "aabbc");
        assert_eq!(senders(&waiting), "aaaa");
        let places: Vec<usize> = waiting.iter().map(|waiting| waiting.request).collect();
        assert_eq!(places, [2, 3, 4, 5]);
    }

    #[test]
    fn senders_share_a_batch_by_bytes() {
        let mut waiting = queue("aaaa", 100_000);
        waiting.extend(queue(&"b".repeat(300), 100));
        let taken = take(&mut waiting, 300_000);
        let of = |sender| taken.iter().filter(move |taken| taken.sender == sender);
        let bytes = |sender| of(sender).map(Waiting::cost).sum::<usize>();
        assert_eq!(of('a').count(), 2);
        assert!(bytes('a').abs_diff(bytes('b')) <= 101_000);
    }

    #[test]
    fn one_request_is_taken_however_large_it_is() {
        let mut waiting = queue("ab", 1 << 30);
        assert_eq!(senders(&take(&mut waiting, 1)), "a");
        assert_eq!(senders(&take(&mut waiting, 1)), "b");
        assert!(take(&mut waiting, 1).is_empty());
    }

    /// A request waits for at most one batch, however many requests another sender has queued.
    #[test]
    fn a_single_request_is_in_the_next_batch() {
        let mut waiting = queue(&"abcd".repeat(8_000), 16_384);
        waiting.extend(queue("z", 10));
        let batch = take(&mut waiting, 1 << 20);
        assert!(batch.len() < 70);
        assert_eq!(batch.last().map(|last| last.sender), Some('z'));
    }
}
