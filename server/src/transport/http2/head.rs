//! What the header block of a request says, found out once per distinct block.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, request};

use prometheus::IntCounter;

use super::{
    hpack::{Broken, Decoder, Field, Name},
    limits::HEADERS_MAX,
};
use crate::{
    metrics::Call,
    transport::{
        PeerCertificate,
        grpc::{self, Ends},
    },
};

/// Blocks that a connection remembers: a client repeats the few methods that it calls.
const REMEMBERED: usize = 4;

/// The head of a request, shared by all requests that repeat it.
#[derive(Debug)]
pub struct Head {
    pub(super) parts: request::Parts,
    /// The counters of its method, if it is a known one.
    pub(in crate::transport) call: Option<Arc<Call>>,
    /// Counts requests of clients of this version, if the method is a known one.
    pub(in crate::transport) client: Option<IntCounter>,
    pub(super) timeout: Option<Duration>,
    pub(super) grpc: bool,
    /// Whether the message is collected before the call begins.
    pub(super) whole: bool,
}

impl Head {
    /// Path of the request.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// What the client has shown of itself, inside TLS.
    pub fn peer_certificate(&self) -> Option<&PeerCertificate> {
        self.parts.extensions.get()
    }

    /// Headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

/// What a block turned out to be.
#[derive(Debug)]
pub(super) enum Block {
    Request(Rc<Head>),
    /// Not a request; whether trailers may be meant is for the stream to say.
    Malformed,
    TooLarge,
}

/// Reads the blocks of a connection and remembers the latest.
#[derive(Debug)]
pub(super) struct Heads {
    decoder: Decoder,
    remembered: Vec<(Vec<u8>, u64, Rc<Head>)>,
    next: usize,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            remembered: Vec::new(),
            next: 0,
        }
    }

    /// Reads a whole block. `finish` completes a head that was not seen before.
    pub(super) fn read(
        &mut self,
        block: &[u8],
        ends: &Ends,
        finish: impl FnOnce(&mut Head),
    ) -> Result<Block, Broken> {
        let generation = self.decoder.generation;
        let known = self
            .remembered
            .iter()
            .find(|(bytes, at, _)| *at == generation && bytes == block);
        if let Some((_, _, head)) = known {
            return Ok(Block::Request(head.clone()));
        }
        let mut fields = Fields::default();
        self.decoder.decode(block, |field| fields.take(field))?;
        if fields.bytes > HEADERS_MAX {
            return Ok(Block::TooLarge);
        }
        let Some(mut head) = fields.request(ends) else {
            return Ok(Block::Malformed);
        };
        finish(&mut head);
        let head = Rc::new(head);
        // a block that changes the table means something else the next time
        if self.decoder.generation == generation {
            let entry = (block.to_vec(), generation, head.clone());
            if self.remembered.len() < REMEMBERED {
                self.remembered.push(entry);
            } else {
                self.remembered[self.next] = entry;
                self.next = (self.next + 1) % REMEMBERED;
            }
        }
        Ok(Block::Request(head))
    }
}

#[derive(Default)]
struct Fields {
    method: Option<Method>,
    scheme: bool,
    path: Option<Uri>,
    authority: bool,
    headers: HeaderMap,
    wrong: bool,
    bytes: usize,
}

impl Fields {
    fn take(&mut self, field: &Field) {
        self.bytes = self.bytes.saturating_add(field.bytes);
        if self.bytes > HEADERS_MAX || self.wrong {
            return;
        }
        self.wrong = self.keep(field).is_none();
    }

    /// Nothing, if the field must not be where it is.
    fn keep(&mut self, field: &Field) -> Option<()> {
        let value = &field.value;
        let pseudo_is_late = !self.headers.is_empty();
        let twice = match &field.name {
            Name::Method => {
                let method = Method::from_bytes(value).ok()?;
                self.method.replace(method).is_some() || pseudo_is_late
            }
            Name::Scheme => std::mem::replace(&mut self.scheme, true) || pseudo_is_late,
            Name::Path => {
                let path = Uri::from_maybe_shared(value.clone()).ok()?;
                // an asterisk and an absolute path have no authority of their own
                path.path_and_query()
                    .filter(|_| path.authority().is_none())?;
                self.path.replace(path).is_some() || pseudo_is_late
            }
            Name::Authority => std::mem::replace(&mut self.authority, true) || pseudo_is_late,
            Name::Header(name) => {
                let allowed = match name {
                    &header::CONNECTION | &header::TRANSFER_ENCODING | &header::UPGRADE => false,
                    &header::TE => value.as_ref() == b"trailers",
                    other => other != "keep-alive" && other != "proxy-connection",
                };
                let value = HeaderValue::from_maybe_shared(value.clone()).ok()?;
                self.headers.try_append(name.clone(), value).ok()?;
                !allowed
            }
            Name::Wrong => true,
        };
        (!twice).then_some(())
    }

