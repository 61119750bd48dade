//! The fields in queries and form bodies of v1 and v2. The dialects split the strings into pairs and validate the values.

use bytes::Bytes;
use witan_gocompat::query;

/// The first value of each known field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormFields {
    known: &'static [&'static str],
    values: Vec<(&'static str, Bytes)>,
}

impl FormFields {
    /// Creates fields without values. Only the fields in `known` can get values.
    pub fn new(known: &'static [&'static str]) -> Self {
        Self { known, values: Vec::new() }
    }

    /// Returns a field's value, or `None` if the value is missing.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// Returns a field's value, or `None` if the value is empty or missing.
    pub fn get_nonempty(&self, name: &str) -> Option<&Bytes> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Stores the value of a `name=value` pair unless the field is unknown or has a value already. Fails with the first invalid
    /// escape.
    pub fn insert_pair<'t>(&mut self, pair: &'t [u8]) -> Result<(), &'t [u8]> {
        let (name, value) = query::pair(pair)?;
        let known = self.known.iter().find(|known| known.as_bytes() == name);
        if let Some(known) = known.filter(|known| self.get(known).is_none()) {
            self.values.push((*known, value.into()));
        }
        Ok(())
    }
}
