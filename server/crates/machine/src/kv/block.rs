//! One block of history: versions in revision order, with a directory of slots.
//!
//! A version never changes its slot: compaction removes versions and keeps the numbering. In memory, a block separates its
//! versions and keys from its values, because the values of a closed block can be dropped (`values`).
//!
//! `history` manages the blocks, and `block_record` defines the record on disk.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    KeyValue, block_record,
    slots::{Offsets, SlotDirectory},
    version::Version,
};
use crate::{
    levels::OWN,
    pacing::Pacing,
    revision::Revision,
    values::{BlockValues, Holder, Place, ReadPattern, small_copy},
};

/// Capacity in bytes for the values of an open block, so that the block grows without being copied. The capacity affects only
/// memory.
const CAPACITY_BYTES: usize = Pacing::of(OWN).block_bytes;

/// Spare capacity in bytes for the versions in the copy of an open block.
const SPARE_META_BYTES: usize = 1024;

/// Overhead of a block in bytes. The maximum size of a block includes this overhead, the versions and the directory.
const HEADER_BYTES: usize = 64;

#[derive(Debug)]
enum BlockBody {
    /// An open block, to which versions can be appended.
    Open { meta: Vec<u8>, values: Vec<u8> },
    /// A closed block. Readers slice its keys and values without copying.
    Closed {
        meta: Bytes,
        values: BlockValues,
        values_len: usize,
    },
}

#[derive(Debug)]
pub(super) struct Block {
    number: u64,
    /// The revision to which the versions' revisions are relative.
    base: Revision,
    slots: SlotDirectory,
    body: BlockBody,
}

/// The values of a block, one after another.
pub(super) enum Values<'a> {
    Open(&'a [u8]),
    Closed(Bytes),
}

impl Values<'_> {
    /// Returns the value of a version.
    pub(super) fn of(&self, version: &Version<'_>) -> &[u8] {
        let values = match self {
            Self::Open(values) => values,
            Self::Closed(values) => &values[..],
        };
        &values[version.value_range()]
    }
}

impl Clone for Block {
    /// The copy of an open block has capacity for later versions. If the values of a closed block are only on disk, waits
    /// until they have been read.
    fn clone(&self) -> Self {
        let copy = |bytes: &[u8], capacity: usize| {
            let mut copy = Vec::with_capacity(bytes.len().max(capacity));
            copy.extend_from_slice(bytes);
            copy
        };
        let body = match &self.body {
            BlockBody::Open { meta, values } => BlockBody::Open {
                meta: copy(meta, meta.len() + SPARE_META_BYTES),
                values: copy(values, CAPACITY_BYTES),
            },
            // The copy is not durable, so its values must be in memory.
            BlockBody::Closed { meta, .. } => {
                let values = match self.values(ReadPattern::Scan) {
                    Values::Open(values) => Bytes::copy_from_slice(values),
                    Values::Closed(values) => values,
                };
                BlockBody::Closed {
                    meta: meta.clone(),
                    values_len: values.len(),
                    values: BlockValues::new(Some(values)),
                }
            }
        };
        Self {
            number: self.number,
            base: self.base,
            slots: self.slots.clone(),
            body,
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
            body: BlockBody::Open { meta: Vec::new(), values: Vec::new() },
        }
    }

    /// Creates a block from parts that the caller has checked: an open one if `open`, otherwise a closed one.
    pub(super) fn from_parts(
        number: u64,
        base: Revision,
        slots: SlotDirectory,
        (meta, values): (Vec<u8>, Vec<u8>),
        open: bool,
    ) -> Self {
        let body = match open {
            true => BlockBody::Open { meta, values },
            false => BlockBody::closed(&meta, values.len(), Some(values)),
        };
        Self { number, base, slots, body }
    }

