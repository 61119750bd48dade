//! HTTP requests to other members for the cluster's members, state hashes, versions and clocks. The responses come from the
//! other member's `http` or from etcd's peer port.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use tokio::time::timeout;
use witan_api::peer::{Member, StateHash};
use witan_base::version;
use witan_config::Url;
use witan_gocompat::text;
use witan_machine::{
    levels::{self, Level},
    member::MemberId,
    versions::{self, Release},
};
use witan_transport::exchange;

use super::{PeerDialer, dial::DialError, page::MEMBER_ID};

/// Time limit for a member's response.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// A path on the peer port that Witan serves and etcd does not.
const STATE_HASH: &str = "/members/statehash";

/// A cluster as reported by one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCluster {
    /// The cluster's id.
    pub id: u64,
    /// The cluster's members.
    pub members: Vec<Member>,
}

/// Requests the cluster's id and members from the member at this peer URL.
pub async fn cluster(url: &Url, dialer: &PeerDialer) -> io::Result<RemoteCluster> {
    let answer = get(url, dialer, "/members").await?;
    cluster_of(&answer).map_err(invalid)
}

/// Returns whether a member of the cluster may run at this peer URL. That is the case if a process there answers with the
/// cluster's id, or accepts the connection but TLS fails. TLS between members fails if either certificate has expired or this
/// member has none.
pub async fn may_run(url: &Url, dialer: &PeerDialer, cluster_id: u64) -> bool {
    match cluster(url, dialer).await {
        Ok(found) => found.id == cluster_id,
        Err(error) => is_tls_failure(&error),
    }
}

/// Returns whether TLS failed after the connection had been accepted. That is the case if this member has no certificate, or if
/// the error comes from an alert, an invalid certificate or an invalid message.
fn is_tls_failure(error: &io::Error) -> bool {
    let dialed = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<DialError>());
    if matches!(dialed, Some(DialError::NoCertificate)) {
        return true;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let failed = error.downcast_ref::<io::Error>();
        if failed.is_some_and(|failed| failed.kind() == io::ErrorKind::InvalidData) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The releases and the feature level that a member reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningRelease {
    /// The release of etcd whose API the member serves.
    pub api: Release,
    /// The release of Witan, or `None` for etcd and for builds that do not report it.
    pub witan: Option<String>,
    /// The feature level.
    pub level: Level,
    /// Number of bytes that the member's disk lacks to rewrite its checkpoint in a later data format.
    pub lacks_bytes: u64,
}

impl RunningRelease {
    /// Returns this member's releases and feature level. `lacks_bytes` has the same meaning as in [`RunningRelease`].
    pub(super) fn own(lacks_bytes: u64) -> Self {
        let (api, witan) = (versions::LATEST, Some(version::WITAN.to_owned()));
        Self { api, witan, level: levels::OWN, lacks_bytes }
    }

    /// Returns the highest level to which the cluster can rise with this member. `later` is the first level with a later data
    /// format than the cluster's. A member without disk space for a rewrite of its checkpoint cannot reach that level.
    pub(super) fn reachable(&self, later: Option<Level>) -> Level {
        match later {
            Some(later) if self.lacks_bytes > 0 => self.level.min(later.saturating_sub(1)),
            Some(_) | None => self.level,
        }
    }

    /// Returns the major and minor number of Witan's release. A build that reports none is treated as the first release.
    /// Returns `None` if the release cannot be parsed.
    pub(super) fn release(&self) -> Option<Release> {
        let [first, ..] = levels::RELEASES else {
            return None;
        };
        versions::release(self.witan.as_deref().unwrap_or(first.release))
    }
}

/// Returns whether etcd answers at this peer URL: it reports a version but answers 404 on a path that Witan serves.
pub async fn is_etcd(url: &Url, dialer: &PeerDialer) -> bool {
    let (version, own) = tokio::join!(get(url, dialer, "/version"), get(url, dialer, STATE_HASH));
    matches!((version, own), (Ok(version), Ok(own)) if is_of_etcd(&version, &own))
}

/// Requests the cluster's feature level from the member at this peer URL. A member that reports no level has the first level.
pub async fn cluster_level(url: &Url, dialer: &PeerDialer) -> io::Result<Level> {
    cluster_level_of(&get(url, dialer, "/version").await?).map_err(invalid)
}

/// Requests the hash of a member's state after the entry `index`. Returns `None` if the member does not have the hash. Fails if
/// another member or another cluster answers.
pub async fn state_hash(
    url: &Url,
    dialer: &PeerDialer,
    cluster_id: u64,
    member: MemberId,
    index: u64,
) -> io::Result<Option<StateHash>> {
    let answer = get(url, dialer, &format!("{STATE_HASH}?index={index}")).await?;
    hash_of(&answer, cluster_id, member).map_err(invalid)
}

/// Requests the release of a member. Fails if another member, or a member of another cluster, answers.
pub(super) async fn running_release(
    url: &Url,
    dialer: &PeerDialer,
    cluster_id: u64,
    member: MemberId,
) -> io::Result<RunningRelease> {
    let answer = get(url, dialer, "/version").await?;
    check_member(&answer, member).map_err(invalid)?;
    running_release_of(&answer, cluster_id).map_err(invalid)
}

/// Requests a member's clock, in Unix nanoseconds, with etcd's round-trip probe.
pub(super) async fn clock(url: &Url, dialer: &PeerDialer) -> io::Result<i64> {
    clock_of(&get(url, dialer, "/raft/probing").await?).map_err(invalid)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Gets a page from the member at this peer URL. Returns a response with any status. Fails with `TimedOut` after
/// [`QUERY_TIMEOUT`].
async fn get(url: &Url, dialer: &PeerDialer, target: &str) -> io::Result<Answer> {
    let answer = async {
        let stream = dialer.connect(url).await.map_err(io::Error::other)?.stream;
        let request = Request::get(target)
            .header(header::HOST, url.authority())
            .header(header::CONNECTION, "close")
            .body(String::new())
            .map_err(io::Error::other)?;
        exchange(stream, request).await
    };
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the member did not answer in time");
    timeout(QUERY_TIMEOUT, answer).await.map_err(too_slow)?
}

/// A complete response of a peer port.
type Answer = Response<Bytes>;

/// Returns the cluster id in a response's header, or `None` if the id is missing or invalid.
fn cluster_id(answer: &Answer) -> Option<u64> {
    let id = answer.headers().get("x-etcd-cluster-id")?;
    u64::from_str_radix(id.to_str().ok()?, 16).ok()
}

/// Fails if the response names a member other than `wanted`, for example because of a proxy or a reused address. Accepts a
/// response that names no member, as from etcd and the first releases of Witan.
fn check_member(answer: &Answer, wanted: MemberId) -> Result<(), &'static str> {
    let named = answer.headers().get(MEMBER_ID);
    match named.is_none_or(|named| named.as_bytes() == wanted.to_string().as_bytes()) {
        true => Ok(()),
        false => Err("another member answered at this URL"),
    }
}

/// Fails if the response comes from a cluster other than `wanted` or names no cluster.
fn check_cluster(answer: &Answer, wanted: u64) -> Result<(), &'static str> {
    match cluster_id(answer) == Some(wanted) {
        true => Ok(()),
        false => Err("the member belongs to another cluster"),
    }
}

