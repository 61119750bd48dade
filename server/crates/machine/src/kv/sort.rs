//! Sorts many byte strings without pairwise comparison: an MSD radix sort with cached heads, which processes seven bytes of
//! each key at a time. `index_builder` sorts the keys at startup; `range` sorts responses itself. Each key is fetched only a
//! few times; a comparison sort fetches two keys in each of n log n steps.

use std::ops::Range;

/// Number of key bytes in a head, in addition to their count.
const HEAD_BYTES: usize = 7;
/// Initial number of key bytes that are compared in one step to find a common prefix.
const WINDOW_BYTES: usize = 64;
/// Maximum number of keys in a group that is sorted by comparison, because another radix pass would cost as much.
const FEW_KEYS: usize = 8;

/// A key's position in the input and its head for the current pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey {
    head: u64,
    at: usize,
}

impl SortKey {
    /// Returns the position of the key in the unsorted list.
    pub(super) fn at(self) -> usize {
        self.at
    }
}

/// Sorts keys stably. Returns their positions in ascending key order.
pub(super) fn sorted<K: AsRef<[u8]>>(keys: &[K]) -> Vec<SortKey> {
    let mut tags: Vec<SortKey> = (0..keys.len()).map(|at| SortKey { head: 0, at }).collect();
    let mut groups: Vec<(Range<usize>, usize)> = vec![(0..tags.len(), 0)];
    while let Some((group, from)) = groups.pop() {
        let first = group.start;
        let tags = &mut tags[group];
        if tags.len() <= FEW_KEYS {
            tags.sort_unstable_by(|a, b| {
                let tail = |tag: &SortKey| &keys[tag.at].as_ref()[from..];
                tail(a).cmp(tail(b)).then(a.at.cmp(&b.at))
            });
            continue;
        }
        let from = from + common_prefix_len(tags.iter().map(|tag| &keys[tag.at].as_ref()[from..]));
        for tag in &mut *tags {
            tag.head = head(&keys[tag.at].as_ref()[from..]);
        }
        tags.sort_unstable();
        let mut begin = first;
        for same in tags.chunk_by(|a, b| a.head == b.head) {
            let end = begin + same.len();
            if same.len() > 1 && has_more_bytes(same[0].head) {
                groups.push((begin..end, from + HEAD_BYTES));
            }
            begin = end;
        }
    }
    tags
}

/// Packs the first `HEAD_BYTES` bytes of a key, followed by their count (plus one if the key is longer). A key that ends
/// therefore sorts before a key that continues with zeros.
fn head(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(HEAD_BYTES);
    bytes[..length].copy_from_slice(&key[..length]);
    let more = usize::from(key.len() > HEAD_BYTES);
    u64::from_be_bytes(bytes) | (length + more) as u64
}

/// Returns whether a key is longer than its head.
fn has_more_bytes(head: u64) -> bool {
    head as u8 > HEAD_BYTES as u8
}

/// Returns the length of the common prefix of all keys. Reads at most twice this length from each key, plus a window. Without
/// the growing window, every pass could read long similar keys to their ends.
fn common_prefix_len<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
    let (mut length, mut window) = (0, WINDOW_BYTES);
    loop {
        let end = length + window;
        let windows = keys.clone().map(|key| &key[length..key.len().min(end)]);
        length += common_prefix_len_of(windows);
        if length < end {
            return length;
        }
        window = length;
    }
}

/// Returns the length of the common prefix of all keys. May read each key completely.
fn common_prefix_len_of<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> usize {
    let first = keys.next().unwrap_or_default();
    let mut length = first.len();
    for key in keys {
        if length == 0 {
            break;
        }
        if !key.starts_with(&first[..length]) {
            let same = first.iter().zip(key).take_while(|(a, b)| a == b);
            length = same.count();
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn places(tags: Vec<SortKey>) -> Vec<usize> {
        tags.into_iter().map(SortKey::at).collect()
    }

    /// A key that counts its accesses.
    struct Counted<'a>(Vec<u8>, &'a Cell<u64>);

    impl AsRef<[u8]> for Counted<'_> {
        fn as_ref(&self) -> &[u8] {
            self.1.set(self.1.get() + 1);
            &self.0
        }
    }

    /// Sorts the keys and asserts their order. Returns the average number of reads per key.
    fn reads_per_key(keys: impl Iterator<Item = String>) -> f64 {
        let count = Cell::new(0);
        let keys: Vec<_> = keys.map(|key| Counted(key.into_bytes(), &count)).collect();
        let order = places(sorted(&keys));
        let reads = count.get() as f64 / keys.len() as f64;
        assert!(
            order.windows(2).all(|w| keys[w[0]].0 <= keys[w[1]].0),
            "not in order"
        );
        reads
    }

    #[test]
    fn each_key_is_read_a_few_times_regardless_of_their_number() {
        // The multiplier has no common factor with `count`, so each number occurs once, in a scattered order.
        let scattered = |count: u64| (0..count).map(move |n| n * 611_953 % count);
        for count in [10_000, 200_000] {
            let plain = reads_per_key(scattered(count).map(|n| format!("key-{n:012}")));
            assert!(plain < 4.0, "{plain} reads for each of {count} keys");
            let path = |n: u64| format!("/registry/pods/namespace-{:03}/pod-{n:024}", n % 211);
            let paths = reads_per_key(scattered(count).map(path));
            assert!(paths < 12.0, "{paths} reads for each of {count} paths");
        }
    }

    /// Generates keys. Many of them have one or two common path prefixes.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(255), any::<u8>()];
        let short = prop::collection::vec(byte, 0..20);
        (0..3_usize, short)
            .prop_map(|(begin, tail)| [&b"/registry/pods/"[..begin * 7], &tail].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn keys_are_sorted_and_equal_keys_keep_their_order(keys in prop::collection::vec(key(), 0..120)) {
            let order = places(sorted(&keys));
            let mut expected: Vec<usize> = (0..keys.len()).collect();
            expected.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
            prop_assert_eq!(order, expected);
        }
    }

    #[test]
    fn keys_with_a_long_common_prefix_are_sorted() {
        let mut keys: Vec<Vec<u8>> = (0..100_u8)
            .map(|n| vec![b'x'; 5000 + usize::from(n % 50)])
            .collect();
        for (at, key) in keys.iter_mut().enumerate().skip(50) {
            key[4000 + at] = b'w';
        }
        let order = places(sorted(&keys));
        let mut expected: Vec<usize> = (0..keys.len()).collect();
        expected.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
        assert_eq!(order, expected);
    }
}
