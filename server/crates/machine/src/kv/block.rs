//! One block of history: versions in revision order, with a directory of slots.
//!
//! A version never changes its slot: compaction removes versions and keeps the numbering. If a value equals the previous
//! version's value, both share a buffer outside the block. A put that keeps a large value therefore uses little memory. Only
//! memory differs: sizes, limits and the record on disk are the same as with all values inline.
//!
//! `history` manages the blocks and chooses the shared values, and `checkpoint` defines the record.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{
    KeyValue,
    version::{Location, Version},
};
use crate::{levels::OWN, pacing::Pacing, revision::Revision};

/// Capacity in bytes of an open block, so that it grows without being copied. It affects only memory.
const CAPACITY_BYTES: usize = Pacing::of(OWN).block_bytes;

/// Size in bytes of a block in addition to its versions and directory; counts against the maximum size of a block.
const HEADER_BYTES: usize = 64;

/// Directory entry of a slot whose version was compacted.
const COMPACTED_SLOT: u16 = u16::MAX;

/// The offsets of a block's versions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SlotDirectory {
    /// One offset for each slot. Compacted slots have [`COMPACTED_SLOT`].
    Full(Vec<u16>),
    /// Slot and offset of each remaining version. Smaller than `Full` when half of the slots are compacted.
    Sparse(Vec<(u16, u16)>),
}

#[derive(Debug)]
enum BlockBody {
    /// An open block, to which versions can be appended.
    Growing(Vec<u8>),
    /// A closed block, which readers slice without copying.
    Closed(Bytes),
}

#[derive(Debug)]
pub(super) struct Block {
    number: u64,
    /// The revision to which the versions' revisions are relative.
    base: Revision,
    slots: SlotDirectory,
    body: BlockBody,
    /// The values stored outside the block, as `(slot, value)` in ascending order.
    apart: Vec<(u16, Bytes)>,
}

impl Clone for Block {
    /// The copy of an open block has capacity for later versions.
    fn clone(&self) -> Self {
        let body = match &self.body {
            BlockBody::Growing(bytes) => {
                let mut copy = Vec::with_capacity(bytes.len().max(CAPACITY_BYTES));
                copy.extend_from_slice(bytes);
                BlockBody::Growing(copy)
            }
            BlockBody::Closed(bytes) => BlockBody::Closed(bytes.clone()),
        };
        Self {
            number: self.number,
            base: self.base,
            slots: self.slots.clone(),
            body,
            apart: self.apart.clone(),
        }
    }
}