    fn request(self, ends: &Ends) -> Option<Head> {
        if self.wrong || !self.scheme {
            return None;
        }
        let mut request = Request::new(());
        *request.method_mut() = self.method?;
        *request.uri_mut() = self.path?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        ends.tell(request.extensions_mut());
        let (parts, ()) = request.into_parts();
        Some(Head {
            grpc: grpc::is_grpc(&parts.headers),
            timeout: grpc::timeout(&parts.headers),
            parts,
            call: None,
            client: None,
            whole: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(name: &str, value: &str) -> Vec<u8> {
        let mut out = vec![0];
        for text in [name, value] {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        fields.iter().flat_map(|(n, v)| literal(n, v)).collect()
    }

    fn read(heads: &mut Heads, block: &[u8]) -> Block {
        let tcp = tonic::transport::server::TcpConnectInfo {
            local_addr: None,
            remote_addr: None,
        };
        let certificate = None;
        let ends = Ends { tcp, certificate };
        heads.read(block, &ends, |head| head.whole = true).unwrap()
    }

    const GOOD: [(&str, &str); 4] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        ("content-type", "application/grpc"),
    ];

    #[test]
    fn a_repeated_block_is_one_head_until_the_table_changes() {
        let mut heads = Heads::new();
        let first = block(&GOOD);
        let request = |heads: &mut Heads, block: &[u8]| match read(heads, block) {
            Block::Request(head) => head,
            wrong @ (Block::Malformed | Block::TooLarge) => panic!("{wrong:?}"),
        };
        let one = request(&mut heads, &first);
        assert_eq!(one.path(), "/a.B/C");
        assert!(one.grpc && one.whole && one.timeout.is_none());
        assert!(Rc::ptr_eq(&one, &request(&mut heads, &first)));
        for n in 0..2 * REMEMBERED {
            let mut other = first.clone();
            other.extend(literal("grpc-timeout", &format!("{n}S")));
            let head = request(&mut heads, &other);
            assert_eq!(head.timeout, Some(Duration::from_secs(n as u64)));
        }
        assert!(heads.remembered.len() <= REMEMBERED);
        // 'x: y' enters the table
        let entering = [first.as_slice(), b"\x40\x01x\x01y"].concat();
        let entered = request(&mut heads, &entering);
        assert!(!Rc::ptr_eq(&entered, &request(&mut heads, &entering)));
        assert!(!Rc::ptr_eq(&one, &request(&mut heads, &first)));
    }

    #[test]
    fn what_is_not_a_request_is_malformed() {
        let without = |name: &str| {
            let kept = GOOD.into_iter().filter(|(n, _)| *n != name);
            block(&kept.collect::<Vec<_>>())
        };
        let with = |name, value| [block(&GOOD), literal(name, value)].concat();
        for wrong in [
            without(":method"),
            without(":scheme"),
            without(":path"),
            with(":path", "/late"),
            with(":status", "200"),
            with("Upper", "x"),
            with("connection", "close"),
            with("te", "gzip"),
            with("a", "line\nfeed"),
            [literal(":path", "/twice"), block(&GOOD)].concat(),
            [without(":path"), literal(":path", "a b")].concat(),
        ] {
            let text = String::from_utf8_lossy(&wrong).into_owned();
            assert!(
                matches!(read(&mut Heads::new(), &wrong), Block::Malformed),
                "{text:?}"
            );
        }
        assert!(matches!(
            read(&mut Heads::new(), &with("te", "trailers")),
            Block::Request(_)
        ));
    }

    #[test]
    fn a_list_that_unfolds_beyond_its_bound_is_too_large() {
        let mut heads = Heads::new();
        let entering = [
            block(&GOOD),
            b"\x40\x01x\x7f\xff\x0e".to_vec(),
            vec![b'y'; 0x7f + 0x7f + (14 << 7)],
        ]
        .concat();
        assert!(matches!(read(&mut heads, &entering), Block::Request(_)));
        let unfolding = [block(&GOOD), vec![0xbe; 1000]].concat();
        assert!(matches!(read(&mut heads, &unfolding), Block::TooLarge));
    }
}
