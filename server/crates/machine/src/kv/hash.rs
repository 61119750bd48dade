//! The hash of a key space. Key spaces that readers and watchers cannot distinguish have the same hash. The hash excludes the
//! TTLs of leases.

use std::hash::{Hash, Hasher};

use super::Kv;
use crate::values::ReadPattern;

impl Hash for Kv {
    /// Waits until values that are only on disk have been read.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.revision, self.compacted, self.len()).hash(state);
        for block in self.history.blocks_from(0) {
            let values = block.values(ReadPattern::Scan);
            for (_, version) in block.versions() {
                (version.main, version.sub, version.tombstone).hash(state);
                (version.create, version.version, version.lease).hash(state);
                (version.key, values.of(&version)).hash(state);
            }
        }
    }
}
