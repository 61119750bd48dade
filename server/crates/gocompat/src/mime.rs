//! Parses content types like Go's package `mime`, with its error messages.

use std::collections::HashSet;

/// Returns the lowercase media type of a `Content-Type` value. Validates and drops the parameters. Fails with Go's error
/// message.
pub fn parse(given: &str) -> Result<String, &'static str> {
    let (media, rest) = given.split_at(given.find(';').unwrap_or(given.len()));
    let media = media.trim().to_lowercase();
    check(&media)?;
    parameters(rest.trim_end())?;
    Ok(media)
}

/// Checks that a media type is `TYPE` or `TYPE/SUBTYPE`, where both are tokens.
fn check(media: &str) -> Result<(), &'static str> {
    let (first, rest) = token(media);
    if first.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest
        .strip_prefix('/')
        .ok_or("mime: expected slash after first token")?;
    match token(rest) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        (_, _) => Err("mime: unexpected content after media subtype"),
    }
}

/// Checks the parameters after a media type. Each parameter has the form `; name=value`. Names must be unique, ignoring case.
fn parameters(mut rest: &str) -> Result<(), &'static str> {
    let mut names = HashSet::new();
    loop {
        rest = rest.trim_start();
        // Go allows a trailing semicolon.
        if rest.is_empty() || rest == ";" {
            return Ok(());
        }
        let (name, after) = parameter(rest).ok_or("mime: invalid media parameter")?;
        if !names.insert(name.to_lowercase()) {
            return Err("mime: duplicate parameter name");
        }
        rest = after;
    }
}

/// Splits `; name=value REST` into `name` and `REST`. Returns `None` if the text does not start with a parameter.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix(';')?.trim_start();
    let (name, rest) = token(rest);
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let after = match rest.strip_prefix('"') {
        Some(quoted) => after_quote(quoted)?,
        None => match token(rest) {
            ("", _) => return None,
            (_, after) => after,
        },
    };
    Some((name, after))
}

/// Returns the text after the closing quote of a quoted string, or `None` if the quote is missing or follows a line break.
fn after_quote(text: &str) -> Option<&str> {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(&text[at + 1..]),
            '\\' => {
                chars.next_if(|(_, next)| is_special(*next));
            }
            '\r' | '\n' => return None,
            _ => {}
        }
    }
    None
}

/// Splits a string into its leading token, which can be empty, and the remaining text.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_graphic() && !is_special(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// Returns whether a character is a separator, which tokens cannot contain (RFC 2045, `tspecials`).
fn is_special(c: char) -> bool {
    matches!(
        c,
        '(' | ')' | '<' | '>' | '@' | ',' | ';' | ':' | '\\' | '"' | '/' | '[' | ']' | '?' | '='
    )
}
