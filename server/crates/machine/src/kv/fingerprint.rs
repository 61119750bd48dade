//! The fingerprint: equal history and counters give equal numbers, on every machine, however the
//! versions lie in blocks.

use super::{super::fingerprint::FingerprintHasher, Kv};

impl Kv {
    /// A hash of the whole visible state and history: equal states hash equal.
    pub fn fingerprint(&self) -> u64 {
        let mut fold = FingerprintHasher::new();
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
        fold.finish()
    }
}
