//! Validates peer URLs as etcd does.

use witan_gocompat::{text::quote, url};

/// Returns the trimmed URL if its scheme is `http`, `https`, `unix` or `unixs` and its address has the form `host:port`,
/// without a path. As in etcd, the host and the port can be empty. Otherwise, returns etcd's message for the first error.
pub fn peer_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let url = url::parse(text).map_err(|e| format!("parse {}: {e}", quote(text.as_bytes())))?;
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

/// Returns whether a host ends with a colon and a port, which may be empty. An IPv6 address must be in brackets.
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

    /// Cases for which no response of etcd is recorded. `tests/e2e/tests/pairs` sends the recorded cases.
    #[test]
    fn urls_are_validated_as_in_etcd() {
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        let table = [
            ("", scheme.to_owned()),
            ("a:b:c", format!("{scheme}a:b:c")),
            ("localhost:80", format!("{scheme}localhost:80")),
            ("foo?x=a:b", format!("{scheme}foo?x=a:b")),
            (
                "http://",
                r#"URL address does not have the form "host:port": http://"#.into(),
            ),
            (
                "unix:///a/b",
                r#"URL address does not have the form "host:port": unix:///a/b"#.into(),
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
    fn invalid_urls_have_etcds_errors() {
        let table = [
            ("http://a:b", r#"invalid port ":b" after host"#),
            ("http://a :1", r#"invalid character " " in host name"#),
            ("http://%zz:1", r#"invalid URL escape "%zz""#),
            ("http://a:1/%zz", r#"invalid URL escape "%zz""#),
            ("foo%zz", r#"invalid URL escape "%zz""#),
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
    fn unusual_urls_are_valid_as_in_etcd() {
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
