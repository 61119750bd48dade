//! The HTTP/1 requests of the peer port, as etcd's: the members, the running version, and hashes of the state (`hash`).
//! One request per connection.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use witan_api::peer::{self, NOT_DECIDED};
use witan_base::version;
use witan_gocompat::text;
use witan_machine::member::{Member, MemberRegistry};
use witan_transport::PeerStream;

use super::{Shared, hash, page::Page};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 1 << 10;

/// The head of a request.
struct Head<'a> {
    method: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
    text: &'a [u8],
}

impl<'a> Head<'a> {
    /// Splits the head of a request into method, path and query; missing parts are empty.
    fn of(text: &'a [u8]) -> Self {
        let line = text.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let mut target = target.splitn(2, |byte| *byte == b'?');
        Self {
            method: method.unwrap_or_default(),
            path: target.next().unwrap_or_default(),
            query: target.next().unwrap_or_default(),
            text,
        }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        let lines = self.text.split(|byte| *byte == b'\n').skip(1);
        let mut lines = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }

    /// Refuses any other method than GET.
    fn check_method(&self) -> Result<(), Page> {
        match self.method {
            b"GET" => Ok(()),
            _ => Err(Page {
                headers: "Allow: GET\r\n",
                ..Page::text("405 Method Not Allowed", "Method Not Allowed")
            }),
        }
    }

    /// Refuses a request that is meant for another cluster.
    fn check_cluster(&self, cluster_id: u64) -> Result<(), Page> {
        let asked = self.header("x-etcd-cluster-id").filter(|id| !id.is_empty());
        match asked.is_none_or(|id| id == format!("{cluster_id:x}")) {
            true => Ok(()),
            false => Err(Page::text("412 Precondition Failed", "cluster ID mismatch")),
        }
    }

    /// Returns the announced length of the body, 0 without one; more than [`BODY_BYTES_MAX`] is refused.
    fn content_length(&self) -> Result<usize, Page> {
        let length = self.header("content-length").unwrap_or("0");
        let length = length
            .parse()
            .ok()
            .filter(|length| *length <= BODY_BYTES_MAX);
        length.ok_or_else(|| Page::bad_request("error reading body"))
    }
}

