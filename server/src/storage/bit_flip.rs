//! Finds a single flipped bit by a checksum. Both a torn write and a flipped bit corrupt the last
//! record of the log, but a record with a flipped bit may have been acknowledged.

const TABLE: [u32; 256] = table();

/// The polynomial of CRC-32, lowest bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// Finds the bit of a block of `length` bytes whose flip changes the CRC-32 by `difference` (actual
/// xor expected). Returns its byte and its mask; `None` if no single bit does.
pub(super) fn find_flipped_bit(length: usize, difference: u32) -> Option<(usize, u8)> {
    // A checksum is linear: a flipped bit changes it by the same bits whatever else is there, and
    // by one step more for each byte behind it.
    let mut sums: [u32; 8] = std::array::from_fn(|bit| TABLE[1 << bit]);
    for at in (0..length).rev() {
        if let Some(bit) = sums.iter().position(|sum| *sum == difference) {
            return Some((at, 1 << bit));
        }
        for sum in &mut sums {
            *sum = (*sum >> 8) ^ TABLE[(*sum & 0xff) as usize];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_found() {
        let block: Vec<u8> = (0..300_u32).map(|n| (n * n) as u8).collect();
        let right = crc32fast::hash(&block);
        for at in 0..block.len() {
            for bit in 0..8 {
                let mut flawed = block.clone();
                flawed[at] ^= 1 << bit;
                let difference = crc32fast::hash(&flawed) ^ right;
                assert_eq!(
                    find_flipped_bit(block.len(), difference),
                    Some((at, 1 << bit))
                );
            }
        }
    }

    #[test]
    fn two_bits_are_not_taken_for_one() {
        let block = vec![7; 300];
        let mut flawed = block.clone();
        flawed[3] ^= 2;
        flawed[200] ^= 32;
        let difference = crc32fast::hash(&flawed) ^ crc32fast::hash(&block);
        assert_eq!(find_flipped_bit(block.len(), difference), None);
    }
}
