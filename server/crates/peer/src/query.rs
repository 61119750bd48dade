//! HTTP requests to other members: the members of the cluster (before joining it), hashes of their state, their
//! versions and their clocks.
//!
//! The answer comes from `http` of the other member's peer port; any HTTP/1 server that answers as etcd's
//! peer port does is understood.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use witan_api::peer::{Member, StateHash};
use witan_config::Url;
use witan_gocompat::text;
use witan_machine::versions::{self, Release};

use super::PeerDialer;

/// How long one member may take to answer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer: some thousand members.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Path that the peer port of every Witan member serves, and etcd's does not.
const STATE_HASH: &str = "/members/statehash";

/// A cluster as reported by one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCluster {
    /// Cluster id.
    pub id: u64,
    /// Its members.
    pub members: Vec<Member>,
}

/// Asks the member at this peer URL for its cluster.
pub async fn cluster(url: &Url, dialer: &PeerDialer) -> io::Result<RemoteCluster> {
    let answer = get(url, dialer, "/members").await?;
    cluster_of(&answer).map_err(invalid)
}

/// Whether an etcd member answers at this peer URL: it reports a version, and answers 404 to a path that every Witan
/// member knows. `false` without an answer.
pub async fn is_etcd(url: &Url, dialer: &PeerDialer) -> bool {
    let (version, own) = tokio::join!(get(url, dialer, "/version"), get(url, dialer, STATE_HASH));
    matches!((version, own), (Ok(version), Ok(own)) if is_of_etcd(&version, &own))
}

/// Asks a member of a cluster at this peer URL for the hash of its state after an entry; `None` if the member has no
/// such hash.
pub async fn state_hash(
    url: &Url,
    dialer: &PeerDialer,
    cluster_id: u64,
    index: u64,
) -> io::Result<Option<StateHash>> {
    let answer = get(url, dialer, &format!("{STATE_HASH}?index={index}")).await?;
    hash_of(&answer, cluster_id).map_err(invalid)
}

/// Asks the member of a cluster at this peer URL which release it runs.
pub(super) async fn release(
    url: &Url,
    dialer: &PeerDialer,
    cluster_id: u64,
) -> io::Result<Release> {
    release_of(&get(url, dialer, "/version").await?, cluster_id).map_err(invalid)
}

/// Asks the member at this peer URL for its clock, Unix nanoseconds, as etcd probes round trips.
pub(super) async fn clock(url: &Url, dialer: &PeerDialer) -> io::Result<i64> {
    clock_of(&get(url, dialer, "/raft/probing").await?).map_err(invalid)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Gets a page of the member at this peer URL within [`QUERY_TIMEOUT`]; returns the whole response.
async fn get(url: &Url, dialer: &PeerDialer, target: &str) -> io::Result<Vec<u8>> {
    let asking = async {
        let mut stream = dialer.connect(url).await.map_err(io::Error::other)?;
        let request = format!("GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", url.authority());
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut stream = stream.take(ANSWER_BYTES_MAX);
        let mut answer = Vec::new();
        // etcd 3.4 closes the connection seconds after its answer
        while !is_whole(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        Ok(answer)
    };
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
    timeout(QUERY_TIMEOUT, asking).await.map_err(too_slow)?
}

/// A whole answer of HTTP/1.
struct Answer<'a> {
    status: &'a str,
    cluster_id: Option<u64>,
    content_length: Option<u64>,
    body: &'a [u8],
}

impl Answer<'_> {
    fn check_cluster(&self, cluster_id: u64) -> Result<(), &'static str> {
        match self.cluster_id == Some(cluster_id) {
            true => Ok(()),
            false => Err("it belongs to another cluster"),
        }
    }
}