/// Reads the cluster's id and members from a response to `/members`. Fails for any other response.
fn cluster_of(answer: &Answer) -> Result<RemoteCluster, &'static str> {
    if answer.status() != StatusCode::OK {
        return Err("the response is not from a member");
    }
    let id = cluster_id(answer).ok_or("the response has no cluster id")?;
    let members = serde_json::from_slice(answer.body());
    Ok(RemoteCluster {
        id,
        members: members.map_err(|_| "the response is not a member list")?,
    })
}

#[derive(serde::Deserialize)]
struct VersionPage {
    etcdserver: String,
    witan: Option<String>,
    #[serde(default = "first_level")]
    level: Level,
    #[serde(rename = "clusterLevel", default = "first_level")]
    cluster_level: Level,
    #[serde(rename = "lacksBytes", default)]
    lacks_bytes: u64,
}

/// Returns the first level, the default for a page without a level.
const fn first_level() -> Level {
    levels::FIRST
}

#[derive(serde::Deserialize)]
struct ProbePage {
    #[serde(rename = "Now")]
    now: String,
}

/// Returns whether the responses to `/version` and to [`STATE_HASH`] without an index come from etcd.
fn is_of_etcd(version: &Answer, own: &Answer) -> bool {
    let page: Option<VersionPage> = serde_json::from_slice(version.body()).ok();
    page.is_some() && own.status() == StatusCode::NOT_FOUND
}

