//! All versions by location: the closed blocks, then the open block. `index` determines which keys exist.

use std::sync::Arc;

use imbl::OrdMap;

use super::{
    block::Block,
    index::Index,
    index_builder::{IndexBuilder, IndexRow},
    leaf::IndexEntry,
    version::{Links, Location, Version, reach},
};
use crate::{lease::LeaseId, revision::Revision};

/// A closed block. Comparison is by identity, so that a checkpoint detects a changed block.
#[derive(Clone, Debug)]
pub(super) struct ClosedBlock(pub(super) Arc<Block>);

impl PartialEq for ClosedBlock {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// All versions of a key space. A clone takes O(1).
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Closed blocks by number. Numbers ascend with revisions and may have gaps.
    pub(super) blocks: OrdMap<u64, ClosedBlock>,
    /// The open block, with the highest number.
    pub(super) tail: Arc<Block>,
    /// Size of all versions in bytes.
    pub(super) bytes: u64,
    /// Size in bytes of all blocks that were removed or shrunk; not replicated.
    pub(super) dropped_bytes: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            blocks: OrdMap::new(),
            tail: Arc::new(Block::new(0)),
            bytes: 0,
            dropped_bytes: 0,
        }
    }
}

/// Reads versions and caches the last block that was read.
#[derive(Debug)]
pub(super) struct HistoryReader<'a> {
    history: &'a History,
    last: Option<(u64, &'a Block)>,
}

impl<'a> HistoryReader<'a> {
    /// Returns the version at a location, or `None` if the version was compacted.
    pub(super) fn get(&mut self, location: Location) -> Option<BlockVersion<'a>> {
        let block = match self.last {
            Some((number, block)) if number == location.block => block,
            _ => {
                let block = self.history.block(location.block)?;
                self.last = Some((location.block, block));
                block
            }
        };
        Some((block, block.get(location.slot)?))
    }
}

pub(super) type BlockVersion<'a> = (&'a Block, Version<'a>);

impl History {
    /// Returns the closed or open block with this number. Returns `None` if the block was compacted or never existed.
    fn block(&self, number: u64) -> Option<&Block> {
        if number == self.tail.number() {
            return Some(&self.tail);
        }
        self.blocks.get(&number).map(|closed| closed.0.as_ref())
    }

