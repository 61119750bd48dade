//! One page of the index: sorted keys with the locations of their newest versions.
//!
//! A page consists of two buffers. A key costs its length plus eleven bytes. A page that no view shares is changed in place.

use super::version::{ByteReader, Location, write};

/// Maximum size of a page in bytes, enough for about 140 keys of 16 bytes. This maximum is a size class of the allocator. A
/// page of this size is small enough to be copied when a frozen view shares the page.
pub(super) const LEAF_BYTES: usize = 3584;

/// Number of bytes by which a page's buffer grows.
const GROWTH_BYTES: usize = 512;

const SLOT_BITS: u32 = 16;
/// Number of bits in a block number, so that a location and the tombstone flag fit in eight bytes.
pub(super) const BLOCK_BITS: u32 = 63 - SLOT_BITS;
const LOCATION_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// Location of the key's newest version.
    pub(super) location: Location,
    /// Whether the newest version is a deletion.
    pub(super) tombstone: bool,
}

/// An [`IndexEntry`] packed into eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedEntry(u64);

impl IndexEntry {
    /// Packs the entry into eight bytes: the block number ([`BLOCK_BITS`]), the slot and the tombstone flag.
    pub(super) fn pack(self) -> PackedEntry {
        PackedEntry(
            (self.location.block << (SLOT_BITS + 1))
                | (u64::from(self.location.slot) << 1)
                | u64::from(self.tombstone),
        )
    }

    pub(super) fn unpack(PackedEntry(packed): PackedEntry) -> Self {
        let location = Location { block: packed >> (SLOT_BITS + 1), slot: (packed >> 1) as u16 };
        Self { location, tombstone: packed & 1 == 1 }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    /// Offsets of the entries in `data`, in key order.
    offsets: Vec<u16>,
    /// The entries in no particular order, each with its location, key length and key.
    data: Vec<u8>,
    /// Number of bytes in `data` that belong to removed entries.
    garbage: usize,
    /// Number of keys whose newest version is not a deletion.
    live: u32,
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Returns the number of live keys.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Returns the key at a position. Panics if the position is not below the length.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let mut input = ByteReader {
            rest: &self.data[usize::from(self.offsets[at]) + LOCATION_BYTES..],
        };
        let len = input.varint().expect("written by push");
        &input.rest[..len as usize]
    }

    /// Returns the entry of the key at a position. Panics if the position is not below the length.
    pub(super) fn entry(&self, at: usize) -> IndexEntry {
        let offset = usize::from(self.offsets[at]);
        let bytes = self.data[offset..offset + LOCATION_BYTES]
            .try_into()
            .expect("eight bytes");
        IndexEntry::unpack(PackedEntry(u64::from_le_bytes(bytes)))
    }

    /// Returns the position of the key, or its insertion position as the error.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.offsets.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Removes all entries but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.offsets.clear();
        self.data.clear();
        (self.garbage, self.live) = (0, 0);
    }

    /// Returns whether a new key fits on the page without repacking it. An empty page accepts any key.
    pub(super) fn has_room(&self, key: &[u8]) -> bool {
        self.offsets.is_empty() || self.data.len() + entry_bytes(key) <= LEAF_BYTES
    }

    /// Returns the number of bytes that the entries need.
    pub(super) fn used(&self) -> usize {
        self.data.len() - self.garbage
    }

    /// Inserts a new key at the position that [`Self::search`] returned, even if the page is full.
    pub(super) fn insert(&mut self, at: usize, key: &[u8], entry: IndexEntry) {
        let need = entry_bytes(key);
        if self.data.capacity() - self.data.len() < need {
            self.data.reserve_exact(need.max(GROWTH_BYTES));
        }
        self.offsets.insert(at, self.data.len() as u16);
        self.data.extend_from_slice(&entry.pack().0.to_le_bytes());
        write(&mut self.data, key.len() as u64);
        self.data.extend_from_slice(key);
        self.live += u32::from(!entry.tombstone);
    }

    /// Replaces the entry of the key at a position and updates the number of live keys.
    pub(super) fn set(&mut self, at: usize, entry: IndexEntry) {
        self.live -= u32::from(!self.entry(at).tombstone);
        self.live += u32::from(!entry.tombstone);
        let offset = usize::from(self.offsets[at]);
        self.data[offset..offset + LOCATION_BYTES].copy_from_slice(&entry.pack().0.to_le_bytes());
    }

    /// Removes the key at a position. Repacks the page if more than half of its bytes are unused.
    pub(super) fn remove(&mut self, at: usize) {
        self.live -= u32::from(!self.entry(at).tombstone);
        self.garbage += entry_bytes(self.key(at));
        self.offsets.remove(at);
        if self.garbage * 2 > self.data.len() {
            *self = self.slice(0, self.len());
        }
    }

    /// Returns a page with the entries from position `from` (inclusive) to `to` (exclusive), without spare memory.
    pub(super) fn slice(&self, from: usize, to: usize) -> Leaf {
        let bytes = (from..to).map(|at| entry_bytes(self.key(at))).sum();
        let mut part = Leaf {
            offsets: Vec::with_capacity(to - from),
            data: Vec::with_capacity(bytes),
            ..Leaf::default()
        };
        for at in from..to {
            part.insert(at - from, self.key(at), self.entry(at));
        }
        part
    }

    /// Returns a page with the entries of this page and of `greater`, whose keys must all be greater.
    pub(super) fn concat(&self, greater: &Leaf) -> Leaf {
        let mut joined = self.slice(0, self.len());
        joined.data.reserve_exact(greater.used());
        for at in 0..greater.len() {
            joined.insert(joined.len(), greater.key(at), greater.entry(at));
        }
        joined
    }
}

/// Returns the encoded size of an entry in `data` in bytes: its location, the length of the key, and the key.
fn entry_bytes(key: &[u8]) -> usize {
    // The length is a variable-length integer with seven bits per byte.
    LOCATION_BYTES + (key.len().max(1).ilog2() / 7 + 1) as usize + key.len()
}