/// Splits an HTTP response into its status, its headers `X-Etcd-Cluster-Id` and `Content-Length`, and its body.
fn parse(answer: &[u8]) -> Result<Answer<'_>, &'static str> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.ok_or("its answer is not HTTP")?);
    let head = std::str::from_utf8(head).map_err(|_| "its answer is not HTTP")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(':'));
    let header = |wanted: &str| {
        let mut headers = headers.clone();
        let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.trim())
    };
    Ok(Answer {
        status: status.unwrap_or_default(),
        cluster_id: header("x-etcd-cluster-id").and_then(|id| u64::from_str_radix(id, 16).ok()),
        content_length: header("content-length").and_then(|length| length.parse().ok()),
        body: &body[4..],
    })
}

/// Whether a response has all of the body that its header `Content-Length` announces.
fn is_whole(answer: &[u8]) -> bool {
    parse(answer).is_ok_and(|answer| {
        let whole = |length| answer.body.len() as u64 >= length;
        answer.content_length.is_some_and(whole)
    })
}

/// Reads the cluster's id and members from the response to `/members`.
fn cluster_of(answer: &[u8]) -> Result<RemoteCluster, &'static str> {
    let answer = parse(answer)?;
    if answer.status != "200" {
        return Err("it does not answer as a member does");
    }
    let id = answer.cluster_id.ok_or("its answer has no cluster id")?;
    let members = serde_json::from_slice(answer.body);
    Ok(RemoteCluster {
        id,
        members: members.map_err(|_| "its answer is no list of members")?,
    })
}

#[derive(serde::Deserialize)]
struct VersionPage {
    etcdserver: String,
}

#[derive(serde::Deserialize)]
struct ProbePage {
    #[serde(rename = "Now")]
    now: String,
}

/// Whether these responses to `/version` and to [`STATE_HASH`] without an index are etcd's.
fn is_of_etcd(version: &[u8], own: &[u8]) -> bool {
    let (Ok(version), Ok(own)) = (parse(version), parse(own)) else {
        return false;
    };
    let page: Option<VersionPage> = serde_json::from_slice(version.body).ok();
    page.is_some() && own.status == "404"
}

/// Reads the release of a member from the response to `/version`; another cluster, or a release below
/// [`versions::FIRST`], is an error.
fn release_of(answer: &[u8], cluster_id: u64) -> Result<Release, &'static str> {
    let answer = parse(answer)?;
    answer.check_cluster(cluster_id)?;
    let page: Option<VersionPage> = serde_json::from_slice(answer.body).ok();
    let release = page.and_then(|page| versions::release(&page.etcdserver));
    let release = release.filter(|release| *release >= versions::FIRST);
    release.ok_or("its answer names no version of a member")
}

/// Reads the clock of a member, Unix nanoseconds, from the response to a probe.
fn clock_of(answer: &[u8]) -> Result<i64, &'static str> {
    let page: Option<ProbePage> = serde_json::from_slice(parse(answer)?.body).ok();
    let now_ns = page.and_then(|page| text::parse_time(&page.now));
    now_ns.ok_or("its answer names no time")
}

