//! Clauses of RFC 7541 that bind a decoder. `server/crates/http2/docs/rfc7541.md` maps clauses to tests.

use witan_http2::hpack::{Decoder, HpackError};
use witan_http2_tests::frame::{integer, literal};

type Fields = Vec<(String, String)>;

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.push((text(field.name()), text(field.value())));
    })?;
    Ok(fields)
}

fn pairs(fields: &[(&str, &str)]) -> Fields {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

#[test]
fn fields_keep_their_order() {
    let expected = [
        ("b", "1"),
        (":method", "GET"),
        ("a", "2"),
        ("b", "0"),
        ("a", "1"),
    ];
    let mut block = Vec::new();
    for (name, value) in expected {
        if name == ":method" {
            block.push(0x82);
        } else {
            literal(name.as_bytes(), value.as_bytes(), &mut block);
        }
    }
    assert_eq!(read(&mut Decoder::default(), &block), Ok(pairs(&expected)));
}

#[test]
fn the_same_field_enters_twice() {
    let mut decoder = Decoder::default();
    read(&mut decoder, b"\x40\x01a\x01b\x40\x01a\x01b").expect("it decodes");
    assert_eq!(decoder.table_size(), (2, 68));
    assert_eq!(
        read(&mut decoder, b"\xbe\xbf"),
        Ok(pairs(&[("a", "b"), ("a", "b")]))
    );
}

#[test]
fn an_index_beyond_both_tables_is_refused() {
    for index in [0_usize, 62, 63, 1000, 1 << 20, usize::MAX >> 40] {
        for (prefix, first) in [(7, 0x80), (6, 0x40), (4, 0), (4, 0x10)] {
            // Except in the first form, index 0 means a new name.
            if index == 0 && prefix != 7 {
                continue;
            }
            let mut block = Vec::new();
            integer(index, prefix, first, &mut block);
            block.extend(b"\x01v");
            assert_eq!(
                read(&mut Decoder::default(), &block),
                Err(HpackError),
                "{index} {prefix}"
            );
        }
    }
    let mut decoder = Decoder::default();
    read(&mut decoder, b"\x40\x01a\x01b").expect("it decodes");
    assert_eq!(read(&mut decoder, b"\xbf"), Err(HpackError));
}

#[test]
fn fields_added_to_the_dynamic_table() {
    for (first, entries) in [(0x40_u8, 1), (0x00, 0), (0x10, 0)] {
        let mut decoder = Decoder::default();
        let block = [&[first][..], b"\x01a\x01b"].concat();
        assert_eq!(read(&mut decoder, &block), Ok(pairs(&[("a", "b")])));
        assert_eq!(decoder.table_size().0, entries, "{first:x}");
        // Repeat with a name from the static table.
        let block = [&[first | 2][..], b"\x03PUT"].concat();
        assert_eq!(read(&mut decoder, &block), Ok(pairs(&[(":method", "PUT")])));
        assert_eq!(decoder.table_size().0, 2 * entries, "{first:x}");
    }
}
