//! Fingerprints of states, for tests. Equal states have the same fingerprint on every machine and in every build.

use std::hash::{Hash, Hasher};

/// Returns the fingerprint of a state.
pub fn of(state: &impl Hash) -> u64 {
    let mut hasher = FingerprintHasher(0);
    state.hash(&mut hasher);
    hasher.finish()
}

/// Returns the fingerprint of the parts that `emit` passes. The fingerprint depends on how the bytes are divided into parts.
pub(crate) fn of_parts(emit: impl FnOnce(&mut dyn FnMut(&[u8]))) -> u64 {
    let mut hasher = FingerprintHasher(0);
    emit(&mut |part| hasher.write(part));
    hasher.finish()
}

/// A hasher that multiplies and mixes one word at a time. The hasher does not resist deliberate collisions.
struct FingerprintHasher(u64);

/// 2^64 divided by the golden ratio, rounded to an odd number.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for FingerprintHasher {
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 ^= self.0 >> 29;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    /// Mixes eight bytes at a time and pads the last word with zeros. Callers write the length first.
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
