//! Header compression (RFC 7541): `decoder` with `huffman`, and `encoder`.

mod decoder;
mod encoder;
mod huffman;

pub(crate) use decoder::FieldName;
pub use decoder::{Decoder, HeaderField, HpackError};
pub(crate) use encoder::Encoder;

/// Size in bytes of a dynamic table, the protocol's default.
pub(crate) const TABLE_BYTES: usize = 4096;

/// Number of bytes by which a field's size exceeds its name and value.
pub(crate) const FIELD_OVERHEAD: usize = 32;

/// Names and values of the static table (RFC 7541, appendix A). The first entry has index 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
        let mut fields = Vec::new();
        decoder.decode(block, |field| {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            fields.push((text(&field.name), text(&field.value)));
        })?;
        Ok(fields)
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        fields.iter().map(owned).collect()
    }

    /// Decodes the three requests of RFC 7541, C.4, which share a table.
    #[test]
    fn requests_of_the_standard() {
        let mut decoder = Decoder::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let common = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ];
        assert_eq!(read(&mut decoder, first).unwrap(), pairs(&common));
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        let mut expected = pairs(&common);
        expected.extend(pairs(&[("cache-control", "no-cache")]));
        assert_eq!(read(&mut decoder, second).unwrap(), expected);
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let expected = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        let generation = decoder.generation;
        assert_eq!(read(&mut decoder, third).unwrap(), pairs(&expected));
        assert_eq!(decoder.table_size(), (3, 164));
        assert_ne!(decoder.generation, generation);
    }

    #[test]
    fn the_table_evicts_its_oldest_fields() {
        let mut decoder = Decoder::default();
        // The table has 40 bytes, enough for one field of 1 + 1 + 32 bytes.
        read(&mut decoder, b"\x3f\x09\x40\x01a\x011\x40\x01b\x012").unwrap();
        assert_eq!(read(&mut decoder, b"\xbe").unwrap(), pairs(&[("b", "2")]));
        assert_eq!(read(&mut decoder, b"\xbf"), Err(HpackError));
        // A field that exceeds the table empties it.
        let large = [b"\x40\x01c\x28".as_slice(), &[b'x'; 40]].concat();
        read(&mut decoder, &large).unwrap();
        assert_eq!(decoder.table_size(), (0, 0));
        // Cached heads depend on the generation, so resizing the table must change it.
        let generation = decoder.generation;
        read(&mut decoder, b"\x20").unwrap();
        assert_ne!(decoder.generation, generation);
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in [
            b"\x80".as_slice(),
            b"\xbe",
            b"\xff\xff\xff\xff\xff\x0f",
            // A small integer that is encoded in too many bytes.
            b"\xff\x80\x80\x80\x80\x80\x00",
            b"\x40",
            b"\x40\x05a",
            b"\x00\x01a\x81\x00",
            // A size update above the announced size and a size update after a field.
            b"\x3f\xe2\x1f",
            b"\x82\x20",
        ] {
            assert_eq!(
                read(&mut Decoder::default(), block),
                Err(HpackError),
                "{block:x?}"
            );
        }
    }

    /// Decodes all blocks of a connection as its client would.
    #[test]
    fn encoded_blocks_are_decoded() {
        let headers = |out: &[u8], decoder: &mut Decoder| read(decoder, out).unwrap();
        let good = pairs(&[(":status", "200"), ("content-type", "application/grpc")]);
        let ok = pairs(&[("grpc-status", "0")]);
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let mut lengths = Vec::new();
        for step in 0..6 {
            match step {
                1 => encoder.settings(None),
                4 => encoder.settings(Some(100)),
                _ => {}
            }
            let (block, trailers) = encoder.success_blocks();
            lengths.push(block.len() + trailers.len());
            assert_eq!(headers(block, &mut decoder), good, "{step}");
            assert_eq!(headers(trailers, &mut decoder), ok, "{step}");
        }
        assert_eq!(lengths, [35, 34, 3, 3, 36, 35]);
        let mut map = HeaderMap::new();
        let long = "x".repeat(300);
        map.insert("grpc-message", long.parse().unwrap());
        let mut out = Vec::new();
        encoder.headers(StatusCode::NOT_FOUND, &map, &mut out);
        let expected = pairs(&[(":status", "404"), ("grpc-message", &long)]);
        assert_eq!(headers(&out, &mut decoder), expected);
    }
}
