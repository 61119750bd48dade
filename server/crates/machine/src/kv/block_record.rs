//! The checkpoint record of a block. It consists of the base revision, the kind and length of the slot directory, the
//! directory, the versions, and a CRC-32. A version includes its key and value. The CRC-32 covers all preceding bytes. Numbers
//! are little-endian.
//!
//! The head of a record is the record without the values and the CRC-32. The values of a block that is loaded from its head
//! stay on disk.

use bytes::Bytes;

use super::{
    block::Block,
    slots::{Offsets, SlotDirectory},
    version::{ByteReader, Location, Version},
};
use crate::{revision::Revision, values::ReadPattern};

/// Kind of a directory with an offset for each slot.
const SLOTS_ALL: u8 = 0;
/// Kind of a directory with the slot and offset of each remaining version.
const SLOTS_LEFT: u8 = 1;

/// The directory's offset for a slot whose version was compacted.
const COMPACTED_SLOT: u16 = u16::MAX;

/// Size in bytes of the base revision and of the directory's kind and length.
const HEADER_BYTES: usize = 13;

/// Size in bytes of the CRC-32.
const CRC_BYTES: usize = 4;

/// Returns the size of a block's record in bytes.
pub(super) fn len(block: &Block) -> usize {
    HEADER_BYTES + directory_bytes(block.slots()) + block.len() + CRC_BYTES
}

/// Returns the size in bytes of the encoded slots, without the directory's kind and length.
fn directory_bytes(slots: &SlotDirectory) -> usize {
    match slots {
        SlotDirectory::Full(slots) => slots.len() * 2,
        SlotDirectory::Sparse(entries) => entries.len() * 4,
    }
}

/// Encodes a block as a record. If its values are only on disk, waits until they have been read.
pub(super) fn encode(block: &Block) -> Vec<u8> {
    // A version's offset in the record is the total size of the versions before it, with their keys and values.
    let offset = |at: &Offsets| match *at {
        Offsets::COMPACTED => COMPACTED_SLOT,
        Offsets { meta, value } => meta + value,
    };
    let (kind, count) = match block.slots() {
        SlotDirectory::Full(slots) => (SLOTS_ALL, slots.len()),
        SlotDirectory::Sparse(entries) => (SLOTS_LEFT, entries.len()),
    };
    let mut out = Vec::with_capacity(len(block));
    out.extend_from_slice(&block.base().0.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&(count as u32).to_le_bytes());
    match block.slots() {
        SlotDirectory::Full(slots) => {
            slots
                .iter()
                .for_each(|at| out.extend_from_slice(&offset(at).to_le_bytes()));
        }
        SlotDirectory::Sparse(entries) => {
            for (slot, at) in entries {
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&offset(at).to_le_bytes());
            }
        }
    }
    let (values, mut meta) = (block.values(ReadPattern::Scan), block.meta());
    for (_, version) in block.versions() {
        let (own, rest) = meta.split_at(version.meta_len());
        out.extend_from_slice(own);
        out.extend_from_slice(values.of(&version));
        meta = rest;
    }
    with_checksum(out)
}

/// A parsed record without its checksum, or a parsed head.
struct Record<'a> {
    base: Revision,
    /// Slot and offset of each version, in order. Compacted slots have [`COMPACTED_SLOT`].
    entries: Vec<(u16, u16)>,
    kind: u8,
    /// The versions, with their values in a record and without them in a head.
    body: &'a [u8],
}

/// The versions of a block, separated from their values.
struct BlockParts<'a> {
    slots: SlotDirectory,
    /// The fields and keys of all versions, one after another.
    meta: Vec<u8>,
    /// The values of all versions, in order; empty for a head.
    values: Vec<&'a [u8]>,
    /// Size of all values in bytes.
    values_len: usize,
}

impl<'a> Record<'a> {
    /// Parses a record without its checksum, or a head, up to the versions. Returns `None` if the header or the directory is
    /// damaged.
    fn parse(content: &'a [u8]) -> Option<Self> {
        let mut input = ByteReader { rest: content };
        let base = Revision(i64::from_le_bytes(input.take(8)?.try_into().ok()?));
        let kind = input.byte()?;
        let count = u32::from_le_bytes(input.take(4)?.try_into().ok()?) as usize;
        let entries = match kind {
            SLOTS_ALL => {
                let (offsets, _) = input.take(count.checked_mul(2)?)?.as_chunks::<2>();
                let offsets = offsets.iter().copied().map(u16::from_le_bytes);
                (0..=u16::MAX).zip(offsets).collect()
            }
            SLOTS_LEFT => {
                let (entries, _) = input.take(count.checked_mul(4)?)?.as_chunks::<4>();
                let entry = |[a, b, c, d]: [u8; 4]| {
                    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
                };
                entries.iter().copied().map(entry).collect()
            }
            _ => return None,
        };
        Some(Self { base, entries, kind, body: input.rest })
    }

