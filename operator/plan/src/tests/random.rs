//! The random number generator of the tests.

/// Pseudo-random numbers derived from a seed (splitmix64).
#[derive(Default)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Returns a number less than `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn seconds(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).unwrap_or_default()
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(u64::try_from(from.len().max(1)).unwrap_or(1));
        from.get(usize::try_from(at).unwrap_or_default()).copied()
    }
}
