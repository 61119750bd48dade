//! Bytes of a frozen replica as text: `bytes` is built without serde.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|it| DIGITS[usize::from(it)] as char);
    to.collect_str(&bytes.iter().flat_map(digits).collect::<String>())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(from)?;
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let value = |digit: &u8| DIGITS.iter().position(|it| it == digit);
    let byte = |[high, low]: &[u8; 2]| Some((value(high)? << 4 | value(low)?) as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let whole = bytes.filter(|_| rest.is_empty());
    whole
        .map(Bytes::from)
        .ok_or_else(|| D::Error::custom("bytes that are not hexadecimal"))
}

/// A list of them.
pub(crate) mod list {
    use serde::Serialize;

    use super::{Bytes, Deserialize, Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Item(#[serde(with = "super")] Bytes);

    pub(crate) fn serialize<S: Serializer>(all: &[Bytes], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|bytes| Item(bytes.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Bytes>, D::Error> {
        let all = Vec::<Item>::deserialize(from)?;
        Ok(all.into_iter().map(|Item(bytes)| bytes).collect())
    }
}
