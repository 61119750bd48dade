//! The calls that both servers answer in the same way.

/// Size in bytes of the answer to [`Call::Large`]. It exceeds both windows of a new connection.
pub const LARGE_BYTES: usize = 100_000;

/// A call, which the request's path selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Answers with its request.
    Echo,
    /// Answers with [`LARGE_BYTES`] bytes.
    Large,
    /// Answers each message when it arrives.
    Parts,
    /// Does not answer.
    Never,
}

impl Call {
    /// Returns the call for a path, or [`Call::Never`] for an unknown path.
    pub fn of(path: &str) -> Self {
        let mut known = [Self::Echo, Self::Large, Self::Parts].into_iter();
        known
            .find(|call| call.path() == path)
            .unwrap_or(Self::Never)
    }

    /// Returns the path of the call.
    pub fn path(self) -> &'static str {
        match self {
            Self::Echo => "/test.S/Echo",
            Self::Large => "/test.S/Large",
            Self::Parts => "/test.S/Parts",
            Self::Never => "/test.S/Never",
        }
    }
}
