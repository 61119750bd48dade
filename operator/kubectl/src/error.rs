//! Errors of commands, as messages for the user.

use witan_members::{CallError, page::chain};

/// Creates a [`PluginError`] from a message, with the syntax of `format!`.
macro_rules! words {
    ($($text:tt)*) => {
        $crate::error::PluginError::Words(format!($($text)*))
    };
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginError {
    /// The API server refused the request or did not answer.
    #[error("cannot {what}: {}", of_kube(source))]
    Api {
        what: String,
        source: Box<kube::Error>,
    },
    /// A member refused the call or did not answer.
    #[error(transparent)]
    Member(#[from] CallError),
    #[error("{0}")]
    Words(String),
}

impl PluginError {
    pub(crate) fn api(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Api { what: what.into(), source: Box::new(source) }
    }
}

/// Returns the API server's message, or the error chain if the API server was not reached.
pub(crate) fn of_kube(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error
        && !status.message.is_empty()
    {
        return status.message.clone();
    }
    chain(error)
}
