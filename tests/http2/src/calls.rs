//! The calls that both servers answer alike.

/// Bytes of the message that [`Call::Large`] answers: more than both windows of a new connection.
pub const LARGE_BYTES: usize = 100_000;

/// A call, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Answers its request.
    Echo,
    /// Answers [`LARGE_BYTES`].
    Large,
    /// Answers each message as it comes.
    Parts,
    /// Does not answer.
    Never,
}

impl Call {
    /// The call of a path; what is not known is not answered.
    pub fn of(path: &str) -> Self {
        match path {
            "/test.S/Echo" => Self::Echo,
            "/test.S/Large" => Self::Large,
            "/test.S/Parts" => Self::Parts,
            _ => Self::Never,
        }
    }

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Echo => "/test.S/Echo",
            Self::Large => "/test.S/Large",
            Self::Parts => "/test.S/Parts",
            Self::Never => "/test.S/Never",
        }
    }
}
