//! Header blocks of the standard, and choices that conversations are made of.

use super::Corpus;

/// Each block with its length before it, as the target takes them.
fn blocks(blocks: &[&[u8]]) -> Vec<u8> {
    let one = |block: &&[u8]| {
        let length = u16::try_from(block.len()).expect("a block is short");
        [&length.to_be_bytes(), *block].concat()
    };
    blocks.iter().flat_map(one).collect()
}

pub(super) fn add(corpus: &mut Corpus) {
    let mut put = |target, name: &str, bytes| corpus.insert((target, name.to_owned()), bytes);
    put(
        "hpack",
        "plain",
        blocks(&[
            b"\x00\x01a\x01b\x10\x01c\x01d",
            b"\x40\x0acustom-key\x0dcustom-header",
            b"\xbe\xbe",
        ]),
    );
    put(
        "hpack",
        "huffman",
        blocks(&[
            b"\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
            b"\xbf\xbe\x7a\x83\x9b\xd9\xab",
        ]),
    );
    put(
        "hpack",
        "sizes",
        blocks(&[
            b"\x3f\x09\x40\x01a\x011\x40\x01b\x012",
            b"\x20\x3f\xe1\x1f\x40\x01a\x011",
            b"\xbe",
        ]),
    );
    put(
        "hpack",
        "broken",
        blocks(&[b"\x40\x01a\x85\x07\xff\xff\xff\xff"]),
    );
    // the first byte of each step chooses what is done, the rest how
    for which in 0..19_u8 {
        let steps = (0..12_u8).flat_map(|n| {
            let first = if n % 3 == 0 { which } else { n };
            [first, n.wrapping_mul(40), n, 3, 1, 200, 9, n, 5, 1, 77, 1]
        });
        put("connection", &format!("step-{which}"), steps.collect());
    }
}
