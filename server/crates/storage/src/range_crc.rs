//! Computes the CRC-32 of any byte range in a file, in time independent of the range's length. Otherwise, startup could take
//! very long: a client controls the content of a torn write, which may look like the headers of many long records.
//!
//! Also finds a single flipped bit with a checksum. The log's last record may be damaged by a torn write, which was never
//! acknowledged. After a bit flip, however, the record may have been acknowledged.

#[cfg(test)]
use std::cell::Cell;
use std::{iter, ops::Range};

/// The polynomial of CRC-32, lowest bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Distance in bytes between two stored sums. A range's CRC-32 is computed from at most twice as many bytes.
const BLOCK_BYTES: usize = 256;

/// The polynomial 1, lowest bit first.
const ONE: u32 = 1 << 31;

/// The polynomial x^8. Appending a byte multiplies the checksum by x^8.
const BYTE: u32 = ONE >> 8;

pub(super) struct RangeCrc<'a> {
    pub(super) bytes: &'a [u8],
    /// CRC-32 of the bytes before each block.
    before: Vec<u32>,
    /// The factor for each number of bytes smaller than a block.
    byte_factors: Vec<u32>,
    /// The factor for each number of blocks.
    block_factors: Vec<u32>,
    #[cfg(test)]
    pub(super) hashed: Cell<usize>,
}

impl<'a> RangeCrc<'a> {
    /// Computes the sums of all blocks, in time linear in the length of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut sum = crc32fast::Hasher::new();
        let mut before = vec![sum.clone().finalize()];
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            sum.update(block);
            before.push(sum.clone().finalize());
        }
        let byte_factors = powers(BYTE, BLOCK_BYTES);
        let block = multiply(byte_factors[BLOCK_BYTES - 1], BYTE);
        Self {
            bytes,
            block_factors: powers(block, before.len()),
            before,
            byte_factors,
            #[cfg(test)]
            hashed: Cell::new(bytes.len()),
        }
    }

    /// Returns the CRC-32 of a range. Panics if the range is not within the bytes.
    pub(super) fn of(&self, range: Range<usize>) -> u32 {
        let length = range.len();
        let bytes = self.byte_factors[length % BLOCK_BYTES];
        let factor = multiply(self.block_factors[length / BLOCK_BYTES], bytes);
        // crc(ab) is crc(a) shifted by the length of b, plus crc(b).
        self.up_to(range.end) ^ multiply(self.up_to(range.start), factor)
    }

    /// Returns the CRC-32 of the bytes before `at`.
    fn up_to(&self, at: usize) -> u32 {
        let block = at / BLOCK_BYTES;
        let rest = &self.bytes[block * BLOCK_BYTES..at];
        #[cfg(test)]
        self.hashed.set(self.hashed.get() + rest.len());
        let mut sum = crc32fast::Hasher::new_with_initial(self.before[block]);
        sum.update(rest);
        sum.finalize()
    }
}

/// Returns the first `count` powers of the polynomial `of`, starting with 1.
fn powers(of: u32, count: usize) -> Vec<u32> {
    iter::successors(Some(ONE), |power| Some(multiply(*power, of)))
        .take(count)
        .collect()
}

/// Multiplies two polynomials modulo the CRC-32 polynomial.
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..u32::BITS).rev() {
        if a & (1 << bit) != 0 {
            product ^= b;
        }
        b = times_x(b);
    }
    product
}

/// Multiplies a polynomial by x modulo the CRC-32 polynomial.
fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL * (a & 1))
}

/// Finds the bit in a block of `length` bytes whose flip changes the CRC-32 by `difference`, the XOR of the actual and the
/// expected sum. Returns the byte's offset and the bit's mask, or `None` if no single flip causes this difference.
pub(super) fn find_flipped_bit(length: usize, difference: u32) -> Option<(usize, u8)> {
    // CRC-32 is linear: flipping a bit changes the sum by an amount that depends only on the bit's distance from the end.
    let changes = iter::successors(Some(POLYNOMIAL), |change| Some(times_x(*change)));
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