    /// Creates a closed block whose `values_len` bytes of values are only on disk. The caller must then call [`Self::settle`].
    pub(super) fn on_disk(
        number: u64,
        base: Revision,
        slots: SlotDirectory,
        meta: Vec<u8>,
        values_len: usize,
    ) -> Self {
        let body = BlockBody::closed(&meta, values_len, None);
        Self { number, base, slots, body }
    }

    /// Returns the block's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn base(&self) -> Revision {
        self.base
    }

    pub(super) fn slots(&self) -> &SlotDirectory {
        &self.slots
    }

    /// Returns the fields and keys of all versions, one after another.
    pub(super) fn meta(&self) -> &[u8] {
        match &self.body {
            BlockBody::Open { meta, .. } => meta,
            BlockBody::Closed { meta, .. } => meta,
        }
    }

    /// Returns the total length of the values in bytes, even if they are only on disk.
    fn values_len(&self) -> usize {
        match &self.body {
            BlockBody::Open { values, .. } => values.len(),
            BlockBody::Closed { values_len, .. } => *values_len,
        }
    }

    /// Returns the size in bytes of the versions with their values, as counted against the quota.
    pub(super) fn len(&self) -> usize {
        self.meta().len() + self.values_len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.meta().is_empty()
    }

    /// Returns all values. If they are only on disk, waits until they have been read.
    pub(super) fn values(&self, pattern: ReadPattern) -> Values<'_> {
        match &self.body {
            BlockBody::Open { values, .. } => Values::Open(values),
            BlockBody::Closed { values_len: 0, .. } => Values::Open(&[]),
            BlockBody::Closed { values, .. } => Values::Closed(values.get(pattern, |place| {
                place.read(self.number, |record| {
                    block_record::read_values(self, record)
                })
            })),
        }
    }

    /// Returns whether the values are in memory.
    pub(super) fn is_resident(&self) -> bool {
        match &self.body {
            BlockBody::Open { .. } => true,
            BlockBody::Closed { values, values_len, .. } => {
                *values_len == 0 || values.are_in_memory()
            }
        }
    }

    /// Returns the place of the block's durable record. Returns `None` if there is no such record, or if the record contains
    /// versions that the block has dropped.
    pub(super) fn place(&self) -> Option<Place> {
        let place = match &self.body {
            BlockBody::Open { .. } => None,
            BlockBody::Closed { values, .. } => values.parts().1,
        };
        place.filter(|place| place.len as usize == block_record::len(self))
    }

    /// Sets the place of the block's durable record, so that the block's values can be evicted from memory. Does nothing for an
    /// open block.
    pub(super) fn settle(self: &Arc<Self>, place: Place) {
        let block: Arc<dyn Holder> = self.clone();
        match &self.body {
            BlockBody::Open { .. } => {}
            BlockBody::Closed { values, .. } => values.settle(place, Arc::downgrade(&block)),
        }
    }

    /// Returns whether the directory contains no slots, as in a new block.
    pub(super) fn has_no_slots(&self) -> bool {
        match &self.slots {
            SlotDirectory::Full(offsets) => offsets.is_empty(),
            SlotDirectory::Sparse(entries) => entries.is_empty(),
        }
    }

    /// Returns the version in a slot, or `None` if the version was compacted or the slot was never assigned.
    pub(super) fn get(&self, slot: u16) -> Option<Version<'_>> {
        let offsets = match &self.slots {
            SlotDirectory::Full(offsets) => *offsets.get(usize::from(slot))?,
            SlotDirectory::Sparse(entries) => {
                entries[entries.binary_search_by_key(&slot, |entry| entry.0).ok()?].1
            }
        };
        (offsets != Offsets::COMPACTED).then(|| self.decode(offsets))
    }

    /// Returns all versions with their slots, in order.
    pub(super) fn versions(&self) -> impl DoubleEndedIterator<Item = (u16, Version<'_>)> {
        self.versions_from(0)
    }

    /// Returns the slot after the last slot in the directory, or 0 for an empty directory.
    pub(super) fn end(&self) -> u16 {
        match &self.slots {
            SlotDirectory::Full(offsets) => offsets.len() as u16,
            SlotDirectory::Sparse(entries) => entries.last().map_or(0, |(slot, _)| slot + 1),
        }
    }

    /// Iterates over the versions at or after a slot, in order, without decoding earlier versions.
    pub(super) fn versions_from(
        &self,
        slot: u16,
    ) -> impl DoubleEndedIterator<Item = (u16, Version<'_>)> {
        let (begin, end) = match &self.slots {
            SlotDirectory::Full(offsets) => (usize::from(slot), offsets.len()),
            SlotDirectory::Sparse(entries) => (
                entries.partition_point(|entry| entry.0 < slot),
                entries.len(),
            ),
        };
        (begin..end).filter_map(|at| {
            let (slot, offsets) = match &self.slots {
                SlotDirectory::Full(offsets) => (at as u16, offsets[at]),
                SlotDirectory::Sparse(entries) => entries[at],
            };
            (offsets != Offsets::COMPACTED).then(|| (slot, self.decode(offsets)))
        })
    }

    /// Returns a version in response form. If the block is closed, the key and a large value are slices of the block, and a
    /// small value may be a copy. If the value is only on disk, waits until it has been read.
    pub(super) fn key_value(&self, version: &Version<'_>, pattern: ReadPattern) -> KeyValue {
        if let Some(pair) = self.key_value_in_memory(version) {
            return pair;
        }
        let value = match self.values(pattern) {
            Values::Open(_) => unreachable!("an open block is in memory"),
            Values::Closed(values) => small_copy(&values, version.value_range()),
        };
        KeyValue { value, ..self.without_value(version) }
    }

    /// Returns a version like [`Self::key_value`], or `None` if its value is only on disk.
    pub(super) fn key_value_in_memory(&self, version: &Version<'_>) -> Option<KeyValue> {
        let value = match &self.body {
            BlockBody::Open { values, .. } => {
                Bytes::copy_from_slice(&values[version.value_range()])
            }
            BlockBody::Closed { .. } if version.value_len == 0 => Bytes::new(),
            BlockBody::Closed { values, .. } => values.part(version.value_range())?,
        };
        Some(KeyValue { value, ..self.without_value(version) })
    }

    /// Returns a version in response form without its value. Never waits.
    pub(super) fn without_value(&self, version: &Version<'_>) -> KeyValue {
        let key = match &self.body {
            BlockBody::Open { .. } => Bytes::copy_from_slice(version.key),
            BlockBody::Closed { meta, .. } => meta.slice_ref(version.key),
        };
        KeyValue {
            key,
            value: Bytes::new(),
            create_revision: version.create,
            mod_revision: version.main,
            version: version.version,
            lease: version.lease,
        }
    }

    /// Appends a version with its value. Returns its slot and its size in bytes, or `None` if the block is closed, has a sparse
    /// directory, or would exceed `block_bytes` bytes. A new block accepts any version.
    pub(super) fn push(
        &mut self,
        version: &Version<'_>,
        value: &[u8],
        block_bytes: usize,
    ) -> Option<(u16, usize)> {
        let new = self.has_no_slots();
        let base = if new { version.main } else { self.base };
        let head = version.head(self.number, base);
        let size = head.len() + version.key.len() + value.len();
        let length = self.len();
        let (SlotDirectory::Full(slots), BlockBody::Open { meta, values }) =
            (&mut self.slots, &mut self.body)
        else {
            return None;
        };
        let grown = HEADER_BYTES + length + size + 2 * (slots.len() + 1);
        if !new && grown > block_bytes {
            return None;
        }
        if values.capacity() < CAPACITY_BYTES {
            values.reserve_exact(value.len().max(CAPACITY_BYTES) - values.len());
        }
        let slot = slots.len() as u16;
        slots.push(Offsets { meta: meta.len() as u16, value: values.len() as u16 });
        meta.extend_from_slice(&head);
        meta.extend_from_slice(version.key);
        values.extend_from_slice(value);
        self.base = base;
        Some((slot, size))
    }

    /// Returns whether the versions exceed `block_bytes` bytes, as a single large version may.
    pub(super) fn is_oversized(&self, block_bytes: usize) -> bool {
        self.len() > block_bytes
    }

    /// Closes the block: frees spare memory and accepts no further versions.
    pub(super) fn close(&mut self) {
        if let BlockBody::Open { meta, values } = &mut self.body {
            let (meta, values) = (std::mem::take(meta), std::mem::take(values));
            self.body = BlockBody::closed(&meta, values.len(), Some(values));
        }
        self.slots = SlotDirectory::closed(self.slots.present().into_owned());
    }

    /// Returns a copy of the block without the versions in the slots `dead` (ascending). Returns `None` if these slots are
    /// already empty. An open block with a full directory stays open; any other copy is closed. Values that are only on disk
    /// stay on disk.
    pub(super) fn without(&self, dead: &[u16]) -> Option<Arc<Block>> {
        let entries = self.entries();
        let left = |(slot, _): &&(u16, [Range<usize>; 2])| dead.binary_search(slot).is_err();
        let kept: Vec<&(u16, [Range<usize>; 2])> = entries.iter().filter(left).collect();
        if kept.len() == entries.len() {
            return None;
        }
        let (mut present, mut meta, mut values_len) = (Vec::new(), Vec::new(), 0);
        for (slot, [fields, value]) in &kept {
            present.push((
                *slot,
                Offsets { meta: meta.len() as u16, value: values_len as u16 },
            ));
            meta.extend_from_slice(&self.meta()[fields.clone()]);
            values_len += value.len();
        }
        let packed = |values: &[u8]| {
            let mut packed = Vec::with_capacity(values_len);
            kept.iter()
                .for_each(|(_, [_, value])| packed.extend_from_slice(&values[value.clone()]));
            packed
        };
        let (slots, body, place) = match (&self.slots, &self.body) {
            (SlotDirectory::Full(slots), BlockBody::Open { values, .. }) => (
                SlotDirectory::full(&present, slots.len()),
                BlockBody::Open { meta, values: packed(values) },
                None,
            ),
            (SlotDirectory::Sparse(_), BlockBody::Open { values, .. }) => (
                SlotDirectory::closed(present),
                BlockBody::closed(&meta, values_len, Some(packed(values))),
                None,
            ),
            (_, BlockBody::Closed { values, .. }) => {
                // The record on disk still contains the removed versions, which readers skip.
                let (values, place) = values.parts();
                let values = values.map(|values| packed(&values));
                (
                    SlotDirectory::closed(present),
                    BlockBody::closed(&meta, values_len, values),
                    place,
                )
            }
        };
        let rest = Arc::new(Block { number: self.number, base: self.base, slots, body });
        if let Some(place) = place {
            rest.settle(place);
        }
        Some(rest)
    }

    /// Returns the slot of each remaining version, in order, with two byte ranges. The first range contains the version's
    /// fields and key in [`Self::meta`], and the second range its value in [`Self::values`].
    fn entries(&self) -> Vec<(u16, [Range<usize>; 2])> {
        let versions = self.versions();
        let mut meta_at = 0;
        let entries = versions.map(|(slot, version)| {
            let meta = meta_at..meta_at + version.meta_len();
            meta_at = meta.end;
            (slot, [meta, version.value_range()])
        });
        entries.collect()
    }

    /// Decodes the version at these offsets. Panics if there is no version.
    fn decode(&self, offsets: Offsets) -> Version<'_> {
        let bytes = &self.meta()[usize::from(offsets.meta)..];
        let version = Version::decode(bytes, self.number, self.base)
            .expect("written by push, or checked when loaded");
        Version { value_at: usize::from(offsets.value), ..version }
    }
}

