//! What broke a rule of the tree, as the field `cause` of an error shows it.

use bytes::Bytes;

/// A cause; two that show the same are equal.
#[derive(Clone, Debug)]
pub enum Cause {
    /// A path, or a text.
    Text(Bytes),
    /// The conditions of a comparison that do not hold.
    Compared(Comparison),
}

/// The conditions that do not hold: each as it was wanted, and as it is. The values share the memory of the request
/// and of the tree: with a copy, each refused comparison with a large value would take as much as the value.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The wanted and the actual value.
    pub value: Option<(Bytes, Bytes)>,
    /// The wanted and the actual modified index.
    pub index: Option<(u64, u64)>,
}

impl Cause {
    /// Returns what v2 shows: `[wanted != actual]` for each condition of a comparison, the value first.
    pub fn text(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone(),
            Self::Compared(Comparison { value, index }) => {
                let value = value.iter().map(|(wanted, actual)| {
                    [b"[", wanted.as_ref(), b" != ", actual.as_ref(), b"]"].concat()
                });
                let index = index.iter();
                let index = index.map(|(wanted, actual)| format!("[{wanted} != {actual}]").into());
                value.chain(index).collect::<Vec<_>>().join(&b' ').into()
            }
        }
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Cause {}

impl From<Bytes> for Cause {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
