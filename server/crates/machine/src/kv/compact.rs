//! Compaction drops versions that a later version at or below the compacted revision supersedes, and deletions below that
//! revision.
//!
//! A compaction examines only the versions after the previous compaction, because each version supersedes the previous version
//! of its key. The work is therefore proportional to the number of compacted revisions, not to the size of the store. The
//! compacted revision takes effect immediately. Sweeps remove the superseded versions block by block: some with the compaction,
//! and some with each later command, so that no command waits long. If no commands arrive, the leader proposes sweeps.

use super::{Compact, Kv, KvError, version::Location};
use crate::revision::Revision;

/// The result of one pass over some blocks.
struct SweepPass {
    /// Locations of versions that no request can read.
    dead: Vec<Location>,
    /// Keys without a remaining version.
    removed_keys: Vec<Vec<u8>>,
    /// The block in which the next pass starts.
    next: u64,
    /// Whether the pass reached the compacted revision.
    finished: bool,
}

impl Kv {
    /// Sets the compacted revision, saves the earlier state for watchers and sweeps the first blocks. Fails if the revision is
    /// already compacted or above the current revision.
    pub(super) fn compact(&mut self, compact: &Compact) -> Result<(), KvError> {
        let revision = Revision(compact.revision);
        if revision <= self.compacted {
            return Err(KvError::Compacted { compacted: self.compacted });
        }
        if revision > self.revision {
            return Err(KvError::FutureRevision { current: self.revision });
        }
        self.save_for_watchers();
        self.compacted = revision;
        self.sweep(self.pacing.sweep_blocks_first);
        Ok(())
    }

    /// Returns whether superseded versions still use memory, because the last sweep is unfinished.
    pub fn is_sweeping(&self) -> bool {
        self.sweeping
    }

    /// Sweeps up to `sweep_blocks_first` of the remaining blocks. While the leader is idle, it proposes such sweeps, because
    /// otherwise only further commands would free memory.
    pub(super) fn sweep_on_request(&mut self) {
        if self.sweeping {
            self.sweep(self.pacing.sweep_blocks_first);
        }
    }

    /// Sweeps up to `sweep_blocks_next` of the remaining blocks. Every command on keys or leases calls this method.
    pub(super) fn continue_sweep(&mut self) {
        if self.sweeping {
            self.sweep(self.pacing.sweep_blocks_next);
        }
    }

    /// Removes the superseded versions in about `blocks` blocks, and the keys without a remaining version. Sets where the next
    /// pass starts and whether another pass is needed.
    fn sweep(&mut self, blocks: usize) {
        let SweepPass { mut dead, removed_keys: forgotten, next, finished: done } =
            self.find_dead(self.compacted, blocks);
        for key in &forgotten {
            self.index.remove(key);
        }
        // The list is mostly sorted already, so the stable sort is fast.
        dead.sort();
        dead.dedup();
        for block in dead.chunk_by(|a, b| a.block == b.block) {
            let slots: Vec<u16> = block.iter().map(|location| location.slot).collect();
            self.history.remove(block[0].block, &slots);
        }
        self.next_sweep_block = next;
        self.sweeping = !done;
    }

    /// Finds the versions to remove in about `blocks` blocks. As in etcd 3.6, a deletion at the compacted revision stays until
    /// the next compaction, so that a watch from this revision sees the deletion. The next pass therefore starts at this
    /// revision again.
    fn find_dead(&self, revision: Revision, blocks: usize) -> SweepPass {
        let (mut dead, mut forgotten, mut next) = (Vec::new(), Vec::new(), None);
        for (walked, block) in self.history.blocks_from(self.next_sweep_block).enumerate() {
            if walked >= blocks && next.is_none() {
                return SweepPass {
                    dead,
                    removed_keys: forgotten,
                    next: block.number(),
                    finished: false,
                };
            }
            for (slot, version) in block.versions() {
                if version.main >= revision {
                    next.get_or_insert(block.number());
                }
                if version.main > revision {
                    let next = next.unwrap_or(block.number());
                    return SweepPass { dead, removed_keys: forgotten, next, finished: true };
                }
                dead.extend(version.links.prev);
                if version.tombstone && version.main < revision {
                    let location = Location { block: block.number(), slot };
                    dead.push(location);
                    if self
                        .index
                        .get(version.key)
                        .is_some_and(|entry| entry.location == location)
                    {
                        forgotten.push(version.key.to_vec());
                    }
                }
            }
        }
        let next = next.unwrap_or(self.history.tail.number());
        SweepPass { dead, removed_keys: forgotten, next, finished: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kv::{
            KvOperation,
            test_helpers::{all, apply, delete, put},
        },
        levels::FIRST,
        pacing::Pacing,
    };

    const BLOCK_BYTES: usize = Pacing::of(FIRST).block_bytes;

    /// Returns a store in which each value fills a block, so that a compaction takes several passes.
    fn large() -> Kv {
        let mut kv = Kv::default();
        for n in 0..kv.pacing.sweep_blocks_first + 100 {
            put(&mut kv, &format!("key-{}", n % 10), BLOCK_BYTES);
        }
        kv
    }

    #[test]
    fn a_large_sweep_continues_with_later_commands() {
        let mut kv = large();
        let revision = kv.revision().0 - 5;
        let before = (all(&kv, revision), all(&kv, 0));
        apply(&mut kv, KvOperation::Compact(Compact { revision }));
        assert!(kv.sweeping);
        assert_eq!(kv.compacted().0, revision);
        assert_eq!((all(&kv, revision), all(&kv, 0)), before);
        let mut commands = 0;
        while kv.sweeping {
            let size = kv.size_bytes();
            put(&mut kv, "small", 1);
            assert!(kv.size_bytes() < size);
            assert_eq!(all(&kv, revision), before.0);
            commands += 1;
        }
        assert!(commands > 1);
        // The ten newest versions at the compacted revision, five versions above it, and the small versions remain.
        assert!(kv.size_bytes() < 16 * (BLOCK_BYTES as u64 + 64) + (24 << 10) + 4096);
    }

    #[test]
    fn a_compaction_may_follow_an_unfinished_sweep() {
        let mut kv = large();
        delete(&mut kv, "key-3");
        put(&mut kv, "key-4", 1);
        let revision = kv.revision().0 - 100;
        apply(&mut kv, KvOperation::Compact(Compact { revision }));
        assert!(kv.sweeping);
        let revision = kv.revision().0;
        let before = all(&kv, 0);
        apply(&mut kv, KvOperation::Compact(Compact { revision }));
        while kv.sweeping {
            put(&mut kv, "small", 1);
        }
        assert_eq!(all(&kv, revision), before);
        assert_eq!(kv.index.get(b"key-3"), None);
        kv.index.check();
    }
}
