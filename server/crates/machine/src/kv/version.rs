//! One version of a key as stored in a block: its fields and their encoding.
//!
//! The encoding is part of the checkpoint format: a flag byte, variable-length integers, then the key and the value. A new key
//! costs about six bytes in addition to its key and value. In memory, a version does not contain its value, which can be on
//! disk (see `block`).

use std::ops::Range;

use crate::{lease::LeaseId, revision::Revision};

/// Location of a version. A location never changes and is never reused. Two members can store the same version at different
/// locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) block: u64,
    /// Slot within the block.
    pub(super) slot: u16,
}

/// Links from a version to older versions of the same key. `prev` points to the previous version. `jump` points further back,
/// by the lowest digit of `depth` in the skew-binary system, so that any older version is found in O(log n) steps. A link to a
/// compacted version resolves to nothing, because all older versions were also compacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) prev: Option<Location>,
    /// A version before the previous one.
    pub(super) jump: Option<Location>,
    /// Number of earlier versions of this key, including versions before deletions.
    pub(super) depth: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    /// Revision of the change.
    pub(super) main: Revision,
    /// Index of the change within its revision.
    pub(super) sub: u64,
    /// Whether the change deleted the key.
    pub(super) tombstone: bool,
    /// Revision that created the key; for a tombstone, the revision of the deletion.
    pub(super) create: Revision,
    /// Number of puts since the key was created; 0 for a tombstone.
    pub(super) version: i64,
    /// The attached lease; [`LeaseId::NONE`] for no lease.
    pub(super) lease: LeaseId,
    pub(super) links: Links,
    pub(super) key: &'a [u8],
    /// Length of the value in bytes; 0 for a tombstone.
    pub(super) value_len: usize,
    /// Offset of the value within the values of the block; 0 until the version is written.
    pub(super) value_at: usize,
    /// Size in bytes of the encoding with the key and the value; 0 until the version is written.
    pub(super) size: usize,
}

const TOMBSTONE: u8 = 1;
/// Flag of a version that creates its key. The create revision and the version number are then not encoded.
const FRESH: u8 = 2;
const SUB: u8 = 4;
const LEASE: u8 = 8;
const PREV: u8 = 16;
const JUMP: u8 = 32;
const KNOWN: u8 = TOMBSTONE | FRESH | SUB | LEASE | PREV | JUMP;

impl<'a> Version<'a> {
    /// Encodes everything before the key, for a version in block number `block`. Revisions are relative to `base`.
    pub(super) fn head(&self, block: u64, base: Revision) -> Vec<u8> {
        let fresh = !self.tombstone && self.version == 1 && self.create == self.main;
        let flags = flag(self.tombstone, TOMBSTONE)
            | flag(fresh, FRESH)
            | flag(self.sub != 0, SUB)
            | flag(self.lease != LeaseId::NONE, LEASE)
            | flag(self.links.prev.is_some(), PREV)
            | flag(self.links.jump.is_some(), JUMP);
        let mut out = Vec::with_capacity(32);
        out.push(flags);
        write(&mut out, self.main.0.wrapping_sub(base.0) as u64);
        if self.sub != 0 {
            write(&mut out, self.sub);
        }
        if let Some(prev) = self.links.prev {
            write_location(&mut out, block, prev);
            write(&mut out, self.links.depth);
        }
        if let Some(jump) = self.links.jump {
            write_location(&mut out, block, jump);
        }
        if !self.tombstone && !fresh {
            write(&mut out, self.main.0.wrapping_sub(self.create.0) as u64);
            write(&mut out, self.version as u64);
        }
        if self.lease != LeaseId::NONE {
            write(&mut out, self.lease.0 as u64);
        }
        write(&mut out, self.key.len() as u64);
        if !self.tombstone {
            write(&mut out, self.value_len as u64);
        }
        out
    }

