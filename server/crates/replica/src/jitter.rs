//! Election jitter as a function of a seed. Each turn first replaces the random jitter of raft-rs (I1), so that runs with the
//! same seed are reproducible.

/// Returns the number of ticks until this member campaigns: `election_ticks` plus a jitter of less than `election_ticks`.
/// `campaigns` counts the member's campaigns, so two members that campaigned at the same time draw new timeouts.
pub(crate) fn election_ticks(
    seed: u64,
    id: u64,
    term: u64,
    campaigns: u64,
    election_ticks: usize,
) -> usize {
    let mixed = splitmix64(splitmix64(splitmix64(splitmix64(seed) ^ id) ^ term) ^ campaigns);
    let span = u64::try_from(election_ticks).unwrap_or(1).max(1);
    election_ticks + usize::try_from(mixed % span).unwrap_or(0)
}

/// Returns a pseudo-random number below `bound` (0 is treated as 1) that depends only on `seed` and `draw`.
pub(crate) fn below(seed: u64, draw: u64, bound: u64) -> u64 {
    splitmix64(splitmix64(seed) ^ draw) % bound.max(1)
}

/// Applies the SplitMix64 finalizer (Steele, Lea, Flood 2014), which turns consecutive numbers into pseudo-random numbers.
pub(crate) fn splitmix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::election_ticks;

    #[test]
    fn stays_between_one_and_two_timeouts_and_differs_by_member() {
        let drawn: Vec<usize> = (1..=50).map(|id| election_ticks(7, id, 3, 0, 10)).collect();
        assert!(drawn.iter().all(|t| (10..20).contains(t)));
        assert!(drawn.iter().any(|t| *t != drawn[0]));
    }
}
