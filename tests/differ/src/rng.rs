//! The only source of chance: splitmix64 (Vigna, public domain).

use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded stream of numbers: the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        b ^ (b >> 31)
    }

    /// A number in `low..=high`. The bias of the remainder does not matter here.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// An index below `len`, which is not 0.
    pub fn below(&mut self, len: usize) -> usize {
        usize::try_from(self.draw() % len as u64).expect("below a usize")
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// One of `items`, which are not none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One of `items` as often as its weight says. The weights are not all 0.
    pub fn weighted<T: Copy>(&mut self, items: &[(u64, T)]) -> T {
        let sum: u64 = items.iter().map(|(weight, _)| weight).sum();
        let mut at = self.draw() % sum;
        for (weight, item) in items {
            if at < *weight {
                return *item;
            }
            at -= weight;
        }
        unreachable!("the weights sum up to {sum}")
    }
}

/// So many fresh seeds a test is to run beside those that are the same in every run, by
/// `WITAN_FRESH_SEEDS`: none, if it is not set. What chance finds shall not stop a change that did
/// not cause it.
///
/// # Panics
/// If it is set to something else than a number.
pub fn fresh_seeds() -> Vec<u64> {
    let count = std::env::var("WITAN_FRESH_SEEDS").map_or(0, |text| {
        text.parse().expect("WITAN_FRESH_SEEDS is a number")
    });
    (0..count).map(|_| fresh_seed()).collect()
}

/// A seed that no run had before. A run prints it, so that it can be had again.
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    // short enough to be read out and typed in
    Rng::new(u64::try_from(now.as_nanos()).unwrap_or(0)).draw() % 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        let mut rng = Rng::new(0);
        assert_eq!(rng.draw(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(rng.draw(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn an_item_without_weight_is_never_drawn() {
        let mut rng = Rng::new(1);
        let drawn: Vec<char> = (0..200)
            .map(|_| rng.weighted(&[(1, 'a'), (0, 'b'), (3, 'c')]))
            .collect();
        assert!(drawn.contains(&'a') && drawn.contains(&'c') && !drawn.contains(&'b'));
    }
}
