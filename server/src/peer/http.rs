//! What the peer port answers to HTTP/1: who the members are, and which version runs, as etcd's. One
//! request a connection.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use witan_api::peer::{self, NOT_DECIDED};
use witan_replica::machine::member::{Member, MemberRegistry};

use crate::{transport::PeerStream, version};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers the request that begins with `first`.
pub(super) async fn answer(
    mut stream: Box<dyn PeerStream>,
    first: &[u8],
    members: &MemberRegistry,
) -> io::Result<()> {
    let mut head = first.to_vec();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            let too_large = response("431 Request Header Fields Too Large", TEXT, members, "", "");
            stream.write_all(too_large.as_bytes()).await?;
            return stream.shutdown().await;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    stream.write_all(page(&head, members).as_bytes()).await?;
    stream.shutdown().await
}

/// The response to a request with this head.
pub(super) fn page(head: &[u8], members: &MemberRegistry) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next();
    let body = match path {
        Some(b"/members") => list(members),
        Some(b"/version") => version(members),
        _ => {
            let text = "404 page not found\n";
            return response("404 Not Found", TEXT, members, "", text);
        }
    };
    if method != Some(b"GET") {
        let (allow, text) = ("Allow: GET\r\n", "Method Not Allowed\n");
        return response("405 Method Not Allowed", TEXT, members, allow, text);
    }
    response("200 OK", JSON, members, "", &body)
}

fn response(
    status: &str,
    content_type: &str,
    members: &MemberRegistry,
    headers: &str,
    body: &str,
) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: {content_type}\r\nX-Etcd-Cluster-Id: {:x}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        members.cluster_id,
        body.len()
    )
}

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
        members.by_id.insert(member.id, member);
        let asked = page(b"GET /members HTTP/1.1\r\n\r\n", &members);
        assert!(asked.starts_with("HTTP/1.1 200 OK\r\n"), "{asked}");
        assert!(asked.contains("\r\nX-Etcd-Cluster-Id: d1cf\r\n"), "{asked}");
        assert!(
            asked.ends_with(
                "[{\"id\":13668033151171901709,\"peerURLs\":[\"http://127.0.0.1:2380\"],\
                 \"name\":\"default\",\"clientURLs\":[\"http://127.0.0.1:2379\"]}]\n"
            ),
            "{asked}"
        );
        let asked = page(b"GET /version?x=1 HTTP/1.0\r\n\r\n", &members);
        assert!(asked.contains(r#""etcdcluster":"3.6.0""#), "{asked}");
        for (head, status) in [
            (&b"POST /members HTTP/1.1\r\n"[..], "405"),
            (b"GET /health HTTP/1.1\r\n", "404"),
            (b"\x16\x03\x01", "404"),
        ] {
            let refused = page(head, &members);
            assert!(
                refused.starts_with(&format!("HTTP/1.1 {status}")),
                "{refused}"
            );
        }
    }
}