/// Reads the hash of a member's state from its response; `None` if the member has none (404).
fn hash_of(answer: &[u8], cluster_id: u64) -> Result<Option<StateHash>, &'static str> {
    let answer = parse(answer)?;
    answer.check_cluster(cluster_id)?;
    match answer.status {
        "200" => {
            let hash = serde_json::from_slice(answer.body);
            hash.map(Some).map_err(|_| "its answer is no hash")
        }
        "404" => Ok(None),
        _ => Err("it does not answer as a member does"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_clocks_are_read_as_etcd_answers() {
        let head = "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: c1\r\n\r\n";
        let answer = |body: &str| format!("{head}{body}\n").into_bytes();
        let page = r#"{"etcdserver":"3.5.21","etcdcluster":"3.5.0"}"#;
        assert_eq!(release_of(&answer(page), 0xC1), Ok((3, 5)));
        let bad = [
            "",
            "[]",
            r#"{"etcdserver":"x"}"#,
            r#"{"etcdserver":"2.3.8"}"#,
        ];
        for bad in bad {
            assert!(release_of(&answer(bad), 0xC1).is_err(), "{bad}");
        }
        let elsewhere = Err("it belongs to another cluster");
        assert_eq!(release_of(&answer(page), 0xC2), elsewhere);
        let nameless = format!("HTTP/1.1 200 OK\r\n\r\n{page}");
        assert_eq!(release_of(nameless.as_bytes(), 0xC1), elsewhere);
        let page = r#"{"OK":true,"Now":"1970-01-01T01:00:01.5+01:00"}"#;
        assert_eq!(clock_of(&answer(page)), Ok(1_500_000_000));
        assert!(clock_of(&answer(r#"{"OK":true,"Now":"x"}"#)).is_err());
    }

    #[test]
    fn an_answer_of_the_peer_port_is_read_and_others_are_refused() {
        let read = |text: &str| cluster_of(text.as_bytes());
        let whole = "HTTP/1.1 200 OK\r\nx-etcd-cluster-id: c1\r\n\r\n\
                     [{\"id\":7,\"peerURLs\":[\"http://a:1\"],\"isLearner\":true}]\n";
        let cluster = read(whole).expect("a member's answer");
        assert_eq!((cluster.id, cluster.members[0].id), (0xC1, 7));
        assert!(cluster.members[0].is_learner);
        for (bad, reason) in [
            ("", "not HTTP"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "as a member does"),
            ("HTTP/1.1 200 OK\r\n\r\n[]", "no cluster id"),
            (
                "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: 1\r\n\r\n{}",
                "no list",
            ),
            (&whole[..whole.len() - 9], "no list"),
        ] {
            let refusal = read(bad).expect_err(bad);
            assert!(refusal.contains(reason), "{bad:?}: {refusal}");
        }
    }

    #[test]
    fn an_answer_is_whole_with_its_length_and_not_before() {
        let whole = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{}\n";
        for length in 0..whole.len() {
            assert!(!is_whole(&whole.as_bytes()[..length]), "{length} bytes");
        }
        assert!(is_whole(whole.as_bytes()));
        assert!(!is_whole(b"HTTP/1.0 200 OK\r\n\r\n{}"), "until the end");
    }

    #[test]
    fn a_member_of_etcd_lacks_what_each_of_ours_has() {
        let answer =
            |status: &str, body: &str| format!("HTTP/1.0 {status}\r\n\r\n{body}").into_bytes();
        let version = answer("200 OK", r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#);
        let (lacks, has) = (answer("404 Not Found", ""), answer("400 Bad Request", ""));
        assert!(is_of_etcd(&version, &lacks));
        assert!(!is_of_etcd(&version, &has));
        assert!(!is_of_etcd(&lacks, &lacks), "any other server");
    }

    #[test]
    fn a_hash_is_one_of_the_same_cluster() {
        let read = |status: &str, id: &str, body: &str| {
            let answer = format!("HTTP/1.1 {status}\r\nX-Etcd-Cluster-Id: {id}\r\n\r\n{body}");
            hash_of(answer.as_bytes(), 0xC1)
        };
        let body = "{\"release\":\"1\",\"index\":7,\"revision\":2,\"compact_revision\":-1,\
                    \"keys\":3,\"others\":4}";
        let found = read("200 OK", "c1", body).expect("a member's answer");
        let found = found.expect("it has a hash");
        assert_eq!((found.index, found.keys, found.others), (7, 3, 4));
        assert_eq!(
            read("404 Not Found", "c1", "404 page not found\n"),
            Ok(None)
        );
        for (status, id, body) in [
            ("200 OK", "c2", body),
            ("200 OK", "c1", "{}"),
            ("500 Oh", "c1", body),
        ] {
            assert!(read(status, id, body).is_err(), "{status} {id} {body}");
        }
    }
}
