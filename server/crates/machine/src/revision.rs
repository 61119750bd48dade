//! Revisions of the v3 key space.

use std::fmt;

/// The number of a change of the v3 key space; etcd's `revision.Main`. The first write creates revision 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub i64);

impl Revision {
    /// In a request, the current revision; in a reply, no revision.
    pub const NONE: Self = Self(0);
    /// The revision of a key space before the first write.
    pub const EMPTY: Self = Self(1);

    /// Returns the revision that the next write creates.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the revision before this revision.
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