/// Reads a member's release from a response to `/version`. Fails if the member belongs to another cluster, if the page is
/// invalid, or if the API version is below [`versions::FIRST`].
fn running_release_of(answer: &Answer, cluster_id: u64) -> Result<RunningRelease, &'static str> {
    check_cluster(answer, cluster_id)?;
    let page: Option<VersionPage> = serde_json::from_slice(answer.body()).ok();
    let running = page.and_then(|page| {
        Some(RunningRelease {
            api: versions::release(&page.etcdserver)?,
            witan: page.witan,
            level: page.level,
            lacks_bytes: page.lacks_bytes,
        })
    });
    let running = running.filter(|running| running.api >= versions::FIRST);
    running.ok_or("the response has no server version")
}

/// Reads the cluster's feature level from a response to `/version`. Fails for any other response.
fn cluster_level_of(answer: &Answer) -> Result<Level, &'static str> {
    let page: Result<VersionPage, _> = serde_json::from_slice(answer.body());
    page.map(|page| page.cluster_level)
        .map_err(|_| "the response has no server version")
}

/// Reads a member's clock, in Unix nanoseconds, from the response to a probe. Fails if the response has no time.
fn clock_of(answer: &Answer) -> Result<i64, &'static str> {
    let page: Option<ProbePage> = serde_json::from_slice(answer.body()).ok();
    let now_ns = page.and_then(|page| text::parse_time(&page.now));
    now_ns.ok_or("the response has no time")
}