    /// Decodes the version at the start of `bytes`, which need not contain the value. `value_at` is 0 in the result. Returns
    /// `None` if the bytes are invalid.
    pub(super) fn decode(bytes: &'a [u8], block: u64, base: Revision) -> Option<Self> {
        let mut input = ByteReader { rest: bytes };
        let flags = input.byte()?;
        let has = |flag: u8| flags & flag != 0;
        if flags & !KNOWN != 0 || (has(TOMBSTONE) && flags & (FRESH | LEASE) != 0) {
            return None;
        }
        let main = Revision(base.0.checked_add(i64::try_from(input.varint()?).ok()?)?);
        let sub = if has(SUB) { input.varint()? } else { 0 };
        let mut links = Links::default();
        if has(PREV) {
            links.prev = Some(input.location(block)?);
            links.depth = input.varint()?;
        }
        if has(JUMP) {
            links.jump = Some(input.location(block)?);
        }
        let (create, version) = if has(TOMBSTONE) {
            (main, 0)
        } else if has(FRESH) {
            (main, 1)
        } else {
            let create = Revision(main.0.checked_sub(i64::try_from(input.varint()?).ok()?)?);
            (create, i64::try_from(input.varint()?).ok()?)
        };
        let lease = if has(LEASE) {
            LeaseId(input.varint()? as i64)
        } else {
            LeaseId::NONE
        };
        let key_len = usize::try_from(input.varint()?).ok()?;
        let value_len = if has(TOMBSTONE) {
            0
        } else {
            usize::try_from(input.varint()?).ok()?
        };
        let key = input.take(key_len)?;
        let size = (bytes.len() - input.rest.len()).checked_add(value_len)?;
        let tombstone = has(TOMBSTONE);
        Some(Version {
            main,
            sub,
            tombstone,
            create,
            version,
            lease,
            links,
            key,
            value_len,
            value_at: 0,
            size,
        })
    }

    /// Returns the byte range of the value within the values of the block.
    pub(super) fn value_range(&self) -> Range<usize> {
        self.value_at..self.value_at + self.value_len
    }

    /// Returns the size in bytes of the encoding without the value.
    pub(super) fn meta_len(&self) -> usize {
        self.size - self.value_len
    }
}

/// Returns the number of versions by which the jump of a version at `depth` leads back. The number is the weight of the lowest
/// digit of `depth` in the skew-binary system, with weights 1, 3, 7, 15 and so on. Returns 0 for the first version.
pub(super) fn reach(depth: u64) -> u64 {
    let mut rest = depth;
    let mut weight = 0;
    while rest > 0 {
        // The largest 2^k - 1 that is at most `rest`.
        weight = if rest == u64::MAX {
            rest
        } else {
            (1 << (rest + 1).ilog2()) - 1
        };
        rest -= weight;
    }
    weight
}

/// Returns the bit `flag` if `set`, otherwise 0.
fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// Appends a variable-length integer, seven bits per byte, lowest bits first.
pub(super) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a location: its block's distance below `block`, which must not be negative, and its slot.
fn write_location(out: &mut Vec<u8>, block: u64, location: Location) {
    write(out, block - location.block);
    write(out, u64::from(location.slot));
}

/// Reads a byte slice sequentially.
pub(super) struct ByteReader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// Takes a byte, or returns `None` at the end.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Takes an integer that [`write()`] appended. Returns `None` if the integer is incomplete or longer than ten bytes.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Takes the next `len` bytes. Returns `None` and takes nothing if fewer are left.
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a location that [`write_location`] appended for a version in `block`. Returns `None` if the location is invalid.
    fn location(&mut self, block: u64) -> Option<Location> {
        let block = block.checked_sub(self.varint()?)?;
        let slot = u16::try_from(self.varint()?).ok()?;
        Some(Location { block, slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that the encoded version decodes to itself, and that every shorter prefix is refused.
    fn assert_round_trip(version: &Version<'_>) {
        let mut bytes = version.head(9, Revision(100));
        bytes.extend_from_slice(version.key);
        let whole = Version { size: bytes.len() + version.value_len, ..*version };
        assert_eq!(Version::decode(&bytes, 9, Revision(100)), Some(whole));
        for cut in 0..bytes.len() {
            assert_eq!(
                Version::decode(&bytes[..cut], 9, Revision(100)),
                None,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn an_encoded_version_decodes_and_a_truncated_one_does_not() {
        let fresh = Version {
            main: Revision(105),
            sub: 0,
            tombstone: false,
            create: Revision(105),
            version: 1,
            lease: LeaseId::NONE,
            links: Links::default(),
            key: b"sixteen bytes it",
            value_len: 256,
            value_at: 0,
            size: 0,
        };
        assert_eq!(fresh.head(9, Revision(100)).len(), 5);
        assert_round_trip(&fresh);
        let links = Links {
            prev: Some(Location { block: 9, slot: 3 }),
            jump: Some(Location { block: 1, slot: 14_000 }),
            depth: 300,
        };
        assert_round_trip(&Version {
            create: Revision(7),
            version: 12,
            lease: LeaseId(-5),
            sub: 4,
            links,
            ..fresh
        });
        assert_round_trip(&Version { tombstone: true, version: 0, value_len: 0, links, ..fresh });
    }

    #[test]
    fn reach_is_the_lowest_skew_binary_digit() {
        let reaches: Vec<u64> = (0..16).map(reach).collect();
        assert_eq!(reaches, [0, 1, 1, 3, 1, 1, 3, 7, 1, 1, 3, 1, 1, 3, 7, 15]);
        assert_eq!(reach(u64::MAX), u64::MAX);
    }
}