impl BlockBody {
    /// Creates the body of a closed block with `values_len` bytes of values. If `values` is `None`, they are only on disk.
    fn closed(meta: &[u8], values_len: usize, values: Option<Vec<u8>>) -> Self {
        Self::Closed {
            // Copy the bytes, because an allocator may shrink a vector to half of its capacity without freeing memory.
            meta: Bytes::copy_from_slice(meta),
            values_len,
            values: BlockValues::new(values.map(|values| Bytes::from(values.into_boxed_slice()))),
        }
    }
}

impl Holder for Block {
    fn values(&self) -> &BlockValues {
        match &self.body {
            BlockBody::Open { .. } => unreachable!("only closed blocks are settled"),
            BlockBody::Closed { values, .. } => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kv::version::Links,
        lease::LeaseId,
        levels::FIRST,
        values::{BlockCache, test_support::MemoryFile},
    };

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
                value_len: VALUE.len(),
                value_at: 0,
                size: 0,
            };
            block
                .push(&version, VALUE, Pacing::of(FIRST).block_bytes)
                .expect("the version fits");
        }
        block
    }

    fn without(block: Block, dead: &[u16]) -> Arc<Block> {
        block.without(dead).unwrap_or_else(|| Arc::new(block))
    }

    /// Members close and compact a block in different orders, and some members have the block's values only on disk. The
    /// records must still be equal.
    #[test]
    fn a_closed_block_depends_only_on_its_versions() {
        for dead in [&[][..], &[4], &[0, 2], &[0, 1, 2], &[1, 2, 3, 4]] {
            let mut compacted_first = without(open(), dead);
            Arc::make_mut(&mut compacted_first).close();
            let mut closed = open();
            closed.close();
            let cold = cold(&closed);
            let cold = cold.without(dead).unwrap_or(cold);
            let closed_first = without(closed, dead);
            for other in [compacted_first, cold] {
                assert_eq!(other.slots(), closed_first.slots(), "without {dead:?}");
                assert_eq!(
                    block_record::encode(&other),
                    block_record::encode(&closed_first)
                );
            }
        }
    }

    /// Returns the same closed block with its values only on disk.
    fn cold(block: &Block) -> Arc<Block> {
        let record = block_record::encode(block);
        let len = record.len() as u32;
        let head = block_record::head(block.number(), &record).expect("the record is valid");
        assert!(head.len() < record.len());
        let copy =
            block_record::decode_head(block.number(), &head, len).expect("the record is valid");
        for cut in 0..head.len() {
            let cut = block_record::decode_head(block.number(), &head[..cut], len);
            assert!(cut.is_none());
        }
        assert!(block_record::decode_head(block.number(), &head, len + 1).is_none());
        let (copy, cache) = (Arc::new(copy), Arc::new(BlockCache::new()));
        cache.set_target(0);
        copy.settle(Place { file: MemoryFile::new(cache, record), offset: 0, len });
        assert!(!copy.is_resident());
        copy
    }

    #[test]
    fn a_record_of_other_versions_is_refused() {
        let mut block = open();
        block.close();
        let record = block_record::encode(&block);
        assert_eq!(
            block_record::read_values(&block, &record).as_deref(),
            Some(&VALUE.repeat(5)[..])
        );
        let mut other = Block::new(1);
        for main in 2..=6 {
            let block = open();
            let version = block.get(0).expect("the slot has a version");
            let version = Version { main: Revision(main), ..version };
            other.push(&version, VALUE, CAPACITY_BYTES);
        }
        other.close();
        assert_eq!(block_record::read_values(&other, &record), None);
        let fewer = without(open(), &[1]);
        assert_eq!(
            block_record::read_values(&block, &block_record::encode(&fewer)),
            None
        );
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert_eq!(
                block_record::read_values(&block, &damaged),
                None,
                "byte {at}"
            );
        }
    }
}
