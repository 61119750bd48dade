//! The checkpoint record of a block: base revision, kind and length of the directory, the directory, the versions with their
//! keys and values, and a CRC-32 of all before. Numbers are little-endian.

use bytes::Bytes;

use super::{
    block::Block,
    slots::{Offsets, SlotDirectory},
    version::{ByteReader, Location, Version},
};
use crate::{revision::Revision, values::ReadPattern};

/// Kind of a directory with an offset for each slot.
const SLOTS_ALL: u8 = 0;
/// Kind of a directory with slot and offset of each remaining version.
const SLOTS_LEFT: u8 = 1;

/// Offset in the directory of a slot whose version was compacted.
const COMPACTED_SLOT: u16 = u16::MAX;

/// Size in bytes of the base revision, and of the kind and the length of the directory.
const HEADER_BYTES: usize = 13;

/// Size in bytes of the CRC-32.
const CRC_BYTES: usize = 4;

/// Returns the size of a block's record in bytes.
pub(super) fn len(block: &Block) -> usize {
    HEADER_BYTES + directory_len(block.slots()) + block.len() + CRC_BYTES
}

fn directory_len(slots: &SlotDirectory) -> usize {
    match slots {
        SlotDirectory::Full(slots) => slots.len() * 2,
        SlotDirectory::Sparse(entries) => entries.len() * 4,
    }
}

/// Encodes a block as a record. If its values are only on disk, waits for them.
pub(super) fn encode(block: &Block) -> Vec<u8> {
    // A version's offset in the record is the size of everything before it.
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

/// A record without its checksum, and where its versions are.
struct Record<'a> {
    base: Revision,
    /// Slot and offset of each version, in order. Compacted slots have [`COMPACTED_SLOT`].
    entries: Vec<(u16, u16)>,
    kind: u8,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Parses a record. Returns `None` if it is damaged.
    fn parse(record: &'a [u8]) -> Option<Self> {
        let mut input = ByteReader { rest: verify_checksum(record)? };
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

    /// Decodes the version at an offset of the record of block `number`. Returns it with its fields and key, and its value.
    fn version(&self, number: u64, offset: u16) -> Option<(Version<'a>, &'a [u8], &'a [u8])> {
        let bytes = self.body.get(usize::from(offset)..)?;
        let version = Version::decode(bytes, number, self.base)?;
        let (meta, rest) = bytes.split_at_checked(version.meta_len())?;
        Some((version, meta, rest.get(..version.value_len)?))
    }
}

/// Decodes a record. `open` is whether the result is an open block. Returns `None` if the record is damaged.
pub(super) fn decode(number: u64, record: &[u8], open: bool) -> Option<Block> {
    let record = Record::parse(record)?;
    let (mut meta, mut values, mut values_len) = (Vec::new(), Vec::new(), 0);
    let mut entries: Vec<(u16, Offsets)> = Vec::with_capacity(record.entries.len());
    let mut last = None;
    for (slot, offset) in &record.entries {
        if *offset == COMPACTED_SLOT && record.kind == SLOTS_ALL {
            entries.push((*slot, Offsets::COMPACTED));
            continue;
        }
        let (version, fields, value) = record.version(number, *offset)?;
        let own = Location { block: number, slot: *slot };
        let older = |link: Option<Location>| link.is_none_or(|older| older < own);
        if last.is_some_and(|last| last >= *slot)
            || usize::from(*offset) != meta.len() + values_len
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
        values.push(value);
        values_len += value.len();
    }
    if meta.len() + values_len != record.body.len() {
        return None;
    }
    let slots = match record.kind {
        SLOTS_ALL => SlotDirectory::Full(entries.into_iter().map(|(_, at)| at).collect()),
        _ => SlotDirectory::Sparse(entries),
    };
    Some(Block::from_parts(
        number,
        record.base,
        slots,
        (meta, values.concat()),
        open,
    ))
}

/// Returns the values of a block from its record, which may also contain versions that a compaction has removed since. Returns
/// `None` if the record is damaged or lacks a version of the block.
pub(super) fn read_values(block: &Block, record: &[u8]) -> Option<Bytes> {
    let record = Record::parse(record)?;
    if record.base != block.base() {
        return None;
    }
    let (mut values, mut meta) = (Vec::new(), block.meta());
    let mut entries = record.entries.iter();
    for (slot, version) in block.versions() {
        let (own, rest) = meta.split_at(version.meta_len());
        meta = rest;
        let (_, offset) = entries.find(|(found, _)| *found == slot)?;
        let (_, fields, value) = record.version(block.number(), *offset)?;
        if fields != own {
            return None;
        }
        values.extend_from_slice(value);
    }
    Some(Bytes::from(values.into_boxed_slice()))
}

/// Appends the CRC-32 of a record's content.
pub(super) fn with_checksum(mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

/// Returns a record's content without its CRC-32, or `None` if the CRC-32 does not match.
pub(super) fn verify_checksum(value: &[u8]) -> Option<&[u8]> {
    let (value, crc) = value.split_last_chunk::<CRC_BYTES>()?;
    (crc32fast::hash(value) == u32::from_le_bytes(*crc)).then_some(value)
}
