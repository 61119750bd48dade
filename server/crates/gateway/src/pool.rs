//! Chooses an active endpoint for each connection according to the priorities and weights of SRV records (RFC 2782).

use std::{cell::Cell, collections::hash_map::RandomState, hash::BuildHasher as _};

use super::endpoints::Address;

/// Share per unit of weight. An endpoint of weight 0 gets a share of 1, because RFC 2782 requires a small chance for it.
const SHARE_OF_WEIGHT: u64 = 100;

/// A member's client address, and whether the gateway uses it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    priority: u16,
    weight: u16,
    /// Whether the last attempt to connect succeeded; true before the first attempt.
    is_active: Cell<bool>,
}

impl Endpoint {
    /// Creates an active endpoint. `priority` and `weight` are from its SRV record, or 0 without a record.
    pub(super) fn new(address: Address, priority: u16, weight: u16) -> Self {
        let is_active = Cell::new(true);
        Self { address, priority, weight, is_active }
    }

    /// Marks the endpoint as active or inactive. Returns whether the state has changed.
    pub(super) fn set_active(&self, is_active: bool) -> bool {
        self.is_active.replace(is_active) != is_active
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Vec<Endpoint>,
    choices: Cell<u64>,
    random: RandomState,
}

impl Pool {
    pub(super) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, choices: Cell::new(0), random: RandomState::new() }
    }

    /// Iterates over the endpoints whose last connection attempt failed.
    pub(super) fn inactive(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_active.get())
    }

    /// Returns an active endpoint with the lowest priority number. If all active endpoints with this number have weight 0, they
    /// take turns. Otherwise, the choice is random by weight. Returns `None` if no endpoint is active.
    pub(super) fn choose(&self) -> Option<&Endpoint> {
        let choice = self.choices.get();
        self.choices.set(choice.wrapping_add(1));
        let active = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.is_active.get());
        let lowest = active.clone().map(|endpoint| endpoint.priority).min()?;
        let of_lowest = active.filter(|endpoint| endpoint.priority == lowest);
        let is_weighted = of_lowest.clone().any(|endpoint| endpoint.weight > 0);
        let share = |endpoint: &Endpoint| match is_weighted {
            true => (u64::from(endpoint.weight) * SHARE_OF_WEIGHT).max(1),
            false => 1,
        };
        let total: u64 = of_lowest.clone().map(share).sum();
        let drawn = match is_weighted {
            true => self.random.hash_one(choice),
            false => choice,
        };
        let mut rest = drawn % total;
        for endpoint in of_lowest {
            let share = share(endpoint);
            if rest < share {
                return Some(endpoint);
            }
            rest -= share;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CHOICES: usize = 4000;

    /// Creates a pool of endpoints `a`, `b`, … with these priorities and weights.
    fn pool(ranks: &[(u16, u16)]) -> Pool {
        let named = ('a'..='z').zip(ranks);
        let endpoints = named.map(|(name, (priority, weight))| {
            let address = Address { host: name.to_string(), port: 2379 };
            Endpoint::new(address, *priority, *weight)
        });
        Pool::new(endpoints.collect())
    }

    fn chosen(pool: &Pool) -> &str {
        pool.choose()
            .map_or("none", |endpoint| &endpoint.address.host)
    }

    /// Returns the number of times that each endpoint is chosen in `CHOICES` choices.
    fn counts(pool: &Pool) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..CHOICES {
            *counts.entry(chosen(pool)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn endpoints_without_weights_take_turns() {
        let pool = pool(&[(0, 0), (0, 0), (0, 0)]);
        let first: Vec<&str> = (0..6).map(|_| chosen(&pool)).collect();
        assert_eq!(first, ["a", "b", "c", "a", "b", "c"]);
        assert!(pool.endpoints[1].set_active(false));
        assert!(!pool.endpoints[1].set_active(false), "no change");
        assert_eq!(
            counts(&pool),
            BTreeMap::from([("a", CHOICES / 2), ("c", CHOICES / 2)])
        );
        assert_eq!(pool.inactive().count(), 1);
        assert!(pool.endpoints[1].set_active(true));
        assert_eq!(counts(&pool).len(), 3);
    }

    #[test]
    fn a_higher_priority_number_is_used_only_without_a_lower_one() {
        let pool = pool(&[(10, 0), (5, 0), (5, 0)]);
        assert_eq!(counts(&pool).keys().collect::<Vec<_>>(), [&"b", &"c"]);
        pool.endpoints[1].set_active(false);
        pool.endpoints[2].set_active(false);
        assert_eq!(chosen(&pool), "a");
        pool.endpoints[0].set_active(false);
        assert_eq!(chosen(&pool), "none");
    }

    #[test]
    fn weights_divide_the_connections() {
        let pool = pool(&[(0, 3), (0, 1), (0, 0)]);
        let counted = counts(&pool);
        let [heavy, light] = ["a", "b"].map(|name| counted[name]);
        // The expected values are 3000 and 1000 of 4000. A fair draw is outside these bounds once in 10^9 runs.
        assert!((2800..3200).contains(&heavy), "{counted:?}");
        assert!((800..1200).contains(&light), "{counted:?}");
        let rare = counted.get("c").copied().unwrap_or_default();
        assert!(rare < 100, "{counted:?}");
    }
}
