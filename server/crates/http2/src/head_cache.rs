//! Parses the header blocks of requests and caches the latest heads.

use std::{borrow::Cow, collections::VecDeque, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::Scheme,
};

use crate::{
    Head, Refusal, Service, escaped_target,
    hpack::{Decoder, FieldName, HeaderField, HpackError},
    limits::{CACHED_HEAD_BYTES, CACHED_HEADS, HEADER_LIST_BYTES_MAX},
    message::Encoding,
};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The result of parsing the header block of a request.
#[derive(Debug)]
pub(crate) enum HeaderBlock<M> {
    Request(Rc<Head<M>>),
    /// The block is not a valid request.
    Malformed,
    TooLarge,
}

/// A cached block: its bytes, the generation of the table, and the head.
type CachedHead<M> = (Vec<u8>, u64, Rc<Head<M>>);

/// Parses a connection's header blocks and caches the latest heads.
#[derive(Debug)]
pub(crate) struct HeadCache<M> {
    decoder: Decoder,
    /// The cached blocks, oldest first.
    cached: VecDeque<CachedHead<M>>,
}

impl<M> HeadCache<M> {
    pub(crate) fn new() -> Self {
        Self { decoder: Decoder::default(), cached: VecDeque::new() }
    }

    /// Parses a request's complete header block, or returns its head from the cache. Fails if the block cannot be decoded.
    pub(crate) fn read<S: Service<Method = M>>(
        &mut self,
        block: &[u8],
        service: &S,
    ) -> Result<HeaderBlock<M>, HpackError> {
        let generation = self.decoder.generation;
        let known = self
            .cached
            .iter()
            .find(|(bytes, at, _)| *at == generation && bytes == block);
        if let Some((_, _, head)) = known {
            return Ok(HeaderBlock::Request(head.clone()));
        }
        let mut fields = RequestFields::default();
        self.decoder.decode(block, |field| fields.take(field))?;
        if fields.bytes > HEADER_LIST_BYTES_MAX {
            return Ok(HeaderBlock::TooLarge);
        }
        let Some(head) = fields.head(service) else {
            return Ok(HeaderBlock::Malformed);
        };
        let head = Rc::new(head);
        // Do not cache a block that changes the table, because an equal block may have another meaning later. A short block can
        // be decoded to a long list, so check both sizes.
        if self.decoder.generation == generation && block.len().max(head.bytes) <= CACHED_HEAD_BYTES
        {
            if self.cached.len() == CACHED_HEADS {
                self.cached.pop_front();
            }
            let entry = (block.to_vec(), generation, head.clone());
            self.cached.push_back(entry);
        }
        Ok(HeaderBlock::Request(head))
    }

    /// Parses a complete block of trailers. Returns `false` if they are malformed or too large. Fails if the block cannot be
    /// decoded.
    pub(crate) fn read_trailers(&mut self, block: &[u8]) -> Result<bool, HpackError> {
        let mut fields = RequestFields::default();
        self.decoder.decode(block, |field| match field.known {
            FieldName::Header(_) => fields.take(field),
            FieldName::Method
            | FieldName::Scheme
            | FieldName::Path
            | FieldName::Authority
            | FieldName::Wrong => {
                fields.wrong = true;
            }
        })?;
        Ok(!fields.wrong && fields.bytes <= HEADER_LIST_BYTES_MAX)
    }
}

#[derive(Default)]
struct RequestFields {
    method: Option<Method>,
    /// Whether `:scheme` has been read.
    scheme: bool,
    path: Option<Bytes>,
    authority: Option<HeaderValue>,
    headers: HeaderMap,
    /// Whether a field makes the request malformed.
    wrong: bool,
    /// Size of the fields in bytes, as HTTP/2 counts it.
    bytes: usize,
}

impl RequestFields {
    /// Counts a field's size and adds the field. After an invalid field or above the maximum size, only counts the size.
    fn take(&mut self, field: &HeaderField) {
        self.bytes = self.bytes.saturating_add(field.bytes());
        if self.bytes > HEADER_LIST_BYTES_MAX || self.wrong {
            return;
        }
        self.wrong = self.keep(field).is_none();
    }