impl Block {
    /// Creates an open block without versions.
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            base: Revision::NONE,
            slots: SlotDirectory::Full(Vec::new()),
            body: BlockBody::Growing(Vec::new()),
            apart: Vec::new(),
        }
    }

    /// Creates a block from the parts of a checkpoint record. Returns `None` if any of them is invalid.
    pub(super) fn from_parts(
        number: u64,
        base: Revision,
        slots: SlotDirectory,
        body: Bytes,
        open: bool,
    ) -> Option<Self> {
        let body = if open {
            BlockBody::Growing(body.to_vec())
        } else {
            BlockBody::Closed(body)
        };
        let block = Self { number, base, slots, body, apart: Vec::new() };
        let entries = block.entries();
        let mut expected = 0;
        for (at, (slot, range)) in entries.iter().enumerate() {
            let bytes = block.bytes().get(range.clone())?;
            let version = Version::decode(bytes, number, base)?;
            let own = Location { block: number, slot: *slot };
            let older = |link: Option<Location>| link.is_none_or(|older| older < own);
            let ascends = at == 0 || entries[at - 1].0 < *slot;
            if !ascends
                || range.start != expected
                || version.size != bytes.len()
                || !older(version.links.prev)
                || !older(version.links.jump)
            {
                return None;
            }
            expected = range.end;
        }
        (expected == block.bytes().len()).then_some(block)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn base(&self) -> Revision {
        self.base
    }

    pub(super) fn slots(&self) -> &SlotDirectory {
        &self.slots
    }

    /// Returns the size in bytes of the versions with all values, as it counts against the quota.
    pub(super) fn len(&self) -> usize {
        let apart: usize = self.apart.iter().map(|(_, value)| value.len()).sum();
        self.bytes().len() + apart
    }

    /// Returns the encoded versions, without the values that are stored outside.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.body {
            BlockBody::Growing(bytes) => bytes,
            BlockBody::Closed(bytes) => bytes,
        }
    }

    /// Returns whether no slot was ever assigned.
    pub(super) fn has_no_slots(&self) -> bool {
        match &self.slots {
            SlotDirectory::Full(offsets) => offsets.is_empty(),
            SlotDirectory::Sparse(entries) => entries.is_empty(),
        }
    }

    /// Returns the version in a slot, or `None` if it was compacted.
    pub(super) fn get(&self, slot: u16) -> Option<Version<'_>> {
        let offset = match &self.slots {
            SlotDirectory::Full(offsets) => *offsets.get(usize::from(slot))?,
            SlotDirectory::Sparse(entries) => {
                entries[entries.binary_search_by_key(&slot, |entry| entry.0).ok()?].1
            }
        };
        (offset != COMPACTED_SLOT).then(|| self.decode(slot, usize::from(offset)))
    }

    /// Returns all versions with their slots, in order.
    pub(super) fn versions(&self) -> impl Iterator<Item = (u16, Version<'_>)> {
        self.entries()
            .into_iter()
            .map(|(slot, range)| (slot, self.decode(slot, range.start)))
    }

    /// Returns the slot after the last assigned slot.
    pub(super) fn end(&self) -> u16 {
        match &self.slots {
            SlotDirectory::Full(offsets) => offsets.len() as u16,
            SlotDirectory::Sparse(entries) => entries.last().map_or(0, |(slot, _)| slot + 1),
        }
    }

    /// Iterates over the versions from a slot on, in order, without decoding earlier versions.
    pub(super) fn versions_from(&self, slot: u16) -> impl Iterator<Item = (u16, Version<'_>)> {
        let (begin, end) = match &self.slots {
            SlotDirectory::Full(offsets) => (usize::from(slot), offsets.len()),
            SlotDirectory::Sparse(entries) => (
                entries.partition_point(|entry| entry.0 < slot),
                entries.len(),
            ),
        };
        (begin..end).filter_map(|at| {
            let (slot, offset) = match &self.slots {
                SlotDirectory::Full(offsets) => (at as u16, offsets[at]),
                SlotDirectory::Sparse(entries) => entries[at],
            };
            (offset != COMPACTED_SLOT).then(|| (slot, self.decode(slot, usize::from(offset))))
        })
    }

    /// Returns a version in response form. If the block is closed, key and value are slices of the block.
    pub(super) fn key_value(&self, version: &Version<'_>) -> KeyValue {
        let bytes = |part: &[u8]| match &self.body {
            BlockBody::Growing(_) => Bytes::copy_from_slice(part),
            BlockBody::Closed(bytes) => bytes.slice_ref(part),
        };
        KeyValue {
            key: bytes(version.key),
            value: version
                .apart
                .map_or_else(|| bytes(version.value), Bytes::clone),
            create_revision: version.create,
            mod_revision: version.main,
            version: version.version,
            lease: version.lease,
        }
    }

    /// Returns a version's value in a buffer that later versions can share, because the buffer contains little other data.
    pub(super) fn shareable_value(&self, version: &Version<'_>) -> Bytes {
        match (&self.body, version.apart) {
            (_, Some(apart)) => apart.clone(),
            (BlockBody::Closed(bytes), None) if bytes.len() < 2 * version.value.len() => {
                bytes.slice_ref(version.value)
            }
            (BlockBody::Closed(_) | BlockBody::Growing(_), None) => {
                Bytes::copy_from_slice(version.value)
            }
        }
    }

    /// Appends a version. Returns its slot and its size in bytes, or `None` if the block is closed or would exceed
    /// `block_bytes` bytes. A new block accepts any version.
    pub(super) fn push(
        &mut self,
        version: &Version<'_>,
        block_bytes: usize,
    ) -> Option<(u16, usize)> {
        let new = self.has_no_slots();
        let base = if new { version.main } else { self.base };
        let head = version.head(self.number, base);
        let size = head.len() + version.key.len() + version.value.len();
        let length = self.len();
        let (SlotDirectory::Full(offsets), BlockBody::Growing(bytes)) =
            (&mut self.slots, &mut self.body)
        else {
            return None;
        };
        let grown = HEADER_BYTES + length + size + 2 * (offsets.len() + 1);
        if !new && grown > block_bytes {
            return None;
        }
        if bytes.capacity() < CAPACITY_BYTES {
            let own = size - version.apart.map_or(0, Bytes::len);
            bytes.reserve_exact(own.max(CAPACITY_BYTES) - bytes.len());
        }
        let slot = offsets.len() as u16;
        offsets.push(bytes.len() as u16);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(version.key);
        match version.apart {
            Some(apart) => self.apart.push((slot, apart.clone())),
            None => bytes.extend_from_slice(version.value),
        }
        self.base = base;
        Some((slot, size))
    }

    /// Returns whether the versions exceed `block_bytes`, as a single large version may.
    pub(super) fn is_oversized(&self, block_bytes: usize) -> bool {
        self.len() > block_bytes
    }

    /// Closes the block: frees spare memory and accepts no further versions.
    pub(super) fn close(&mut self) {
        if let BlockBody::Growing(bytes) = &mut self.body {
            self.body = BlockBody::Closed(Bytes::from(std::mem::take(bytes).into_boxed_slice()));
        }
        self.slots = SlotDirectory::closed(self.slots.present().into_owned());
        self.apart.shrink_to_fit();
    }

    /// Returns a copy of the block without the versions in the slots `dead` (ascending). Returns `None` if all of them were
    /// removed before. An open block stays open.
    pub(super) fn without(&self, dead: &[u16]) -> Option<Block> {
        let is_dead = |slot: u16| dead.binary_search(&slot).is_ok();
        let mut entries = self.entries();
        let count = entries.len();
        entries.retain(|(slot, _)| !is_dead(*slot));
        let apart = self.apart.iter().filter(|(slot, _)| !is_dead(*slot));
        (entries.len() < count).then(|| self.rebuilt(entries, apart.cloned().collect()))
    }

    /// Returns a copy of the block that stores exactly the values in `apart` (slots ascending) outside.
    pub(super) fn with_apart(&self, apart: Vec<(u16, Bytes)>) -> Block {
        self.rebuilt(self.entries(), apart)
    }

    /// Returns a copy of the block with only these versions, as slots and byte ranges (ascending). `apart` lists the values to
    /// store outside by slot (ascending); all other values are stored inline.
    fn rebuilt(&self, entries: Vec<(u16, Range<usize>)>, apart: Vec<(u16, Bytes)>) -> Block {
        let mut kept = Vec::with_capacity(entries.len());
        let mut bytes = Vec::with_capacity(self.bytes().len());
        for (slot, range) in entries {
            kept.push((slot, bytes.len() as u16));
            let begin = range.start;
            bytes.extend_from_slice(&self.bytes()[range]);
            match (value_in(&self.apart, slot), value_in(&apart, slot)) {
                (None, None) | (Some(_), Some(_)) => {}
                (Some(value), None) => bytes.extend_from_slice(value),
                (None, Some(_)) => {
                    let value = self.decode(slot, begin).value.len();
                    bytes.truncate(bytes.len() - value);
                }
            }
        }
        let (slots, body) = match (&self.slots, &self.body) {
            (SlotDirectory::Full(offsets), BlockBody::Growing(_)) => (
                SlotDirectory::full(&kept, offsets.len()),
                BlockBody::Growing(bytes),
            ),
            _ => (
                SlotDirectory::closed(kept),
                BlockBody::Closed(Bytes::from(bytes.into_boxed_slice())),
            ),
        };
        Block { number: self.number, base: self.base, slots, body, apart }
    }

    /// Returns whether any value is stored outside the block.
    pub(super) fn has_values_apart(&self) -> bool {
        !self.apart.is_empty()
    }

    /// Returns the slot and the byte range of each remaining version, in order.
    fn entries(&self) -> Vec<(u16, Range<usize>)> {
        let present = self.slots.present();
        let ends = present
            .iter()
            .skip(1)
            .map(|(_, offset)| usize::from(*offset));
        let ends = ends.chain(std::iter::once(self.bytes().len()));
        let ranges = present.iter().zip(ends);
        ranges
            .map(|((slot, offset), end)| (*slot, usize::from(*offset)..end))
            .collect()
    }

    /// Decodes the version of a slot at an offset in the block. Panics if there is no version.
    fn decode(&self, slot: u16, offset: usize) -> Version<'_> {
        let bytes = &self.bytes()[offset..];
        let apart = value_in(&self.apart, slot);
        Version::decode_with(bytes, self.number, self.base, apart)
            .expect("written by push, or checked when loaded")
    }
}

