//! The fingerprint: equal history and counters give equal numbers, on every machine, however the
//! versions lie in blocks.

use super::Kv;

impl Kv {
    /// A hash of the whole visible state and history: equal states hash equal.
    pub fn fingerprint(&self) -> u64 {
        let mut fold = FingerprintHasher(0);
        fold.word(self.revision as u64);
        fold.word(self.compacted as u64);
        fold.word(self.len() as u64);
        for block in self.history.blocks_from(0) {
            for (_, version) in block.versions() {
                fold.word(version.main as u64);
                fold.word(version.sub << 1 | u64::from(version.tombstone));
                fold.word(version.create as u64);
                fold.word(version.version as u64);
                fold.word(version.lease as u64);
                fold.bytes(version.key);
                fold.bytes(version.value);
            }
        }
        fold.0
    }
}

/// Multiply and mix, a word at a time. Not against an adversary.
struct FingerprintHasher(u64);

/// 2^64 divided by the golden ratio, odd.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl FingerprintHasher {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 ^= self.0 >> 29;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }
}
