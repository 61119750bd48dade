//! Compact: forget what a later version at or below a revision supersedes.
//!
//! Only versions written since the last compaction are looked at: each of them supersedes the one
//! before it on its key's way back. So the work is that of the revisions compacted, not of the
//! store.

use super::{Compact, Error, Kv, Reply, version::Place};

impl Kv {
    pub(super) fn compact(&mut self, compact: &Compact) -> Result<Reply, Error> {
        let revision = compact.revision;
        if revision <= self.compacted {
            return Err(Error::Compacted {
                compacted: self.compacted,
            });
        }
        if revision > self.revision {
            return Err(Error::FutureRevision {
                current: self.revision,
            });
        }
        self.compacted = revision;
        let Sweep {
            mut dead,
            forgotten,
            next,
        } = self.sweep(revision);
        for key in &forgotten {
            self.index.remove(key);
        }
        dead.sort_unstable();
        dead.dedup();
        for block in dead.chunk_by(|a, b| a.block == b.block) {
            let slots: Vec<u16> = block.iter().map(|place| place.slot).collect();
            self.history.remove(block[0].block, &slots);
        }
        self.compact_from = next;
        Ok(Reply::Compact)
    }

    /// What must go. A deletion at the compacted revision itself stays until the next compaction,
    /// as in etcd 3.6: who watches from that revision still learns of it.
    fn sweep(&self, revision: i64) -> Sweep {
        let mut sweep = Sweep {
            dead: Vec::new(),
            forgotten: Vec::new(),
            next: self.history.tail.number(),
        };
        for block in self.history.blocks_from(self.compact_from) {
            for (slot, version) in block.versions() {
                if version.main >= revision {
                    sweep.next = sweep.next.min(block.number());
                }
                if version.main > revision {
                    return sweep;
                }
                sweep.dead.extend(version.links.prev);
                if version.tombstone && version.main < revision {
                    let place = Place {
                        block: block.number(),
                        slot,
                    };
                    sweep.dead.push(place);
                    if self
                        .index
                        .get(version.key)
                        .is_some_and(|entry| entry.place == place)
                    {
                        sweep.forgotten.push(version.key.to_vec());
                    }
                }
            }
        }
        sweep
    }
}

/// What one compaction finds.
struct Sweep {
    /// Places of versions that nobody can ask for any more.
    dead: Vec<Place>,
    /// Keys that have no version left.
    forgotten: Vec<Vec<u8>>,
    /// Block in which the next compaction begins.
    next: u64,
}