/// Returns the value of a slot in `apart`, the values stored outside the block. Returns `None` if the value is stored inline.
pub(super) fn value_in(apart: &[(u16, Bytes)], slot: u16) -> Option<&Bytes> {
    let at = apart.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
    Some(&apart[at].1)
}

impl SlotDirectory {
    /// Creates a closed block's directory from the slots and offsets of its versions (ascending), and from nothing else.
    /// Members with the same versions therefore write the same records.
    fn closed(versions: Vec<(u16, u16)>) -> Self {
        let slots = versions
            .last()
            .map_or(0, |(slot, _)| usize::from(*slot) + 1);
        if versions.len() * 2 < slots {
            Self::Sparse(versions.into_boxed_slice().into_vec())
        } else {
            Self::full(&versions, slots)
        }
    }

    /// Creates a directory with an entry for each of the first `slots` slots.
    fn full(versions: &[(u16, u16)], slots: usize) -> Self {
        let mut offsets = vec![COMPACTED_SLOT; slots];
        for (slot, offset) in versions {
            offsets[usize::from(*slot)] = *offset;
        }
        Self::Full(offsets)
    }

    /// Returns the slot and offset of each version, in order.
    fn present(&self) -> Cow<'_, [(u16, u16)]> {
        match self {
            Self::Full(offsets) => {
                let slots = (0_u16..).zip(offsets.iter().copied());
                slots
                    .filter(|(_, offset)| *offset != COMPACTED_SLOT)
                    .collect()
            }
            Self::Sparse(entries) => entries.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kv::version::Links, lease::LeaseId, levels::FIRST};

