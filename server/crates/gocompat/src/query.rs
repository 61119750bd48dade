//! Parses URL queries like Go. v1 and v2 have their own parsers for forms.

use std::borrow::Cow;

use super::path::{self, Plus};

/// The decoded parameters of a query, in order. As in Go, pairs that cannot be decoded are omitted.
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Parses a query, the part of a URL after the question mark.
    pub fn of(text: &'a str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.filter(|pair| !pair.contains(';'));
        let pairs = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        });
        Self(pairs.collect())
    }

    /// Returns all values of the parameter `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_ref())
    }
}

/// Decodes a name or a value. Returns `None` if it contains an invalid escape.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let bytes = path::unescape(text.as_bytes(), Plus::IsSpace).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned().into())
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
