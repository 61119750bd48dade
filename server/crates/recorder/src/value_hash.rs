//! A keyed hash of values that costs a small part of copying them: NH of UMAC (RFC 4418) with words of 64 bits makes 16 bytes
//! of each block, and SipHash hashes those and the length. Two values have the same hash by a chance of about 2^-64, and
//! nobody without the key can compute one: the last step is SipHash's.

use std::{
    array,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

/// NH has a key as long as a block.
const BLOCK_BYTES: usize = 1024;
const PAIR_BYTES: usize = 16;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct ValueHash {
    sip: RandomState,
    /// The key of NH: two words for each pair of words of a block.
    pairs: [[u64; 2]; BLOCK_BYTES / PAIR_BYTES],
}

impl ValueHash {
    /// A hash with a key that nobody knows.
    pub(crate) fn new() -> Self {
        let (sip, words) = (RandomState::new(), RandomState::new());
        let pairs = array::from_fn(|place| [0, 1].map(|word| words.hash_one((place, word))));
        Self { sip, pairs }
    }

    /// The hash of a value.
    pub(crate) fn of_value(&self, value: &[u8]) -> u64 {
        let mut sip = self.sip.build_hasher();
        sip.write_usize(value.len());
        for block in value.chunks(BLOCK_BYTES) {
            sip.write_u128(self.compress(block));
        }
        sip.finish()
    }

    /// The hash of a number.
    pub(crate) fn of_number(&self, number: u128) -> u64 {
        self.sip.hash_one(number)
    }

    /// NH of a block, which is filled up with zeros.
    fn compress(&self, block: &[u8]) -> u128 {
        let (pairs, rest) = block.as_chunks();
        let products = pairs.iter().zip(&self.pairs).map(product);
        let sum = products.fold(0, u128::wrapping_add);
        if rest.is_empty() {
            return sum;
        }
        let mut last = [0; PAIR_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        sum.wrapping_add(product((&last, &self.pairs[pairs.len()])))
    }
}

// a call for each pair takes longer than the product
#[inline]
fn product((pair, [low_key, high_key]): (&[u8; PAIR_BYTES], &[u64; 2])) -> u128 {
    let pair = u128::from_le_bytes(*pair);
    let (low, high) = (pair as u64, (pair >> 64) as u64);
    u128::from(low.wrapping_add(*low_key)) * u128::from(high.wrapping_add(*high_key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Values that differ in one bit, in their last byte, in the order of their words or in their length alone.
    fn values() -> Vec<Vec<u8>> {
        let mut values = vec![Vec::new()];
        for length in [1, 8, 15, 16, 17, 1023, 1024, 1025, 2048, 5000] {
            values.push(vec![0; length]);
            for at in [0, length / 2, length - 1] {
                let mut value = vec![0; length];
                value[at] = 1;
                values.push(value.clone());
                value[at] = 0x80;
                values.push(value);
            }
        }
        values.sort();
        values.dedup();
        values
    }

    #[test]
    fn equal_values_have_equal_hashes_and_others_do_not() {
        let hash = ValueHash::new();
        let values = values();
        let hashes: BTreeSet<u64> = values.iter().map(|value| hash.of_value(value)).collect();
        assert_eq!(hashes.len(), values.len());
        let again = values.iter().map(|value| hash.of_value(&value.clone()));
        assert_eq!(again.collect::<BTreeSet<u64>>(), hashes);
    }

    #[test]
    fn another_key_makes_other_hashes_of_blocks_and_values() {
        let [one, other] = [(); 2].map(|()| ValueHash::new());
        let value = [7; 100];
        assert_ne!(one.compress(&value), other.compress(&value));
        assert_ne!(one.of_value(&value), other.of_value(&value));
        assert_ne!(one.of_number(7), other.of_number(7));
    }
}
