//! The `cause` field of a v2 error.

use bytes::Bytes;

/// The cause of an error. Causes with the same message are equal.
#[derive(Clone, Debug)]
pub enum Cause {
    /// A path or a message.
    Text(Bytes),
    /// The failed conditions of a comparison.
    Compared(Comparison),
}

/// The failed conditions, each with the expected and the actual value. The values share memory with the request and the tree.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The expected and the actual value; `None` if the value is not a failed condition.
    pub value: Option<(Bytes, Bytes)>,
    /// The expected and the actual modified index; `None` if the index is not a failed condition.
    pub index: Option<(u64, u64)>,
}

impl Cause {
    /// Returns the message in pieces, which avoids a copy of the values. The message contains `[expected != actual]` for each
    /// failed condition: first the value, then the index. A character is never split between two pieces.
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

    /// Returns the entire message.
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