    /// Adds a field. Returns `None` if the field makes the request malformed.
    fn keep(&mut self, field: &HeaderField) -> Option<()> {
        let value = &field.value;
        let pseudo_may_follow = self.headers.is_empty();
        let is_valid = match &field.known {
            FieldName::Method => {
                let method = Method::from_bytes(value).ok()?;
                self.method.replace(method).is_none() && pseudo_may_follow
            }
            FieldName::Scheme => {
                Scheme::try_from(value.as_ref()).ok()?;
                // Refuse an empty value, which `Scheme` accepts.
                if value.is_empty() {
                    return None;
                }
                !std::mem::replace(&mut self.scheme, true) && pseudo_may_follow
            }
            FieldName::Path => self.path.replace(value.clone()).is_none() && pseudo_may_follow,
            FieldName::Authority => {
                // The service validates the value.
                let value = HeaderValue::from_maybe_shared(value.clone()).ok()?;
                self.authority.replace(value).is_none() && pseudo_may_follow
            }
            FieldName::Header(name) => {
                let allowed = match name {
                    &header::CONNECTION | &header::TRANSFER_ENCODING | &header::UPGRADE => false,
                    &header::TE => value.as_ref() == b"trailers",
                    other => other != "keep-alive" && other != "proxy-connection",
                };
                // A value must not begin or end with whitespace (RFC 9113, 8.2.1).
                let padded = |byte: &u8| matches!(byte, b' ' | b'\t');
                if value.first().is_some_and(padded) || value.last().is_some_and(padded) {
                    return None;
                }
                let value = HeaderValue::from_maybe_shared(value.clone()).ok()?;
                self.headers.try_append(name.clone(), value).ok()?;
                allowed
            }
            FieldName::Wrong => false,
        };
        is_valid.then_some(())
    }

    /// Builds a head from the fields and the service's data. Returns `None` if the fields are not a valid HTTP request. The
    /// head of an invalid gRPC request contains a refusal. If the request is not gRPC, `:authority` becomes the `host` header.
    /// Removes `grpc-encoding: gzip`.
    fn head<S: Service>(self, service: &S) -> Option<Head<S::Method>> {
        if self.wrong || !self.scheme {
            return None;
        }
        let content_length = content_length(&self.headers)?;
        let grpc = is_grpc(&self.headers);
        let mut request = Request::new(());
        *request.method_mut() = self.method?;
        *request.uri_mut() = path(self.path?, grpc)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        let (mut parts, ()) = request.into_parts();
        // gRPC ignores the authority.
        if let Some(authority) = self.authority.filter(|_| !grpc) {
            parts.headers.insert(header::HOST, authority);
        }
        let encoding = match parts.headers.get(ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Encoding::Identity,
            Some(b"gzip") => Encoding::Gzip,
            Some(_) => Encoding::Unknown,
        };
        // Remove the header, because calls receive decompressed messages.
        if encoding == Encoding::Gzip {
            parts.headers.remove(ENCODING);
        }
        let given_timeout = parts.headers.get(TIMEOUT);
        let timeout = given_timeout.and_then(|value| timeout(value.to_str().ok()?));
        let refusal = if parts.method != Method::POST {
            Some(Refusal::NotPost)
        } else if given_timeout.is_some() && timeout.is_none() {
            Some(Refusal::BadTimeout)
        } else {
            (encoding == Encoding::Unknown).then_some(Refusal::UnknownEncoding)
        };
        let (method, mode) = service.method(&mut parts);
        Some(Head {
            parts,
            method,
            mode,
            timeout,
            grpc,
            encoding,
            refusal,
            content_length,
            bytes: self.bytes,
        })
    }
}

/// Parses a path with an optional query, or returns `None` for any other input. If the request is not gRPC, accepts all paths
/// that Go's HTTP library accepts and escapes their special characters.
fn path(given: Bytes, grpc: bool) -> Option<Uri> {
    let path = match escaped_target(&given) {
        Cow::Owned(escaped) if !grpc => Uri::from_maybe_shared(escaped),
        Cow::Owned(_) | Cow::Borrowed(_) => Uri::from_maybe_shared(given),
    };
    let path = path.ok()?;
    path.path_and_query()
        .filter(|_| path.authority().is_none())?;
    Some(path)
}

/// Returns the value of `content-length`: `Some(None)` if there is no such header, `None` if a value is not a number or differs
/// from another value.
fn content_length(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().ok()?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits)?;
        if length
            .replace(number)
            .is_some_and(|before| before != number)
        {
            return None;
        }
    }
    Some(length)
}

/// Returns whether the content type is `application/grpc`, with or without a suffix or parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let begins = value.split_at_checked(TYPE.len());
        begins.is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
        })
    })
}

