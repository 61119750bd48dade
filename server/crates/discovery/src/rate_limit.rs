//! Limits how many tokens the clients of one network may make.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use witan_base::client_network::{ClientNetwork, PerNetwork};

/// The limits count the tokens of this period.
pub(super) const RATE_PERIOD: Duration = Duration::from_secs(60);
/// Tokens of one network in a period: enough for a person who tries things out, or a script that builds clusters.
const TOKENS_PER_NETWORK: usize = 30;
/// Tokens of all networks in a period. It bounds the memory of this limit, too.
const TOKENS_PER_PERIOD: usize = 300;

/// Counts the tokens that were made in the last period.
#[derive(Debug, Default)]
pub(super) struct TokenRateLimit {
    networks: PerNetwork<()>,
    /// Oldest first. Each holds a reference to the entry of its network, so their number is the
    /// network's count.
    recent: Mutex<VecDeque<(Instant, Arc<()>)>>,
}

impl TokenRateLimit {
    /// Whether a client may make a token now; counts it if so.
    pub(super) fn admit(&self, client: ClientNetwork) -> bool {
        self.admit_at(client, Instant::now())
    }

    /// Whether a client may make a token at `now`; if so, counts it. Tokens older than `RATE_PERIOD` do not count.
    fn admit_at(&self, client: ClientNetwork, now: Instant) -> bool {
        // the queue is whole at every step: a panic elsewhere does not spoil it
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |made: &Instant| now.saturating_duration_since(*made) >= RATE_PERIOD;
        while recent.front().is_some_and(|(made, _)| is_old(made)) {
            recent.pop_front();
        }
        let entry = self.networks.get_or(client, || ());
        // one reference is this one
        let made = Arc::strong_count(&entry) - 1;
        if made >= TOKENS_PER_NETWORK || recent.len() >= TOKENS_PER_PERIOD {
            return false;
        }
        recent.push_back((now, entry));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> ClientNetwork {
        ClientNetwork::of(Some([10, 0, 0, last].into()))
    }

    #[test]
    fn a_network_has_a_share_and_gets_it_again_after_the_period() {
        let limit = TokenRateLimit::default();
        let start = Instant::now();
        let admitted = |last, at| {
            let tries = (0..TOKENS_PER_NETWORK * 2).filter(|_| limit.admit_at(network(last), at));
            tries.count()
        };
        assert_eq!(admitted(1, start), TOKENS_PER_NETWORK);
        assert_eq!(admitted(2, start + RATE_PERIOD / 2), TOKENS_PER_NETWORK);
        assert_eq!(admitted(1, start + RATE_PERIOD), TOKENS_PER_NETWORK);
        assert_eq!(admitted(2, start + RATE_PERIOD), 0);
    }

    #[test]
    fn all_networks_share_one_limit() {
        let limit = TokenRateLimit::default();
        let now = Instant::now();
        let admitted = (0..=u8::MAX).cycle().take(TOKENS_PER_PERIOD * 2);
        let admitted = admitted.filter(|last| limit.admit_at(network(*last), now));
        assert_eq!(admitted.count(), TOKENS_PER_PERIOD);
        assert!(limit.admit_at(network(1), now + RATE_PERIOD));
        assert_eq!(limit.recent.lock().unwrap().len(), 1);
    }
}
