//! Parses URL queries and forms like Go.

use super::path::{Plus, unescape};

/// The decoded parameters of a query, in order. As in Go, pairs that cannot be decoded are omitted.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query, the part of a URL after the question mark. As in Go, ignores a pair with a semicolon or an invalid
    /// escape. Replaces invalid UTF-8 with U+FFFD.
    pub fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.filter(|pair| !pair.contains(';'));
        let pairs = pairs.filter_map(|text| pair(text.as_bytes()).ok());
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let pairs = pairs.map(|(name, value)| (lossy(name), lossy(value)));
        Self(pairs.collect())
    }

    /// Returns all values of the parameter `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Decodes a pair `name=value`. Without `=`, the value is empty. Fails with the first invalid escape.
pub fn pair(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &[u8]> {
    let end = text.iter().position(|byte| *byte == b'=');
    let (name, value) = text.split_at(end.unwrap_or(text.len()));
    let value = value.strip_prefix(b"=").unwrap_or_default();
    Ok((
        unescape(name, Plus::IsSpace)?,
        unescape(value, Plus::IsSpace)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::of("a=1&&verbose&exclude=%41+b&x=%zz&a=2;3&a=4");
        let all = |name| query.all(name).collect::<Vec<_>>();
        assert_eq!(all("a"), ["1", "4"]);
        assert_eq!((all("verbose"), all("exclude")), (vec![""], vec!["A b"]));
        assert!(all("x").is_empty());
    }
}
