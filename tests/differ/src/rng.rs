//! The only source of randomness: splitmix64 (Vigna, public domain).

use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded stream of numbers. It is the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        b ^ (b >> 31)
    }

    /// Returns a number in `low..=high`. The bias of the modulo does not matter here.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// Returns an index below `len`, which must not be 0.
    pub fn below(&mut self, len: usize) -> usize {
        usize::try_from(self.draw() % len as u64).expect("below a usize")
    }

    /// Returns `true` with a probability of `percent` in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// Returns one of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns one of `items` with a probability proportional to its weight. At least one weight must not be 0.
    pub fn weighted<T: Copy>(&mut self, items: &[(u64, T)]) -> T {
        let weights: Vec<u64> = items.iter().map(|(weight, _)| *weight).collect();
        items[self.index(&weights)].1
    }

    /// Returns an index with a probability proportional to its weight. At least one weight must not be 0.
    pub fn index(&mut self, weights: &[u64]) -> usize {
        let sum: u64 = weights.iter().sum();
        let mut at = self.draw() % sum;
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        unreachable!("the weights sum up to {sum}")
    }
}

/// Returns the fresh seeds that a test adds to its fixed seeds. `WITAN_FRESH_SEEDS` sets their number. The default is 0,
/// because a random finding must not block an unrelated change. Panics if the variable is not a number.
pub fn fresh_seeds() -> Vec<u64> {
    let count = std::env::var("WITAN_FRESH_SEEDS").map_or(0, |text| {
        text.parse().expect("WITAN_FRESH_SEEDS is a number")
    });
    (0..count).map(|_| fresh_seed()).collect()
}

/// Returns a new seed. A run prints its seeds, so that it can be repeated.
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    // Keep the seed short enough to type.
    Rng::new(u64::try_from(now.as_nanos()).unwrap_or(0)).draw() % 1_000_000_000
}
