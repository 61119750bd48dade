//! What a member asks of others before it is one of their peers: who is in the cluster.
//!
//! The answer comes from `http` of the other member's peer port; any HTTP/1 server that answers as etcd's
//! peer port does is understood.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use witan_api::peer::Member;

use super::dial;
use crate::{config::Url, transport::PeerTls};

/// How long one member may take to answer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer: some thousand members.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A cluster as one of its members describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCluster {
    /// Cluster id.
    pub id: u64,
    /// Its members.
    pub members: Vec<Member>,
}

/// Asks the member at this peer URL for its cluster.
pub async fn cluster(url: &Url, tls: Option<&PeerTls>) -> io::Result<RemoteCluster> {
    let asking = async {
        let mut stream = dial::connect(url, tls).await.map_err(io::Error::other)?;
        let request = format!("GET /members HTTP/1.0\r\nHost: {}\r\n\r\n", url.authority());
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await?;
        parse(&answer).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
    };
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
    timeout(QUERY_TIMEOUT, asking).await.map_err(too_slow)?
}

/// Reads a whole HTTP/1 answer.
fn parse(answer: &[u8]) -> Result<RemoteCluster, &'static str> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.ok_or("its answer is not HTTP")?);
    let head = std::str::from_utf8(head).map_err(|_| "its answer is not HTTP")?;
    let mut lines = head.split("\r\n");
    if lines.next().and_then(|line| line.split(' ').nth(1)) != Some("200") {
        return Err("it does not answer as a member does");
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    let id = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-etcd-cluster-id"))
        .find_map(|(_, value)| u64::from_str_radix(value.trim(), 16).ok())
        .ok_or("its answer has no cluster id")?;
    let members = serde_json::from_slice(&body[4..]);
    Ok(RemoteCluster {
        id,
        members: members.map_err(|_| "its answer is no list of members")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_peer_port_is_read_and_others_are_refused() {
        let read = |text: &str| parse(text.as_bytes());
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
}
