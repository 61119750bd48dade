//! Errors of commands, as messages for the user.

use witan_members::{CallError, page::chain};

/// Creates a [`PluginError`] from a message, with the syntax of `format!`.
macro_rules! words {
    ($($text:tt)*) => {
        $crate::error::PluginError(format!($($text)*))
    };
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PluginError(pub(crate) String);

impl From<CallError> for PluginError {
    fn from(error: CallError) -> Self {
        Self(error.to_string())
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
