//! Parses URLs like Go's package `net/url`, with its error messages.

use crate::{
    path::{Plus, hex, unescape},
    text::quote,
};

/// The parts of a URL. The host and the path of an opaque URL are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoUrl<'a> {
    /// The scheme in lower case; empty if the URL has none.
    pub scheme: String,
    /// The host with its port, without the user and the password.
    pub host: &'a str,
    /// The path, not percent-decoded.
    pub path: &'a str,
}

/// Splits a URL into its scheme, host and path. Drops user, password, query and fragment. Fails with the part of Go's error
/// message that follows `parse "...": `.
pub fn parse(text: &str) -> Result<GoUrl<'_>, String> {
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        // A URL with a scheme and without a leading slash is opaque.
        if !scheme.is_empty() {
            return Ok(GoUrl { scheme, host: "", path: "" });
        }
        let first = rest.split('/').next().unwrap_or_default();
        if first.contains(':') {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let Some(after) = rest
        .strip_prefix("//")
        .filter(|_| !scheme.is_empty() || !rest.starts_with("///"))
    else {
        check_escapes(rest)?;
        return Ok(GoUrl { scheme, host: "", path: rest });
    };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    check_host(host)?;
    check_escapes(path)?;
    Ok(GoUrl { scheme, host, path })
}

/// Returns the lower-case scheme and the text after its colon, or an empty scheme and the entire text if there is no scheme.
/// Fails if the URL starts with a colon.
fn split_scheme(text: &str) -> Result<(String, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

/// Checks a host with an optional port. Fails with Go's error message.
fn check_host(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let legal = digits.bytes().all(|b| b.is_ascii_digit());
    if !legal || (!port.is_empty() && !port.starts_with(':')) {
        return Err(format!(
            "invalid port {} after host",
            quote(port.as_bytes())
        ));
    }
    check_host_bytes(host.as_bytes())
}

/// Checks a host like Go's `net/url`. Only non-ASCII bytes and `%` (`%25`, for the zone of an IPv6 address) can be escaped.
fn check_host_bytes(host: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(&byte) = host.get(at) {
        match byte {
            b'%' => {
                let bad = &host[at..host.len().min(at + 3)];
                let high = bad.get(1).and_then(|&b| hex(b));
                let low = bad.get(2).and_then(|&b| hex(b));
                let legal = matches!((high, low), (Some(8..), Some(_))) || bad == b"%25";
                if !legal {
                    return Err(format!("invalid URL escape {}", quote(bad)));
                }
                at += 2;
            }
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => {}
            _ if b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte) => {}
            _ => {
                let shown = quote(&[byte]);
                return Err(format!("invalid character {shown} in host name"));
            }
        }
        at += 1;
    }
    Ok(())
}

/// Fails with Go's error message if a path contains an invalid percent escape.
fn check_escapes(path: &str) -> Result<(), String> {
    unescape(path.as_bytes(), Plus::IsPlus)
        .map(drop)
        .map_err(|bad| format!("invalid URL escape {}", quote(bad)))
}
