//! The field `cause` of an error: what broke a rule of the tree.

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
    /// Returns what v2 shows: `[wanted != actual]` for each condition of a comparison, the value first. In
    /// pieces, so that values are not copied; whole characters are between them.
    pub fn pieces(&self) -> Vec<Bytes> {
        let Comparison { value, index } = match self {
            Self::Text(text) => return vec![text.clone()],
            Self::Compared(comparison) => comparison,
        };
        let mut pieces = Vec::new();
        if let Some((wanted, actual)) = value {
            let (begin, between) = (Bytes::from_static(b"["), Bytes::from_static(b" != "));
            let end = Bytes::from_static(if index.is_some() { b"] " } else { b"]" });
            pieces.extend([begin, wanted.clone(), between, actual.clone(), end]);
        }
        let index = index.iter();
        pieces.extend(index.map(|(wanted, actual)| format!("[{wanted} != {actual}]").into()));
        pieces
    }

    /// Returns the pieces as one text.
    pub fn text(&self) -> Bytes {
        self.pieces().concat().into()
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