/// Answers the request that begins with `first`.
pub(super) async fn answer(
    mut stream: Box<dyn PeerStream>,
    first: &[u8],
    shared: &Shared,
) -> io::Result<()> {
    let cluster_id = shared.members().cluster_id;
    let mut read = first.to_vec();
    let end = loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        if read.len() >= HEAD_BYTES_MAX {
            let page = Page::text("431 Request Header Fields Too Large", "");
            stream
                .write_all(page.response(cluster_id).as_bytes())
                .await?;
            return stream.shutdown().await;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = read.split_off(end);
    let head = Head::of(&read);
    let page = match head.path {
        b"/members/hashkv" | b"/members/statehash" => {
            match of_state(&head, &mut body, &mut stream, shared).await? {
                Ok(page) | Err(page) => page,
            }
        }
        _ => page(&read, &shared.members()),
    };
    stream
        .write_all(page.response(cluster_id).as_bytes())
        .await?;
    stream.shutdown().await
}

/// Answers a request for a hash of this member's state. The inner error is a refusal.
async fn of_state(
    head: &Head<'_>,
    body: &mut Vec<u8>,
    stream: &mut Box<dyn PeerStream>,
    shared: &Shared,
) -> io::Result<Result<Page, Page>> {
    let length = match body_bytes(head, shared.members().cluster_id) {
        Ok(length) => length,
        Err(refusal) => return Ok(Err(refusal)),
    };
    while body.len() < length {
        if stream.read_buf(body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Ok(match head.path {
        b"/members/hashkv" => hash::of_keys(&shared.node, &body[..length]).await,
        _ => hash::of_state(&shared.node, head.query),
    }))
}

/// Checks the method and the cluster of a request about this member's state; returns the length of its body,
/// or the refusal.
fn body_bytes(head: &Head<'_>, cluster_id: u64) -> Result<usize, Page> {
    head.check_method()?;
    head.check_cluster(cluster_id)?;
    head.content_length()
}

/// Returns the refusal of a request with this head about this member's state; `None` if it is accepted.
#[cfg(feature = "fuzz")]
pub(super) fn refusal(head: &[u8]) -> Option<Page> {
    body_bytes(&Head::of(head), 0).err()
}

/// Returns the answer to a request with this head about the cluster: `/members`, `/version` or
/// `/raft/probing`.
pub(super) fn page(head: &[u8], members: &MemberRegistry) -> Page {
    let head = Head::of(head);
    let body = match head.path {
        b"/members" => list(members),
        b"/version" => version(members),
        // etcd's probe of round trips
        b"/raft/probing" => probe(witan_node::now_ns()),
        _ => return Page::not_found("404 page not found"),
    };
    match head.check_method() {
        Ok(()) => Page::ok(body),
        Err(refusal) => refusal,
    }
}

fn probe(now_ns: i64) -> String {
    format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", text::time(now_ns))
}

/// Returns the members as JSON, the body of `/members`.
fn list(members: &MemberRegistry) -> String {
    let of = |member: &Member| peer::Member {
        id: member.id,
        peer_urls: member.peer_urls.clone(),
        is_learner: member.learner,
        name: member.name.clone(),
        client_urls: member.client_urls.clone(),
    };
    let list: Vec<peer::Member> = members.by_id.values().map(of).collect();
    serde_json::to_string(&list).expect("numbers and texts are always JSON") + "\n"
}

/// Returns the body of `/version`, with [`NOT_DECIDED`] while the cluster has no version.
fn version(members: &MemberRegistry) -> String {
    let cluster = match members.cluster_version.as_str() {
        "" => NOT_DECIDED,
        decided => decided,
    };
    version::page(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_versions_are_etcds_pages() {
        let mut members = MemberRegistry {
            cluster_id: 0xd1cf,
            cluster_version: "3.6.0".into(),
            ..MemberRegistry::default()
        };
        let member = Member {
            id: 13_668_033_151_171_901_709,
            name: "default".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            learner: false,
        };
        members.by_id.insert(member.member_id(), member);
        let page = |head: &[u8]| page(head, &members).response(members.cluster_id);
        let asked = page(b"GET /members HTTP/1.1\r\n\r\n");
        assert!(asked.starts_with("HTTP/1.1 200 OK\r\n"), "{asked}");
        assert!(asked.contains("\r\nX-Etcd-Cluster-Id: d1cf\r\n"), "{asked}");
        assert!(
            asked.ends_with(
                "[{\"id\":13668033151171901709,\"peerURLs\":[\"http://127.0.0.1:2380\"],\
                 \"name\":\"default\",\"clientURLs\":[\"http://127.0.0.1:2379\"]}]\n"
            ),
            "{asked}"
        );
        let asked = page(b"GET /version?x=1 HTTP/1.0\r\n\r\n");
        assert!(asked.contains(r#""etcdcluster":"3.6.0""#), "{asked}");
        for (head, status) in [
            (&b"POST /members HTTP/1.1\r\n"[..], "405"),
            (b"GET /health HTTP/1.1\r\n", "404"),
            (b"\x16\x03\x01", "404"),
        ] {
            let refused = page(head);
            assert!(
                refused.starts_with(&format!("HTTP/1.1 {status}")),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_is_meant_for_another_cluster_or_too_long_is_refused() {
        let asked = |line: &str| {
            let head = format!("GET /members/hashkv HTTP/1.1\r\n{line}\r\n\r\n");
            body_bytes(&Head::of(head.as_bytes()), 0xd1cf).map_err(|page| page.status)
        };
        assert_eq!(asked("Host: a"), Ok(0));
        assert_eq!(
            asked("X-Etcd-Cluster-ID: d1cf\r\ncontent-length: 12"),
            Ok(12)
        );
        assert_eq!(
            asked("x-etcd-cluster-id: 7"),
            Err("412 Precondition Failed")
        );
        for length in ["1025", "-1", "x", "18446744073709551616"] {
            let refused = asked(&format!("Content-Length: {length}"));
            assert_eq!(refused, Err("400 Bad Request"), "{length}");
        }
        let posted = body_bytes(&Head::of(b"POST /members/hashkv HTTP/1.1\r\n\r\n"), 1);
        let posted = posted.map_err(|page| page.status);
        assert_eq!(posted, Err("405 Method Not Allowed"));
    }

    #[test]
    fn a_probe_says_the_time() {
        let page = page(
            b"GET /raft/probing HTTP/1.1\r\n",
            &MemberRegistry::default(),
        );
        assert!(
            page.body.starts_with("{\"OK\":true,\"Now\":\"2"),
            "{}",
            page.body
        );
    }
}