    /// Decodes the version of block `number` that begins at offset `at` of the body. Returns the version, its encoded fields
    /// and key, and the remaining bytes of the body. Returns `None` if the version is damaged.
    fn version(&self, number: u64, at: usize) -> Option<(Version<'a>, &'a [u8], &'a [u8])> {
        let bytes = self.body.get(at..)?;
        let version = Version::decode(bytes, number, self.base)?;
        let (meta, rest) = bytes.split_at_checked(version.meta_len())?;
        Some((version, meta, rest))
    }

    /// Separates the versions of block `number` from their values. `has_values` is `false` for a head, which lacks the values.
    /// Returns `None` if a version is damaged, misplaced or linked to a later version, or if further bytes follow.
    fn parts(&self, number: u64, has_values: bool) -> Option<BlockParts<'a>> {
        let (mut meta, mut values, mut values_len) = (Vec::new(), Vec::new(), 0_usize);
        let mut entries: Vec<(u16, Offsets)> = Vec::with_capacity(self.entries.len());
        let mut last = None;
        for (slot, offset) in &self.entries {
            if *offset == COMPACTED_SLOT && self.kind == SLOTS_ALL {
                entries.push((*slot, Offsets::COMPACTED));
                continue;
            }
            // A head's directory contains offsets into the full record.
            let begin = meta.len() + values_len;
            let at = if has_values { begin } else { meta.len() };
            let (version, fields, rest) = self.version(number, at)?;
            let own = Location { block: number, slot: *slot };
            let older = |link: Option<Location>| link.is_none_or(|older| older < own);
            if last.is_some_and(|last| last >= *slot)
                || usize::from(*offset) != begin
                || !older(version.links.prev)
                || !older(version.links.jump)
            {
                return None;
            }
            last = Some(*slot);
            entries.push((
                *slot,
                Offsets { meta: meta.len() as u16, value: values_len as u16 },
            ));
            meta.extend_from_slice(fields);
            if has_values {
                values.push(rest.get(..version.value_len)?);
            }
            let sum = values_len.checked_add(version.value_len)?;
            values_len = u32::try_from(sum).ok()? as usize;
        }
        let in_body = if has_values { values_len } else { 0 };
        if meta.len() + in_body != self.body.len() {
            return None;
        }
        let slots = match self.kind {
            SLOTS_ALL => SlotDirectory::Full(entries.into_iter().map(|(_, at)| at).collect()),
            _ => SlotDirectory::Sparse(entries),
        };
        Some(BlockParts { slots, meta, values, values_len })
    }
}

/// Decodes a record. `open` decides whether the result is an open block. Returns `None` if the record is damaged.
pub(super) fn decode(number: u64, record: &[u8], open: bool) -> Option<Block> {
    let record = Record::parse(verify_checksum(record)?)?;
    let BlockParts { slots, meta, values, .. } = record.parts(number, true)?;
    Some(Block::from_parts(
        number,
        record.base,
        slots,
        (meta, values.concat()),
        open,
    ))
}

/// Returns the head of the record of block `number`, or `None` if the record is damaged.
pub(super) fn head(number: u64, record: &[u8]) -> Option<Vec<u8>> {
    let content = verify_checksum(record)?;
    let record = Record::parse(content)?;
    let BlockParts { meta, .. } = record.parts(number, true)?;
    let directory = &content[..content.len() - record.body.len()];
    Some([directory, &meta].concat())
}

/// Decodes a closed block from the head of its record, which has `record_len` bytes. Returns `None` if the head is invalid or
/// does not match that length.
pub(super) fn decode_head(number: u64, head: &[u8], record_len: u32) -> Option<Block> {
    let head = Record::parse(head)?;
    let BlockParts { slots, meta, values_len, .. } = head.parts(number, false)?;
    let block = Block::on_disk(number, head.base, slots, meta, values_len);
    (len(&block) == record_len as usize).then_some(block)
}

/// Returns the values of a block from its record, which may still contain versions that a compaction has removed. Returns
/// `None` if the record is damaged or lacks a version of the block.
pub(super) fn read_values(block: &Block, record: &[u8]) -> Option<Bytes> {
    let record = Record::parse(verify_checksum(record)?)?;
    if record.base != block.base() {
        return None;
    }
    let (mut values, mut meta) = (Vec::new(), block.meta());
    let mut entries = record.entries.iter();
    for (slot, version) in block.versions() {
        let (own, rest) = meta.split_at(version.meta_len());
        meta = rest;
        let (_, offset) = entries.find(|(found, _)| *found == slot)?;
        let (_, fields, rest) = record.version(block.number(), usize::from(*offset))?;
        if fields != own {
            return None;
        }
        values.extend_from_slice(rest.get(..version.value_len)?);
    }
    Some(Bytes::from(values.into_boxed_slice()))
}

/// Appends the CRC-32 of a record's content.
pub(super) fn with_checksum(mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

/// Returns a record's content without its CRC-32, or `None` if the record is too short or the CRC-32 does not match.
pub(super) fn verify_checksum(value: &[u8]) -> Option<&[u8]> {
    let (value, crc) = value.split_last_chunk::<CRC_BYTES>()?;
    (crc32fast::hash(value) == u32::from_le_bytes(*crc)).then_some(value)
}
