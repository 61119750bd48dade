//! Explains why a page of a member could not be read, and how to fix it.

use http::StatusCode;
use witan_members::page::PageError;

use super::table::{MESSAGE_CHARS, clipped};

/// Returns why a page of a member could not be read. The text calls the member `it`, so the caller must name the member first.
pub(super) fn explain(error: PageError) -> String {
    match error {
        PageError::Status(StatusCode::UNAUTHORIZED, _) => {
            "a user with the role root is required; see --user and --password-file".to_owned()
        }
        PageError::Status(status, text) => format!("{status}: {}", clipped(&text, MESSAGE_CHARS)),
        PageError::Failed(why) => why,
    }
}
