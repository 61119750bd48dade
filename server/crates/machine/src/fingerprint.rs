//! The hash behind fingerprints of a state: the same on every machine and in every build.
//!
//! What does *not* live here: what a state is made of (`kv`, `tree`).

/// Multiply and mix, a word at a time. Not against an adversary.
#[derive(Debug)]
pub(super) struct FingerprintHasher(u64);

/// 2^64 divided by the golden ratio, odd.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl FingerprintHasher {
    pub(super) fn new() -> Self {
        Self(0)
    }

    /// Mixes one word into the hash.
    pub(super) fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 ^= self.0 >> 29;
    }

    /// Mixes a byte string into the hash: its length, then its words of eight bytes, the last filled up with
    /// zeros.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}
