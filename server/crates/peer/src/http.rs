//! Serves HTTP/1 on the peer port, as in etcd: members, version, round-trip probe, and hashes of the state (`hash`). A
//! connection serves one request.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::{Method, StatusCode, header::HeaderMap},
    web::Payload,
};
use witan_api::peer::NOT_DECIDED;
use witan_base::version;
use witan_gocompat::text;
use witan_machine::{levels, member::MemberRegistry};
use witan_snapshot as snapshot;
use witan_transport::PeerHttp;

use super::{Shared, handshake::HANDSHAKE_BYTES_MAX, hash, page::Page};

/// Creates the service that answers requests on the calling thread.
pub(super) async fn service(shared: Arc<Shared>) -> PeerHttp {
    let panics = shared.metrics.panics.clone();
    let handler = move |request: HttpRequest, body: Payload| {
        let shared = shared.clone();
        async move {
            let page = respond(&request, body, &shared).await;
            let page = page.unwrap_or_else(|refusal| refusal);
            page.response(shared.members().cluster_id, shared.own_id())
        }
    };
    PeerHttp::new(handler, panics).await
}

/// Returns the page that answers a request. Fails with an error page.
async fn respond(request: &HttpRequest, body: Payload, shared: &Shared) -> Result<Page, Page> {
    let (method, path) = (request.method(), request.uri().path());
    let members = shared.members();
    if !matches!(path, "/members/hashkv" | "/members/statehash") {
        let lacks_bytes = shared.node.disk().rewrite_lacks_bytes();
        return page(method, path, &members, lacks_bytes);
    }
    check_method(method)?;
    check_cluster(request.headers(), members.cluster_id)?;
    let body = body.to_bytes_limited(HANDSHAKE_BYTES_MAX).await;
    let Ok(Ok(body)) = body else {
        return Err(Page::bad_request("error reading body"));
    };
    match path {
        "/members/hashkv" => hash::of_keys(&shared.node, &body).await,
        _ => Ok(hash::of_state(&shared.node, request.query_string())),
    }
}

/// Fails with an error page if the method is not GET.
fn check_method(method: &Method) -> Result<(), Page> {
    let refusal = || Page::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    (method == Method::GET).then_some(()).ok_or_else(refusal)
}

/// Fails with an error page if the request is for another cluster. A request without a cluster id passes.
fn check_cluster(headers: &HeaderMap, cluster_id: u64) -> Result<(), Page> {
    let wanted = headers.get("x-etcd-cluster-id");
    let wanted = wanted.filter(|id| !id.is_empty());
    let matches = wanted.is_none_or(|id| id.as_bytes() == format!("{cluster_id:x}").as_bytes());
    let refusal = || Page::text(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch");
    matches.then_some(()).ok_or_else(refusal)
}

/// Returns the page for `/members`, `/version` or `/raft/probing`. Fails with an error page for another path or method.
/// `lacks_bytes` has the same meaning as in [`version()`].
fn page(
    method: &Method,
    path: &str,
    members: &MemberRegistry,
    lacks_bytes: u64,
) -> Result<Page, Page> {
    let body = match path {
        "/members" => list(members),
        "/version" => version(members, lacks_bytes),
        // etcd probes this path to measure the round-trip time.
        "/raft/probing" => probe(witan_node::now_ns()),
        _ => return Err(Page::not_found("404 page not found")),
    };
    check_method(method).map(|()| Page::ok(body))
}

/// Returns the body of `/raft/probing`, with this member's time.
fn probe(now_ns: i64) -> String {
    format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", text::time(now_ns))
}

/// Returns the body of `/members`.
fn list(members: &MemberRegistry) -> String {
    let members = members.by_id.values().cloned();
    let list: Vec<_> = members.map(snapshot::shown_member).collect();
    serde_json::to_string(&list).expect("numbers and strings are always JSON") + "\n"
}

/// Returns the body of `/version`, with [`NOT_DECIDED`] while the cluster has no version. `lacks_bytes` is the number of bytes
/// that this member's disk lacks to rewrite its checkpoint. The page omits the number if it is 0.
fn version(members: &MemberRegistry, lacks_bytes: u64) -> String {
    let cluster = match members.cluster_version.as_str() {
        "" => NOT_DECIDED,
        decided => decided,
    };
    let mut page = version::page(cluster, levels::OWN, members.level());
    if lacks_bytes > 0 {
        page.insert_str(page.len() - 1, &format!(",\"lacksBytes\":{lacks_bytes}"));
    }
    page
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use witan_machine::member::{Member, MemberId};

    use super::*;

    #[test]
    fn the_pages_of_members_and_versions_match_etcd() {
        let mut members = MemberRegistry {
            cluster_id: 0xd1cf,
            cluster_version: "3.6.0".into(),
            raised_level: 2,
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
        let get = |path| page(&Method::GET, path, &members, 0);
        assert_eq!(
            get("/members").expect("a page").body,
            "[{\"id\":13668033151171901709,\"peerURLs\":[\"http://127.0.0.1:2380\"],\
             \"name\":\"default\",\"clientURLs\":[\"http://127.0.0.1:2379\"]}]\n"
        );
        let asked = get("/version").expect("a page").body;
        assert!(asked.contains(r#""etcdcluster":"3.6.0""#), "{asked}");
        let end = format!(r#","level":{},"clusterLevel":2}}"#, levels::OWN);
        assert!(asked.ends_with(&end), "{asked}");
        let full = page(&Method::GET, "/version", &members, 70).expect("a page");
        let end = r#","clusterLevel":2,"lacksBytes":70}"#;
        assert!(full.body.ends_with(end), "{}", full.body);
        let asked = get("/raft/probing").expect("a page").body;
        assert!(asked.starts_with("{\"OK\":true,\"Now\":\"2"), "{asked}");
        let refusal = page(&Method::POST, "/members", &members, 0).expect_err("not GET");
        assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
        let allow = refusal
            .response(1, MemberId(2))
            .headers()
            .get("allow")
            .cloned();
        assert_eq!(allow, Some(HeaderValue::from_static("GET")));
        let refusal = get("/health").expect_err("no page");
        assert_eq!(refusal.status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_request_for_another_cluster_is_refused() {
        let asked = |id: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                let name = HeaderName::from_static("x-etcd-cluster-id");
                headers.insert(name, HeaderValue::from_static(id));
            }
            check_cluster(&headers, 0xd1cf).map_err(|page| page.status)
        };
        assert_eq!(asked(None), Ok(()));
        assert_eq!(asked(Some("")), Ok(()));
        assert_eq!(asked(Some("d1cf")), Ok(()));
        assert_eq!(asked(Some("7")), Err(StatusCode::PRECONDITION_FAILED));
    }
}
