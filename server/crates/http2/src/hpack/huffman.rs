//! Huffman decoding of header strings (RFC 7541, appendix B). The lengths of the code words determine the canonical code. The
//! encoder does not use Huffman codes.

use super::HpackError;

const LONGEST_CODE: usize = 30;

/// The end-of-string symbol, which must not occur.
const EOS: u16 = 256;

/// Code word lengths in bits, for each byte and for the end of a string.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The canonical code. Code words of the same length are consecutive, so the number of code words of each length determines the
/// code.
struct CodeTable {
    count: [u32; LONGEST_CODE + 1],
    /// Symbols ordered by code word length, then by value.
    symbols: [u16; LENGTHS.len()],
}

const WORDS: CodeTable = words();

/// Computes the canonical code from [`LENGTHS`].
const fn words() -> CodeTable {
    let (mut count, mut symbols) = ([0; LONGEST_CODE + 1], [0; LENGTHS.len()]);
    let (mut length, mut at) = (1, 0);
    while length <= LONGEST_CODE {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u16;
                count[length] += 1;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    CodeTable { count, symbols }
}

/// Decodes a string and appends it to `out`. Fails if the input contains the end-of-string symbol, or if its padding is invalid
/// or longer than 7 bits.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    // A code word has at least five bits.
    out.reserve(coded.len() * 8 / 5);
    let (mut code, mut first, mut offset, mut length) = (0_u32, 0_u32, 0_u32, 0_usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            first <<= 1;
            length += 1;
            let count = WORDS.count[length];
            if code - first < count {
                let symbol = WORDS.symbols[(offset + code - first) as usize];
                if symbol == EOS {
                    return Err(HpackError);
                }
                // Only the end-of-string symbol exceeds a byte.
                out.push(symbol as u8);
                (code, first, offset, length) = (0, 0, 0, 0);
            } else {
                first += count;
                offset += count;
            }
        }
    }
    let padding_is_ones = code == (1 << length) - 1;
    if length > 7 || !padding_is_ones {
        return Err(HpackError);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// Returns a symbol's code word and its length in bits, computed as in the RFC.
    fn word(symbol: usize) -> (u32, usize) {
        let mut code = 0;
        for (length, count) in WORDS.count.iter().enumerate() {
            code <<= 1;
            if length == usize::from(LENGTHS[symbol]) {
                let before = LENGTHS[..symbol].iter().filter(|l| **l == LENGTHS[symbol]);
                return (code + before.count() as u32, length);
            }
            code += count;
        }
        unreachable!("every symbol has a word")
    }

    #[test]
    fn every_byte_is_read_back() {
        for symbol in 0..256 {
            let (code, length) = word(symbol);
            let mut bits = u64::from(code) << (64 - length);
            bits |= u64::MAX >> length;
            let bytes = &bits.to_be_bytes()[..length.div_ceil(8)];
            assert_eq!(decoded(bytes), Ok(vec![symbol as u8]), "{symbol}");
        }
        // If all lengths are right, the last code word contains only ones.
        assert_eq!(word(256), (0x3fff_ffff, 30));
    }
}
