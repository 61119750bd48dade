//! Computes the CRC-32 of any byte range in a file, in time that hardly depends on the range's length. With a slower method,
//! startup could take a very long time. A client controls the content of a torn write, and this content may look like the
//! headers of many long records.
//!
//! Also uses a checksum to find a single flipped bit. A torn write was never acknowledged, but a record with a flipped bit may
//! have been acknowledged.

#[cfg(test)]
use std::cell::Cell;
use std::{iter, ops::Range};

use crc32fast::Hasher;

/// The polynomial of CRC-32, lowest bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Distance in bytes between two stored sums. A range's CRC-32 is computed from at most twice as many bytes.
const BLOCK_BYTES: usize = 256;

pub(super) struct RangeCrc<'a> {
    pub(super) bytes: &'a [u8],
    /// CRC-32 of the bytes before each block.
    before: Vec<u32>,
    #[cfg(test)]
    pub(super) hashed: Cell<usize>,
}

impl<'a> RangeCrc<'a> {
    /// Computes the sums of all blocks, in time linear in the length of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut sum = Hasher::new();
        let mut before = vec![sum.clone().finalize()];
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            sum.update(block);
            before.push(sum.clone().finalize());
        }
        Self {
            bytes,
            before,
            #[cfg(test)]
            hashed: Cell::new(bytes.len()),
        }
    }

    /// Returns the CRC-32 of a range. Panics if the range is not within the bytes.
    pub(super) fn of(&self, range: Range<usize>) -> u32 {
        // crc(ab) is crc(a), shifted by the length of b, XOR crc(b).
        let mut shifted = Hasher::new_with_initial(self.up_to(range.start));
        shifted.combine(&Hasher::new_with_initial_len(0, range.len() as u64));
        self.up_to(range.end) ^ shifted.finalize()
    }

    /// Returns the CRC-32 of the bytes before `at`.
    fn up_to(&self, at: usize) -> u32 {
        let block = at / BLOCK_BYTES;
        let rest = &self.bytes[block * BLOCK_BYTES..at];
        #[cfg(test)]
        self.hashed.set(self.hashed.get() + rest.len());
        let mut sum = Hasher::new_with_initial(self.before[block]);
        sum.update(rest);
        sum.finalize()
    }
}

/// Finds the bit in a block of `length` bytes whose flip changes the CRC-32 by `difference`, the XOR of the actual and the
/// expected sum. Returns the byte's offset and the bit's mask, or `None` if no single flip causes this difference.
pub(super) fn find_flipped_bit(length: usize, difference: u32) -> Option<(usize, u8)> {
    // CRC-32 is linear: flipping a bit changes the sum by an amount that depends only on the bit's distance from the end.
    let times_x = |change: &u32| Some((change >> 1) ^ (POLYNOMIAL * (change & 1)));
    let changes = iter::successors(Some(POLYNOMIAL), times_x);
    let distance = changes
        .take(length * 8)
        .position(|change| change == difference)?;
    Some((length - 1 - distance / 8, 0x80 >> (distance % 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_sum_of_its_bytes() {
        let bytes: Vec<u8> = (0..3000_u32).map(|n| (n * n / 7) as u8).collect();
        let sums = RangeCrc::new(&bytes);
        for start in (0..bytes.len()).step_by(37) {
            for end in (start..=bytes.len()).step_by(41).chain([bytes.len()]) {
                let expected = crc32fast::hash(&bytes[start..end]);
                assert_eq!(sums.of(start..end), expected, "{start}..{end}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let block: Vec<u8> = (0..300_u32).map(|n| (n * n) as u8).collect();
        let right = crc32fast::hash(&block);
        for at in 0..block.len() {
            for bit in 0..8 {
                let mut flawed = block.clone();
                flawed[at] ^= 1 << bit;
                let difference = crc32fast::hash(&flawed) ^ right;
                let found = find_flipped_bit(block.len(), difference);
                assert_eq!(found, Some((at, 1 << bit)));
            }
        }
    }
}
