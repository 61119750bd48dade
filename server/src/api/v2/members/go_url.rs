//! Peer URLs, judged as etcd judges them, in the words of Go's URL parser.

use crate::api::{path::hex, v2::go};

/// The URL, trimmed, if it is `http`, `https`, `unix` or `unixs` with host and port and no path.
pub(in crate::api) fn peer_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let url = parse(text).map_err(|e| format!("parse {}: {e}", go::quote(text.as_bytes())))?;
    if !matches!(url.scheme.as_str(), "http" | "https" | "unix" | "unixs") {
        return Err(format!(
            "URL scheme must be http, https, unix, or unixs: {text}"
        ));
    }
    if !has_port(url.host) {
        return Err(format!(
            "URL address does not have the form \"host:port\": {text}"
        ));
    }
    if !url.path.is_empty() {
        return Err(format!("URL must not contain a path: {text}"));
    }
    Ok(text.to_owned())
}

struct Url<'a> {
    scheme: String,
    host: &'a str,
    path: &'a str,
}

fn parse(text: &str) -> Result<Url<'_>, String> {
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        let first = rest.split('/').next().unwrap_or_default();
        if scheme.is_empty() && first.contains(':') {
            return Err("first path segment in URL cannot contain colon".into());
        }
        // With a scheme this is an opaque URL: neither host nor path.
        return Ok(Url {
            scheme,
            host: "",
            path: if text.contains(':') { "" } else { rest },
        });
    }
    let Some(after) = rest
        .strip_prefix("//")
        .filter(|_| !scheme.is_empty() || !rest.starts_with("///"))
    else {
        unescapable(rest)?;
        return Ok(Url {
            scheme,
            host: "",
            path: rest,
        });
    };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    check_host(host)?;
    unescapable(path)?;
    Ok(Url { scheme, host, path })
}

/// The lower-case scheme (empty if there is none) and what follows its colon.
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
            go::quote(port.as_bytes())
        ));
    }
    check_host_bytes(host.as_bytes())
}

fn check_host_bytes(host: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(&byte) = host.get(at) {
        match byte {
            b'%' => {
                let bad = &host[at..host.len().min(at + 3)];
                let high = bad.get(1).and_then(|&b| hex(b));
                let low = bad.get(2).and_then(|&b| hex(b));
                // Only bytes beyond ASCII may be escaped in a host, and a zone's percent sign.
                let legal = matches!((high, low), (Some(8..), Some(_))) || bad == b"%25";
                if !legal {
                    return Err(format!("invalid URL escape {}", go::quote(bad)));
                }
                at += 2;
            }
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => {}
            _ if b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte) => {}
            _ => {
                let shown = go::quote(&[byte]);
                return Err(format!("invalid character {shown} in host name"));
            }
        }
        at += 1;
    }
    Ok(())
}

fn unescapable(path: &str) -> Result<(), String> {
    crate::api::path::unescape(path.as_bytes(), crate::api::path::Plus::IsPlus)
        .map(drop)
        .map_err(|bad| format!("invalid URL escape {}", go::quote(bad)))
}

fn has_port(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((name, _)) if name.starts_with('[') => name.ends_with(']'),
        Some((name, _)) => !name.contains(':'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_judged_as_observed() {
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        let table = [
            ("foo", format!("{scheme}foo")),
            ("", scheme.to_owned()),
            ("ftp://a:1", format!("{scheme}ftp://a:1")),
            ("a:b:c", format!("{scheme}a:b:c")),
            ("localhost:80", format!("{scheme}localhost:80")),
            (
                "http://bogus",
                r#"URL address does not have the form "host:port": http://bogus"#.into(),
            ),
            (
                "http://",
                r#"URL address does not have the form "host:port": http://"#.into(),
            ),
            (
                "unix:///a/b",
                r#"URL address does not have the form "host:port": unix:///a/b"#.into(),
            ),
            (
                "http://a:1/path",
                "URL must not contain a path: http://a:1/path".into(),
            ),
            (
                "http://a:1/",
                "URL must not contain a path: http://a:1/".into(),
            ),
        ];
        for (text, expect) in table {
            assert_eq!(peer_url(text).unwrap_err(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_named_as_observed() {
        let table = [
            (":", "missing protocol scheme"),
            ("http://a:b", r#"invalid port ":b" after host"#),
            ("http://a :1", r#"invalid character " " in host name"#),
            ("http://%zz:1", r#"invalid URL escape "%zz""#),
            ("http://a:1/%zz", r#"invalid URL escape "%zz""#),
            ("http://[::1:1", "missing ']' in host"),
            (
                "1http://a:1",
                "first path segment in URL cannot contain colon",
            ),
            (
                "127.0.0.1:80",
                "first path segment in URL cannot contain colon",
            ),
        ];
        for (text, expect) in table {
            assert_eq!(peer_url(text), Err(format!("parse \"{text}\": {expect}")));
        }
    }

    #[test]
    fn odd_urls_pass_as_observed() {
        let accepted = [
            "http://a:1?x=1",
            "unix://a:1",
            "http://[::1]:1",
            "http://u:p@a:1",
            "http://a:99999",
            "http://a:1#f",
            "http://a:",
            "http://:1",
        ];
        for text in accepted {
            assert_eq!(peer_url(text).as_deref(), Ok(text));
        }
        assert_eq!(
            peer_url(" http://127.0.0.1:21291 ").unwrap(),
            "http://127.0.0.1:21291"
        );
    }
}