    /// Returns a reader, which is fast for many locations in few blocks.
    pub(super) fn reader(&self) -> HistoryReader<'_> {
        HistoryReader { history: self, last: None }
    }

    /// Returns the version at a location, or `None` if the version was compacted.
    pub(super) fn get(&self, location: Location) -> Option<BlockVersion<'_>> {
        let block = self.block(location.block)?;
        Some((block, block.get(location.slot)?))
    }

    /// Follows the links back from `location` to the newest version at or below `revision`. Returns `None` if no such version
    /// remains.
    pub(super) fn at(&self, location: Location, revision: Revision) -> Option<BlockVersion<'_>> {
        let mut found = self.get(location)?;
        while found.1.main > revision {
            found = self.step_back(&found.1.links, revision)?;
        }
        Some(found)
    }

    /// Follows the longest link that does not skip the newest version at or below `revision`; `None` if no older version
    /// remains.
    fn step_back(&self, links: &Links, revision: Revision) -> Option<BlockVersion<'_>> {
        match links.jump.and_then(|jump| self.get(jump)) {
            Some(far) if far.1.main > revision => Some(far),
            // The jump leads too far back, or to a compacted version, which is older than every readable revision.
            _ => self.get(links.prev?),
        }
    }

    /// Returns the links of a new version. `location` and `before` are the location and links of the key's previous version.
    pub(super) fn links_after(&self, location: Location, before: &Links) -> Links {
        let depth = before.depth + 1;
        let far = |links: &Links| links.jump.or(links.prev);
        let jump = if reach(depth) > 1 {
            far(before)
                .and_then(|middle| self.get(middle))
                .and_then(|(_, v)| far(&v.links))
        } else {
            None
        };
        Links { prev: Some(location), jump, depth }
    }

    /// Appends a version with its value. Returns its location and its size in bytes. If the open block would exceed
    /// `block_bytes` bytes, closes it first. Also closes the block of a version that is larger than `block_bytes`.
    pub(super) fn push(
        &mut self,
        version: &Version<'_>,
        value: &[u8],
        block_bytes: usize,
    ) -> (Location, usize) {
        let (slot, size) = match Arc::make_mut(&mut self.tail).push(version, value, block_bytes) {
            Some(pushed) => pushed,
            None => {
                self.close_tail();
                let tail = Arc::make_mut(&mut self.tail);
                tail.push(version, value, block_bytes)
                    .expect("a new block takes any version")
            }
        };
        self.bytes += size as u64;
        let location = Location { block: self.tail.number(), slot };
        if self.tail.is_oversized(block_bytes) {
            self.close_tail();
        }
        (location, size)
    }

    /// Closes the open block and opens the next one. Drops the closed block if it has no versions.
    fn close_tail(&mut self) {
        let next = Arc::new(Block::new(self.tail.number() + 1));
        let mut closed = std::mem::replace(&mut self.tail, next);
        if closed.is_empty() {
            return;
        }
        Arc::make_mut(&mut closed).close();
        self.blocks.insert(closed.number(), ClosedBlock(closed));
    }

    /// Iterates over the closed blocks at or above a number, in order, and then the open block.
    pub(super) fn blocks_from(&self, number: u64) -> impl DoubleEndedIterator<Item = &Block> {
        let closed = self
            .blocks
            .range(number..)
            .map(|(_, closed)| closed.0.as_ref());
        closed.chain(std::iter::once(self.tail.as_ref()))
    }

    /// Returns the location of the next version if this version fits into the open block.
    pub(super) fn end(&self) -> Location {
        Location { block: self.tail.number(), slot: self.tail.end() }
    }

    /// Returns a location before all versions at or after `revision`: the start of the last block that starts below `revision`.
    /// If there is no such block, returns the start of block 0.
    pub(super) fn seek(&self, revision: Revision) -> Location {
        let base = |number: u64| match self.blocks_from(number).next() {
            Some(block) if !block.has_no_slots() => block.base(),
            // A new open block will contain only later revisions.
            Some(_) | None => Revision(i64::MAX),
        };
        let (mut low, mut high) = (0, self.tail.number());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if base(middle) < revision {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Location { block: low, slot: 0 }
    }

    /// Iterates over the versions at or after a location, in order.
    pub(super) fn from(
        &self,
        location: Location,
    ) -> impl Iterator<Item = (Location, BlockVersion<'_>)> {
        self.blocks_from(location.block).flat_map(move |block| {
            let number = block.number();
            let slot = if number == location.block {
                location.slot
            } else {
                0
            };
            let versions = block.versions_from(slot);
            versions.map(move |(slot, version)| {
                let location = Location { block: number, slot };
                (location, (block, version))
            })
        })
    }

    /// Builds the key index by reading every version. Sorts at least `chunk_bytes` bytes of rows together; see
    /// [`IndexBuilder`]. Returns the index, the size of the live keys' newest versions in bytes, and whether any version has a
    /// lease.
    pub(super) fn index(&self, chunk_bytes: usize) -> (Index, u64, bool) {
        let mut builder = IndexBuilder::new(chunk_bytes);
        let mut leased = false;
        for block in self.blocks_from(0).rev() {
            for (slot, version) in block.versions().rev() {
                leased |= version.lease != LeaseId::NONE;
                let location = Location { block: block.number(), slot };
                let tombstone = version.tombstone;
                let entry = IndexEntry { location, tombstone };
                builder.add(IndexRow::new(version.key, entry, version.size));
            }
        }
        let (index, live_bytes) = builder.finish();
        (index, live_bytes, leased)
    }

    /// Removes the versions in these slots (ascending) of a block. Drops a closed block that is then empty. Ignores versions
    /// that do not exist.
    pub(super) fn remove(&mut self, number: u64, slots: &[u16]) {
        let Some(block) = self.block(number) else {
            return;
        };
        let Some(rest) = block.without(slots) else {
            return;
        };
        let before = block.len() as u64;
        self.bytes -= before - rest.len() as u64;
        // Another state may still hold the entire block.
        self.dropped_bytes += before;
        if number == self.tail.number() {
            self.tail = rest;
        } else if rest.is_empty() {
            self.blocks.remove(&number);
        } else {
            self.blocks.insert(number, ClosedBlock(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{levels::FIRST, pacing::Pacing};

    #[test]
    fn any_of_many_versions_is_found_in_a_few_steps() {
        const VERSIONS: i64 = 100_000;
        let mut history = History::default();
        let mut newest: Option<(Location, Links)> = None;
        for main in 1..=VERSIONS {
            let links = newest.map_or_else(Links::default, |(p, l)| history.links_after(p, &l));
            let (create, version) = (Revision(1), main);
            let (key, value, tombstone) = (&b"k"[..], &b"v"[..], false);
            let version = Version {
                main: Revision(main),
                sub: 0,
                tombstone,
                create,
                version,
                lease: LeaseId::NONE,
                links,
                key,
                value_len: value.len(),
                value_at: 0,
                size: 0,
            };
            let block_bytes = Pacing::of(FIRST).block_bytes;
            newest = Some((history.push(&version, value, block_bytes).0, links));
        }
        let (location, _) = newest.unwrap();
        let mut most = 0;
        for revision in (1..=VERSIONS).step_by(37).map(Revision) {
            let mut found = history.get(location).unwrap();
            let mut steps = 0;
            while found.1.main > revision {
                found = history.step_back(&found.1.links, revision).unwrap();
                steps += 1;
            }
            assert_eq!(found.1.main, revision);
            assert_eq!(history.at(location, revision).unwrap().1.main, revision);
            most = most.max(steps);
        }
        // The links reach any version in at most three times log2 of the number of versions.
        assert!(most <= 3 * VERSIONS.ilog2(), "{most} steps");
        // Check the revisions around each block's base, where a search could be off by one.
        let bases: Vec<i64> = history.blocks_from(0).map(|block| block.base().0).collect();
        let around = bases.iter().flat_map(|base| [base - 1, *base, base + 1]);
        for revision in around {
            let block = bases.partition_point(|base| *base < revision);
            let block = block.saturating_sub(1) as u64;
            assert_eq!(
                history.seek(Revision(revision)).block,
                block,
                "revision {revision}"
            );
        }
    }
}
