//! Validates JSON, reporting errors with the messages of Go's decoder, and provides a scanner for parsers. `write` writes JSON,
//! and `progress` validates JSON that arrives in pieces.

mod progress;
mod write;

pub use progress::JsonProgress;
pub use write::{encode, float, push_string, push_string_of};

use crate::text;

/// Checks that `text` is one JSON value, with optional white space around it. Fails with the error message of Go's decoder.
pub fn check(text: &[u8]) -> Result<(), String> {
    let mut progress = JsonProgress::default();
    if let Some(end) = progress.take(text)? {
        return match text[end..].iter().find(|byte| !is_white(**byte)) {
            None => Ok(()),
            Some(byte) => Err(unexpected(*byte, "after top-level value")),
        };
    }
    // At the end of the text, Go's decoder processes a space and reports the error that the space causes.
    match progress.take(b" ")? {
        Some(_) => Ok(()),
        None => Err(ended()),
    }
}

/// Returns whether `text` is empty or contains only white space.
pub fn is_space(text: &[u8]) -> bool {
    text.iter().all(|byte| is_white(*byte))
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Checks that `text` starts with a JSON value, like Go's streaming decoder. Fails with Go's error message.
pub fn check_first(text: &[u8]) -> Result<(), String> {
    let mut progress = JsonProgress::default();
    match progress.take(text)? {
        None if !progress.may_end() => Err("unexpected EOF".into()),
        Some(_) | None => Ok(()),
    }
}

/// A position in a JSON text. The text before the position is valid.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Creates a scanner at the start of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the offset of the position.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Moves to an offset. The caller must have validated the text before the offset.
    pub fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Returns the text between the offset `start` and the position.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.text[start..self.at]
    }

    /// Skips white space and returns the next byte without consuming it, or `None` at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).copied().is_some_and(is_white) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Skips white space and consumes the next byte. Fails at the end of the text.
    pub fn token(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or_else(ended)?;
        self.at += 1;
        Ok(byte)
    }

    /// Consumes a value, including its nested values. Skips white space before the value.
    pub fn value(&mut self) -> Result<(), String> {
        self.rest(JsonProgress::default())
    }

    /// Consumes the rest of a value whose start `progress` has checked.
    fn rest(&mut self, mut progress: JsonProgress) -> Result<(), String> {
        let rest = &self.text[self.at..];
        match progress.take(rest)? {
            Some(length) => self.at += length,
            None if progress.may_end() => self.at = self.text.len(),
            None => return Err(ended()),
        }
        Ok(())
    }

    /// Consumes a member's name, including its quotes. Skips white space before the name. Fails if no string follows.
    pub fn key(&mut self) -> Result<(), String> {
        match self.token()? {
            b'"' => self.scalar(b'"'),
            byte => Err(unexpected(byte, NO_KEY)),
        }
    }

    /// Consumes the colon after a member's name. Skips white space before the colon.
    pub fn colon(&mut self) -> Result<(), String> {
        match self.token()? {
            b':' => Ok(()),
            byte => Err(unexpected(byte, "after object key")),
        }
    }

    /// Consumes the rest of a scalar value after its first byte `first`, which must not open a container.
    pub fn scalar(&mut self, first: u8) -> Result<(), String> {
        let mut progress = JsonProgress::default();
        progress.take(&[first])?;
        self.rest(progress)
    }
}

/// The end of Go's error message for an invalid start of a name.
const NO_KEY: &str = "looking for beginning of object key string";

/// Returns Go's error message for an incomplete value.
fn ended() -> String {
    "unexpected end of JSON input".into()
}

/// Returns Go's error message for an invalid byte. `context` is the end of this message.
fn unexpected(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => r"\'".into(),
        b'"' => "\"".into(),
        _ => {
            let text = char::from(byte).to_string();
            let quoted = text::quote(text.as_bytes());
            quoted[1..quoted.len() - 1].to_owned()
        }
    };
    format!("invalid character '{shown}' {context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_gos_texts() {
        let table = [
            ("", "unexpected end of JSON input"),
            ("-", "invalid character ' ' in numeric literal"),
            (
                "tru",
                "invalid character ' ' in literal true (expecting 'e')",
            ),
            (
                r#"{"peerURLs":["http://a:1""#,
                "unexpected end of JSON input",
            ),
            (
                r#"{"a":["b"]}x"#,
                "invalid character 'x' after top-level value",
            ),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                "{x",
                "invalid character 'x' looking for beginning of object key string",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":["\q"]}"#,
                "invalid character 'q' in string escape code",
            ),
            (
                r#"{"a":tru}"#,
                "invalid character '}' in literal true (expecting 'e')",
            ),
            (
                r#"{"a":1.}"#,
                "invalid character '}' after decimal point in numeric literal",
            ),
            (
                r#"{"a":01}"#,
                "invalid character '1' after object key:value pair",
            ),
            (r#"{"a":-}"#, "invalid character '}' in numeric literal"),
            (r#"["a" 1]"#, "invalid character '1' after array element"),
            (
                r#"{"a":1 1}"#,
                "invalid character '1' after object key:value pair",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "'a'",
                r"invalid character '\'' looking for beginning of value",
            ),
            ("\"\n\"", r"invalid character '\n' in string literal"),
        ];
        for (text, expect) in table {
            assert_eq!(check(text.as_bytes()).unwrap_err(), expect, "{text}");
        }
    }

    #[test]
    fn only_the_first_value_of_a_stream_is_checked() {
        assert_eq!(check_first(b"{} trailing"), Ok(()));
        assert_eq!(check_first(b"{\"a\"").unwrap_err(), "unexpected EOF");
        assert_eq!(
            check_first(b"not json").unwrap_err(),
            "invalid character 'o' in literal null (expecting 'u')"
        );
    }

    #[test]
    fn valid_json_is_accepted() {
        for text in [
            "null",
            " {} ",
            r#"{"a":[1,-0.5e+3,"\u00e9\n",true,false,null,{"b":[]}]}"#,
            "0",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(progress::DEPTH_MAX).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(progress::DEPTH_MAX + 1).as_bytes()).unwrap_err(),
            "invalid character '[' exceeded max depth"
        );
    }
}