    const VALUE: &[u8] = b"value";

    /// Returns an open block with five versions.
    fn open() -> Block {
        let mut block = Block::new(1);
        for main in 1..=5 {
            let version = Version {
                main: Revision(main),
                sub: 0,
                tombstone: false,
                create: Revision(1),
                version: main,
                lease: LeaseId::default(),
                links: Links::default(),
                key: b"key",
                value: VALUE,
                apart: None,
                size: 0,
            };
            block
                .push(&version, Pacing::of(FIRST).block_bytes)
                .expect("it fits");
        }
        block
    }

    fn without(block: Block, dead: &[u16]) -> Block {
        block.without(dead).unwrap_or(block)
    }

    /// Members share different values, and close and compact a block in different orders. Their records must still be equal.
    #[test]
    fn a_closed_block_depends_on_its_versions_alone() {
        for dead in [&[][..], &[4], &[0, 2], &[0, 1, 2], &[1, 2, 3, 4]] {
            let mut compacted_first = without(open(), dead);
            compacted_first.close();
            let mut closed = open();
            closed.close();
            let closed_first = without(closed, dead);
            let slot = closed_first.entries()[0].0;
            let shared = vec![(slot, Bytes::from_static(VALUE))];
            let was_shared = closed_first.with_apart(shared).with_apart(Vec::new());
            for other in [compacted_first, was_shared] {
                assert_eq!(other.slots(), closed_first.slots(), "without {dead:?}");
                assert_eq!(other.bytes(), closed_first.bytes());
            }
        }
    }
}