/// Reads the hash of a member's state from a response. Returns `None` for 404. Fails for any other error status or an invalid
/// hash, and if another member or cluster answered.
fn hash_of(
    answer: &Answer,
    cluster_id: u64,
    member: MemberId,
) -> Result<Option<StateHash>, &'static str> {
    check_member(answer, member)?;
    check_cluster(answer, cluster_id)?;
    match answer.status() {
        StatusCode::OK => {
            let hash = serde_json::from_slice(answer.body());
            hash.map(Some).map_err(|_| "the response is not a hash")
        }
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err("the response is not from a member"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answer(status: u16, cluster_id: Option<&str>, body: &str) -> Answer {
        let mut answer = Response::builder().status(status);
        if let Some(id) = cluster_id {
            answer = answer.header("X-Etcd-Cluster-Id", id);
        }
        answer
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .expect("a valid answer")
    }

    #[test]
    fn versions_and_clocks_are_read_as_etcd_answers() {
        let read = |id, page| running_release_of(&answer(200, id, page), 0xC1);
        let page = r#"{"etcdserver":"3.5.21","etcdcluster":"3.5.0"}"#;
        let running = RunningRelease {
            api: (3, 5),
            witan: None,
            level: levels::FIRST,
            lacks_bytes: 0,
        };
        assert_eq!(running.release(), Some((0, 1)), "the first release");
        assert_eq!(read(Some("c1"), page), Ok(running));
        assert_eq!(
            cluster_level_of(&answer(200, None, page)),
            Ok(levels::FIRST)
        );
        let bad = [
            "",
            "[]",
            r#"{"etcdserver":"x"}"#,
            r#"{"etcdserver":"2.3.8"}"#,
        ];
        for bad in bad {
            assert!(read(Some("c1"), bad).is_err(), "{bad}");
        }
        let elsewhere = Err("the member belongs to another cluster");
        assert_eq!(read(Some("c2"), page), elsewhere);
        assert_eq!(read(None, page), elsewhere);
        let clock = |page| clock_of(&answer(200, None, page));
        let page = r#"{"OK":true,"Now":"1970-01-01T01:00:01.5+01:00"}"#;
        assert_eq!(clock(page), Ok(1_500_000_000));
        assert!(clock(r#"{"OK":true,"Now":"x"}"#).is_err());
    }

    #[test]
    fn the_release_and_the_level_of_a_later_member_are_read() {
        let page = r#"{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0",
            "witan":"0.2.0","level":3,"clusterLevel":2,"lacksBytes":70,"later":[]}"#;
        let witan = Some("0.2.0".into());
        let running = RunningRelease { api: (3, 7), witan, level: 3, lacks_bytes: 70 };
        assert_eq!(running.release(), Some((0, 2)));
        let page = answer(200, Some("c1"), page);
        assert_eq!(running_release_of(&page, 0xC1), Ok(running));
        assert_eq!(cluster_level_of(&page), Ok(2));
        assert!(cluster_level_of(&answer(404, None, "404 page not found\n")).is_err());
    }

    #[test]
    fn the_answer_of_another_member_is_refused() {
        let mut page = answer(200, Some("c1"), "{}");
        assert_eq!(check_member(&page, MemberId(0xa1)), Ok(()), "no member id");
        page.headers_mut()
            .insert(MEMBER_ID, HeaderValue::from_static("a1"));
        assert_eq!(check_member(&page, MemberId(0xa1)), Ok(()));
        assert!(check_member(&page, MemberId(0xa2)).is_err());
    }

    #[test]
    fn the_page_of_this_release_is_read() {
        let page = version::page("3.7.0", levels::OWN, levels::FIRST);
        let found = running_release_of(&answer(200, Some("c1"), &page), 0xC1);
        assert_eq!(found, Ok(RunningRelease::own(0)));
    }

    #[test]
    fn a_member_without_disk_space_does_not_reach_a_level_with_a_later_format() {
        for (level, lacks_bytes, later, reachable) in [
            (3, 0, Some(2), 3),
            (3, 1, Some(2), 1),
            (3, 1, Some(3), 2),
            (3, 1, Some(4), 3),
            (3, 1, None, 3),
        ] {
            let running = RunningRelease { level, lacks_bytes, ..RunningRelease::own(0) };
            assert_eq!(running.reachable(later), reachable, "{running:?} {later:?}");
        }
    }

    #[test]
    fn a_response_of_the_peer_port_is_read_and_any_other_is_refused() {
        let members = "[{\"id\":7,\"peerURLs\":[\"http://a:1\"],\"isLearner\":true}]\n";
        let cluster = cluster_of(&answer(200, Some("c1"), members)).expect("a member's answer");
        assert_eq!((cluster.id, cluster.members[0].id), (0xC1, 7));
        assert!(cluster.members[0].is_learner);
        for (status, id, body, reason) in [
            (404, None, "", "not from a member"),
            (200, None, "[]", "no cluster id"),
            (200, Some("1"), "{}", "not a member list"),
            (
                200,
                Some("1"),
                &members[..members.len() - 9],
                "not a member list",
            ),
        ] {
            let refusal = cluster_of(&answer(status, id, body)).expect_err(body);
            assert!(refusal.contains(reason), "{body:?}: {refusal}");
        }
    }

    #[test]
    fn a_process_may_be_a_member_if_tls_fails() {
        let dialed = |kind| {
            let failed = io::Error::new(kind, "received fatal alert: CertificateExpired");
            io::Error::other(DialError::Io(failed))
        };
        for (error, fails) in [
            (dialed(io::ErrorKind::InvalidData), true),
            (dialed(io::ErrorKind::ConnectionRefused), false),
            (dialed(io::ErrorKind::UnexpectedEof), false),
            (io::Error::other(DialError::NoCertificate), true),
            (io::Error::other(DialError::NoUrl), false),
            (io::Error::from(io::ErrorKind::TimedOut), false),
            // A server that is not a member answers at the URL.
            (invalid("the response is not from a member"), false),
        ] {
            assert_eq!(is_tls_failure(&error), fails, "{error:?}");
        }
    }

    #[test]
    fn a_process_without_the_state_hash_path_is_etcd() {
        let page = r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#;
        let version = answer(200, None, page);
        let (lacks, has) = (answer(404, None, ""), answer(400, None, ""));
        assert!(is_of_etcd(&version, &lacks));
        assert!(!is_of_etcd(&version, &has));
        assert!(!is_of_etcd(&lacks, &lacks), "any other server");
    }

    #[test]
    fn a_hash_of_another_cluster_is_refused() {
        let own = MemberId(0xa1);
        let read = |status, id, body| hash_of(&answer(status, Some(id), body), 0xC1, own);
        let body = "{\"release\":\"1\",\"index\":7,\"revision\":2,\"compact_revision\":-1,\
                    \"keys\":3,\"others\":4}";
        let found = read(200, "c1", body).expect("a member's answer");
        let found = found.expect("a hash");
        assert_eq!((found.index, found.keys, found.others), (7, 3, 4));
        assert_eq!(read(404, "c1", "404 page not found\n"), Ok(None));
        for (status, id, body) in [(200, "c2", body), (200, "c1", "{}"), (500, "c1", body)] {
            assert!(read(status, id, body).is_err(), "{status} {id} {body}");
        }
        let mut page = answer(200, Some("c1"), body);
        for (named, accepted) in [("a1", true), ("a2", false)] {
            page.headers_mut()
                .insert(MEMBER_ID, HeaderValue::from_static(named));
            assert_eq!(hash_of(&page, 0xC1, own).is_ok(), accepted, "{named}");
        }
    }
}
