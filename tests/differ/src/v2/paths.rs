//! Generates random paths from a few names, so that requests often affect the same nodes. Some paths are hard to encode.

use crate::rng::Rng;

/// How unusual a path may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plainness {
    /// Any path that etcd accepts.
    Any,
    /// A path whose name can be found in an answer.
    Plain,
    /// A path at which events will happen.
    Watched,
}

/// Names that usually become directories.
const DIRS: [(u64, &str); 6] = [
    (30, "a"),
    (22, "b"),
    (3, "c"),
    (2, "dd"),
    (4, "_h"),
    (5, "_"),
];

/// Names that usually become files.
const FILES: [(u64, &str); 7] = [
    (32, "c"),
    (20, "dd"),
    (12, "e"),
    (10, "_h"),
    (7, "a"),
    (4, "b"),
    (4, "ab"),
];

/// Unusual names, escaped or raw.
const ODD: [&str; 36] = [
    "d%20e",
    "%C3%A9",
    "%ff",
    "0",
    "+",
    "%3C%3E%26",
    "%22%5c",
    "%00",
    "%7f",
    "%0a",
    "%25",
    "%2525",
    "%e2%80%a8",
    "%2e",
    "%2e%2e",
    "%2E%2E%2fa",
    "a%2Fb",
    "a%2f%2fb",
    "%2f",
    "...",
    "..a",
    "%5Fh",
    "a:b",
    "a,b",
    "a;b",
    "a=b",
    "a&b",
    "a$b",
    "(a)",
    "a'b",
    "a*",
    "a!",
    "a@b",
    "~",
    "A",
    "%ed%a0%80",
];

/// Raw characters that are invalid in a URL but accepted by Go.
const RAW: [&str; 13] = [
    "\"", "{x}", "|", "^", "[a]", "\\", "`", "<a>", "a>", "é", "中文", "a#b", "#",
];

/// Paths whose key is not obvious, or that have no key.
const STRANGE: [&str; 22] = [
    "/v2/keys//a",
    "/v2/keys/a//b",
    "/v2/keys/./a",
    "/v2/keys/a/.",
    "/v2/keys/a/./",
    "/v2/keys/a/../b",
    "/v2/keys/a/b/..",
    "/v2/keys/a/b/../",
    "/v2/keys/../keys/a",
    "/v2//keys/a",
    "//v2/keys/a",
    "/v2/keys/",
    "/v2/keys//",
    "/v2/keys/%zz",
    "/v2/keys/a%",
    "/v2/keys/a%4",
    "/v2/keys/..",
    "/v2/keys/../../x",
    "/v2/keysfoo",
    "/v2/%6beys/a",
    "/v2/keys%2Fa",
    "/V2/keys/a",
];

/// Paths of watches.
const WATCHED: [&str; 8] = [
    "/v2/keys",
    "/v2/keys/",
    "/v2/keys/a",
    "/v2/keys/a",
    "/v2/keys/b",
    "/v2/keys/c",
    "/v2/keys/a/c",
    "/v2/keys/ab",
];

/// Returns a path, almost always below `/v2/keys`.
pub(super) fn path(rng: &mut Rng, plainness: Plainness) -> String {
    let any = plainness == Plainness::Any;
    if plainness == Plainness::Watched && rng.chance(55) {
        return (*rng.pick(&WATCHED)).into();
    }
    if any && rng.chance(3) {
        return (*rng.pick(&STRANGE)).into();
    }
    let mut path = String::from("/v2/keys");
    let deep = rng.index(&[if any { 4 } else { 0 }, 34, 34, 18, 4]);
    for level in 0..deep {
        path.push('/');
        let names: &[_] = if level + 1 == deep { &FILES } else { &DIRS };
        let odd = any && rng.chance(7);
        path.push_str(match odd {
            true if rng.chance(30) => rng.pick::<&str>(&RAW),
            true => rng.pick::<&str>(&ODD),
            false => rng.weighted(names),
        });
    }
    if any && rng.chance(5) {
        path.push('/');
    }
    path
}
