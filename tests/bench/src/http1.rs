//! A lean HTTP/1.1 client with one request at a time on one connection. Of each answer, it reads only the status and the length
//! or the chunk sizes.

use crate::{verb::Verb, wire::Wire};

/// One connection, which sends requests of one verb.
#[derive(Debug)]
pub struct Http1 {
    verb: Verb,
    host: String,
}

impl Http1 {
    /// Creates a connection for requests of `verb`.
    pub fn new(verb: Verb, address: &str) -> Self {
        Self { verb, host: address.to_owned() }
    }
}

impl Wire for Http1 {
    fn greet(&mut self, _: &mut Vec<u8>) {}

    fn ask(&mut self, _: usize, key: u64, out: &mut Vec<u8>) {
        self.verb.http1(key, &self.host, out);
    }

    fn answer(&mut self, input: &[u8], used: &mut usize, _: &mut Vec<u8>) -> Option<usize> {
        let rest = &input[*used..];
        let end = find(rest, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&rest[..end]).expect("heads are ASCII");
        assert!(head.starts_with("HTTP/1.1 20"), "a request failed: {head}");
        let field = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (have, value) = line.split_once(':')?;
                have.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let body = match field("content-length") {
            Some(length) => {
                let length: usize = length.parse().expect("a length is a number");
                rest.get(end..end + length)?.len()
            }
            None => chunks(&rest[end..])?,
        };
        *used += end + body;
        Some(0)
    }
}

/// Returns the length of a chunked body, or `None` if the body is incomplete.
fn chunks(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&body[at..], b"\r\n")?;
        let size = std::str::from_utf8(&body[at..at + line]).expect("a size is ASCII");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size is a number");
        at += line + 2 + size + 2;
        if at > body.len() {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}