/// Parses a timeout: up to eight digits and one of the units `H`, `M`, `S`, `m`, `u` and `n`. Returns `None` for any other
/// input.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        RequestMode,
        tests::{Stub, literal},
    };

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        fields.iter().flat_map(|(n, v)| literal(n, v)).collect()
    }

    fn read(heads: &mut HeadCache<()>, block: &[u8]) -> HeaderBlock<()> {
        heads.read(block, &Stub::default()).unwrap()
    }

    const GOOD: [(&str, &str); 4] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        ("content-type", "application/grpc"),
    ];

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        let units = [
            ("2H", 7_200_000_000_000),
            ("2M", 120_000_000_000),
            ("2S", 2_000_000_000),
            ("2m", 2_000_000),
            ("2u", 2_000),
            ("2n", 2),
        ];
        for (text, nanos) in units {
            assert_eq!(timeout(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        let longest = Duration::from_secs(99_999_999 * 3600);
        assert_eq!(timeout("99999999H"), Some(longest));
        for text in ["", "S", "2", "2s", "-2S", "2\u{b5}", "123456789S"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_repeated_block_is_one_head_until_the_table_changes() {
        let mut heads = HeadCache::new();
        let first = block(&GOOD);
        let request = |heads: &mut HeadCache<()>, block: &[u8]| match read(heads, block) {
            HeaderBlock::Request(head) => head,
            wrong @ (HeaderBlock::Malformed | HeaderBlock::TooLarge) => panic!("{wrong:?}"),
        };
        let one = request(&mut heads, &first);
        assert_eq!(one.path(), "/a.B/C");
        assert!(one.grpc && one.timeout.is_none());
        assert_eq!(one.mode, RequestMode::Collected);
        assert!(Rc::ptr_eq(&one, &request(&mut heads, &first)));
        for n in 0..2 * CACHED_HEADS {
            let mut other = first.clone();
            other.extend(literal("grpc-timeout", &format!("{n}S")));
            let head = request(&mut heads, &other);
            assert_eq!(head.timeout, Some(Duration::from_secs(n as u64)));
        }
        assert!(heads.cached.len() <= CACHED_HEADS);
        // The block adds the field `x: y` to the table.
        let entering = [first.as_slice(), b"\x40\x01x\x01y"].concat();
        let entered = request(&mut heads, &entering);
        assert!(!Rc::ptr_eq(&entered, &request(&mut heads, &entering)));
        assert!(!Rc::ptr_eq(&one, &request(&mut heads, &first)));
    }

    /// Streams are not charged for cached heads, so a long head must not be cached.
    #[test]
    fn a_long_list_is_not_cached() {
        let mut heads = HeadCache::new();
        // The block adds the field `x` with an empty value to the table.
        let entering = [block(&GOOD), b"\x40\x01x\x00".to_vec()].concat();
        let long = [block(&GOOD), vec![0xbe; 1000]].concat();
        assert!(long.len() <= CACHED_HEAD_BYTES);
        for block in [entering, long] {
            assert!(matches!(read(&mut heads, &block), HeaderBlock::Request(_)));
            assert!(heads.cached.is_empty());
        }
    }

    /// `--host-whitelist` reads the `host` header.
    #[test]
    fn the_authority_replaces_the_host_unless_the_request_is_grpc() {
        for (content_type, host) in [
            ("text/plain", "authority.example"),
            ("application/grpc", "host.example"),
        ] {
            let block = block(&[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/a"),
                (":authority", "authority.example"),
                ("host", "host.example"),
                ("content-type", content_type),
            ]);
            let HeaderBlock::Request(head) = read(&mut HeadCache::new(), &block) else {
                panic!("{content_type} is refused");
            };
            let hosts: Vec<_> = head.parts.headers.get_all(header::HOST).iter().collect();
            assert_eq!(hosts, [host], "{content_type}");
        }
    }

    /// Malformed heads that h2spec and `tests/http2/tests/rfc9113` do not cover.
    #[test]
    fn invalid_requests_are_malformed() {
        let with = |name, value| [block(&GOOD), literal(name, value)].concat();
        for wrong in [
            with("content-length", "+1"),
            [with("content-length", "1"), literal("content-length", "2")].concat(),
            [block(&GOOD[..2]), literal(":path", "a b")].concat(),
        ] {
            let text = String::from_utf8_lossy(&wrong).into_owned();
            assert!(
                matches!(read(&mut HeadCache::new(), &wrong), HeaderBlock::Malformed),
                "{text:?}"
            );
        }
        assert!(matches!(
            read(&mut HeadCache::new(), &with("te", "trailers")),
            HeaderBlock::Request(_)
        ));
    }

    #[test]
    fn trailers_are_valid_headers() {
        let trailers = |block: &[u8]| HeadCache::<()>::new().read_trailers(block).unwrap();
        assert!(trailers(b"") && trailers(&literal("x", "y")));
        for wrong in [
            literal(":path", "/"),
            literal("X", "y"),
            literal("te", "gzip"),
        ] {
            assert!(!trailers(&wrong));
        }
    }

    #[test]
    fn the_content_type_determines_whether_a_request_is_grpc() {
        for (value, expected) in [
            ("application/grpc", true),
            ("Application/GRPC+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("text/plain", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
    }
}
