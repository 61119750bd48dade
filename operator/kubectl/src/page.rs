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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = PageError::Status(StatusCode::UNAUTHORIZED, String::new());
        assert!(explain(refused).contains("--password-file"));
        let busy = PageError::Status(StatusCode::TOO_MANY_REQUESTS, "try again".to_owned());
        assert_eq!(explain(busy), "429 Too Many Requests: try again");
    }
}
