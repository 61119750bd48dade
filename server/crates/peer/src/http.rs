//! Serves HTTP/1 on the peer port, as in etcd: the members, the running version, and hashes of the state (`hash`). Each
//! connection serves one request.

use std::{
    convert::Infallible,
    io::{self, Cursor},
};

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, join, split};
use witan_api::peer::NOT_DECIDED;
use witan_base::version;
use witan_gocompat::text;
use witan_machine::member::MemberRegistry;
use witan_snapshot as snapshot;
use witan_transport::PeerStream;

use super::{Shared, handshake::HANDSHAKE_BYTES_MAX, hash, page::Page};

/// Size in bytes of a request's head on the peer port; a longer head is refused.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Answers the request that starts with `first`. The caller must limit the time.
pub(super) async fn answer(
    stream: Box<dyn PeerStream>,
    first: &[u8],
    shared: &Shared,
) -> io::Result<()> {
    let (reading, writing) = split(stream);
    let stream = join(Cursor::new(first.to_vec()).chain(reading), writing);
    let service = service_fn(async |request| {
        let page = respond(request, shared).await;
        let page = page.unwrap_or_else(|refusal| refusal);
        Ok::<_, Infallible>(page.response(shared.members().cluster_id))
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    served.await.map_err(io::Error::other)
}

/// Answers a request. The error is the refusal.
async fn respond(request: Request<Incoming>, shared: &Shared) -> Result<Page, Page> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let members = shared.members();
    if !matches!(path, "/members/hashkv" | "/members/statehash") {
        return page(&head.method, path, &members);
    }
    check_method(&head.method)?;
    check_cluster(&head.headers, members.cluster_id)?;
    let body = Limited::new(body, HANDSHAKE_BYTES_MAX).collect().await;
    let body = body
        .map_err(|_| Page::bad_request("error reading body"))?
        .to_bytes();
    Ok(match path {
        "/members/hashkv" => hash::of_keys(&shared.node, &body).await,
        _ => hash::of_state(&shared.node, head.uri.query().unwrap_or_default()),
    })
}

/// Refuses all methods except GET.
fn check_method(method: &Method) -> Result<(), Page> {
    match method == Method::GET {
        true => Ok(()),
        false => Err(Page::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed",
        )),
    }
}

/// Refuses a request for another cluster.
fn check_cluster(headers: &HeaderMap, cluster_id: u64) -> Result<(), Page> {
    let asked = headers.get("x-etcd-cluster-id");
    let asked = asked.filter(|id| !id.is_empty());
    match asked.is_none_or(|id| id.as_bytes() == format!("{cluster_id:x}").as_bytes()) {
        true => Ok(()),
        false => Err(Page::text(
            StatusCode::PRECONDITION_FAILED,
            "cluster ID mismatch",
        )),
    }
}

/// Answers `/members`, `/version` or `/raft/probing`.
fn page(method: &Method, path: &str, members: &MemberRegistry) -> Result<Page, Page> {
    let body = match path {
        "/members" => list(members),
        "/version" => version(members),
        // etcd's probe of the round-trip time
        "/raft/probing" => probe(witan_node::now_ns()),
        _ => return Err(Page::not_found("404 page not found")),
    };
    check_method(method).map(|()| Page::ok(body))
}

fn probe(now_ns: i64) -> String {
    format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", text::time(now_ns))
}

/// Returns the members as JSON, the body of `/members`.
fn list(members: &MemberRegistry) -> String {
    let members = members.by_id.values().cloned();
    let list: Vec<_> = members.map(snapshot::shown_member).collect();
    serde_json::to_string(&list).expect("numbers and texts are always JSON") + "\n"
}

/// Returns the body of `/version`. It contains [`NOT_DECIDED`] while the cluster has no version.
fn version(members: &MemberRegistry) -> String {
    let cluster = match members.cluster_version.as_str() {
        "" => NOT_DECIDED,
        decided => decided,
    };
    version::page(cluster)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use witan_machine::member::Member;

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
            store_id: 7,
        };
        members.by_id.insert(member.member_id(), member);
        let get = |path| page(&Method::GET, path, &members);
        assert_eq!(
            get("/members").expect("a page").body,
            "[{\"id\":13668033151171901709,\"peerURLs\":[\"http://127.0.0.1:2380\"],\
             \"name\":\"default\",\"clientURLs\":[\"http://127.0.0.1:2379\"]}]\n"
        );
        let asked = get("/version").expect("a page").body;
        assert!(asked.contains(r#""etcdcluster":"3.6.0""#), "{asked}");
        let asked = get("/raft/probing").expect("a page").body;
        assert!(asked.starts_with("{\"OK\":true,\"Now\":\"2"), "{asked}");
        let refusal = page(&Method::POST, "/members", &members).expect_err("not GET");
        assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.response(1).headers()["allow"], "GET");
        let refusal = get("/health").expect_err("no page");
        assert_eq!(refusal.status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn what_is_meant_for_another_cluster_is_refused() {
        let asked = |id: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("X-Etcd-Cluster-ID", HeaderValue::from_static(id));
            }
            check_cluster(&headers, 0xd1cf).map_err(|page| page.status)
        };
        assert_eq!(asked(None), Ok(()));
        assert_eq!(asked(Some("")), Ok(()));
        assert_eq!(asked(Some("d1cf")), Ok(()));
        assert_eq!(asked(Some("7")), Err(StatusCode::PRECONDITION_FAILED));
    }
}
