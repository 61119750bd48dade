//! Paths of requests.

use witan_api::access::GrpcRoute;
use witan_gocompat::path::{Plus, clean, unescape};
use witan_v3::gateway;

use super::escaped;

/// The input is an escaped path or part of a form.
pub(super) fn path(text: &[u8]) {
    for plus in [Plus::IsPlus, Plus::IsSpace] {
        match unescape(text, plus) {
            Ok(plain) => {
                assert!(plain.len() <= text.len(), "decoding adds no bytes");
                assert_eq!(unescape(&escaped(&plain), plus), Ok(plain));
            }
            Err(bad) => assert!(bad.starts_with(b"%") && bad.len() <= 3),
        }
    }
    let plain = unescape(text, Plus::IsPlus).unwrap_or_else(|_| text.to_vec());
    let cleaned = clean(&plain);
    assert!(cleaned.len() <= plain.len() + 1, "at most a slash more");
    assert_eq!(clean(&cleaned), cleaned, "clean(clean(x))");
    assert!(cleaned.starts_with(b"/"));
    let mut parts = cleaned[1..].split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        assert!(last || !part.is_empty(), "no empty component");
        assert!(part != b"." && part != b"..", "no relative component");
    }
    if let Some((_, call)) = gateway::split(&cleaned) {
        let _ = GrpcRoute::of_path(call);
    }
}
