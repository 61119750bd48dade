//! Implements [`Source`] over gRPC, with etcd's Maintenance service. A revision's digest is computed from the changes that a
//! watch returns.

use std::{future::poll_fn, time::Duration};

use futures_util::{StreamExt as _, stream, stream::FuturesUnordered};
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;
use tonic::{Status, Streaming, body::Body, client::GrpcService, transport::Channel};
use witan_api::{
    backup::KeysHash,
    v3::etcdserverpb::{
        HashKvRequest, SnapshotRequest, SnapshotResponse, StatusRequest, kv_client::KvClient,
        maintenance_client::MaintenanceClient,
    },
};
use witan_members::{
    RunningRelease,
    page::PAGE_BYTES_MAX,
    session::{request, within},
};

use crate::{
    changes::history,
    digest::DIGEST_BYTES,
    members::{CALL_TIMEOUT, Members, failed, first_key, reason_text},
    reason::{BackupError, Reason},
    source::{Report, Snapshot, Source},
};

/// Timeout for a hash, in addition to the time for the keys and values.
const HASH_TIMEOUT: Duration = Duration::from_secs(60);
/// Minimum rate in bytes per second at which a member hashes its data. Values that do not fit in its memory come from the disk.
/// The keep-alive of the connection detects a member that no longer runs.
const HASH_BYTES_PER_SECOND: u64 = 16 << 20;
/// Maximum time for a member to prepare a snapshot and send the first piece.
const FIRST_PIECE_TIMEOUT: Duration = Duration::from_secs(180);
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

impl Source for Members {
    async fn revision_digest(&self, member: &Report) -> Result<Option<String>, BackupError> {
        match member.revision {
            ..=1 => Ok(None),
            revision => history::read_one(self, &member.endpoint, revision).await,
        }
    }

    async fn survey(&self) -> Vec<Result<Report, BackupError>> {
        let members = self.members.iter();
        let reports = members.map(|(endpoint, _)| status(self, endpoint));
        reports.collect::<FuturesUnordered<_>>().collect().await
    }

    async fn snapshot(&self, endpoint: &str) -> Result<Snapshot, BackupError> {
        let (channel, token) = self.session(endpoint).await?;
        let mut client = MaintenanceClient::new(channel);
        let refused = |status: Status| failed(endpoint, "get a snapshot of", &status);
        let call = client.snapshot(request(SnapshotRequest {}, token));
        let mut stream = within(FIRST_PIECE_TIMEOUT, call)
            .await
            .map_err(refused)?
            .into_inner();
        let first = within(FIRST_PIECE_TIMEOUT, stream.message())
            .await
            .map_err(refused)?;
        let first = first.unwrap_or_default();
        // `remaining_bytes` does not include the digest.
        let total = first.blob.len() as u64 + first.remaining_bytes + DIGEST_BYTES as u64;
        let endpoint = endpoint.to_owned();
        let rest = stream::try_unfold(stream, move |stream| next(endpoint.clone(), stream));
        let pieces = stream::iter([Ok(first.blob)]).chain(rest).boxed();
        Ok(Snapshot { total, pieces })
    }

    async fn keys_hash(&self, member: &Report) -> Result<KeysHash, BackupError> {
        let Report { endpoint, revision, .. } = member;
        let (channel, token) = self.session(endpoint).await?;
        let mut client = MaintenanceClient::new(channel);
        let call = client.hash_kv(request(HashKvRequest { revision: *revision }, token));
        let answer = within(hash_timeout(member), call).await;
        let answer =
            answer.map_err(|status| failed(endpoint, "get a hash of the key space of", &status))?;
        let answer = answer.into_inner();
        Ok(KeysHash { hash: answer.hash, compact_revision: answer.compact_revision })
    }
}

/// Returns the timeout for hashing the keys and values of the member.
fn hash_timeout(member: &Report) -> Duration {
    HASH_TIMEOUT + Duration::from_secs(member.db_bytes / HASH_BYTES_PER_SECOND)
}

/// Reads the next piece of a snapshot; `None` at the end. Fails with `SnapshotBroken` if the stream breaks or stalls.
async fn next(
    endpoint: String,
    mut stream: Streaming<SnapshotResponse>,
) -> Result<Option<(bytes::Bytes, Streaming<SnapshotResponse>)>, BackupError> {
    match within(PIECE_TIMEOUT, stream.message()).await {
        Ok(piece) => Ok(piece.map(|piece| (piece.blob, stream))),
        Err(status) => {
            let why = reason_text(&status);
            let message = format!("{endpoint}: the snapshot ended early: {why}");
            Err(BackupError::new(Reason::SnapshotBroken, message))
        }
    }
}

/// Queries a member's status and release. If the CORRUPT alarm is raised, or if the member is a voter and does not answer a
/// linearizable read, `cut_off` contains the reason. Fails if the status cannot be read.
async fn status(members: &Members, endpoint: &str) -> Result<Report, BackupError> {
    let (channel, token) = members.session(endpoint).await?;
    let mut client = MaintenanceClient::new(channel.clone());
    let call = client.status(request(StatusRequest {}, token.clone()));
    let status = within(CALL_TIMEOUT, call).await;
    let status = status.map_err(|status| failed(endpoint, "get the status of", &status))?;
    let status = status.into_inner();
    let header = status.header.unwrap_or_default();
    let cut_off = match corruption(&status.errors, header.member_id) {
        None if !status.is_learner => {
            // A member without a quorum cannot answer this read.
            let mut client = KvClient::new(channel.clone());
            let answer = within(CALL_TIMEOUT, client.range(request(first_key(), token))).await;
            answer.err().map(|status| {
                let error = failed(endpoint, "read a key of", &status);
                format!(
                    "the backup can lack acknowledged writes, because the member did not answer a linearizable read: {error}"
                )
            })
        }
        corrupt => corrupt,
    };
    let running = timeout(CALL_TIMEOUT, running(channel)).await;
    Ok(Report {
        endpoint: endpoint.to_owned(),
        is_leader: status.leader == header.member_id,
        is_learner: status.is_learner,
        cluster_id: header.cluster_id,
        revision: header.revision,
        applied: status.raft_applied_index,
        db_bytes: u64::try_from(status.db_size).unwrap_or_default(),
        version: status.version,
        running: running.ok().flatten().unwrap_or_default(),
        cut_off,
    })
}

/// Returns why the CORRUPT alarm makes a snapshot of `member` doubtful. Returns `None` if the alarm is raised neither for the
/// member nor for the whole cluster (id 0). `errors` is from the member's status. It lists an alarm as `memberID:ID
/// alarm:TYPE`, without `memberID` for id 0, and with any number of spaces.
fn corruption(errors: &[String], member: u64) -> Option<String> {
    let id_of_alarm = |error: &String| {
        let words: Vec<_> = error
            .split([':', ' '])
            .filter(|word| !word.is_empty())
            .collect();
        match words[..] {
            ["alarm", "CORRUPT"] => Some(0),
            ["memberID", id, "alarm", "CORRUPT"] => id.parse().ok(),
            _ => None,
        }
    };
    let mut ids = errors.iter().filter_map(id_of_alarm);
    let of = match ids.find(|id| [0, member].contains(id))? {
        0 => "whole cluster",
        _ => "member",
    };
    Some(format!(
        "the backup can have wrong keys, because the CORRUPT alarm is raised for the {of}; restore an earlier backup, or \
         compare the members first"
    ))
}

/// Reads a member's release and feature levels from `/version`, which needs no user. Returns `None` if the page cannot be read
/// or parsed. etcd without TLS serves only gRPC over HTTP/2, and a backup does not depend on the page.
async fn running(mut channel: Channel) -> Option<RunningRelease> {
    let page = Request::get("/version").body(Body::empty()).ok()?;
    poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx))
        .await
        .ok()?;
    let answer = GrpcService::<Body>::call(&mut channel, page).await.ok()?;
    let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX);
    let body = body.collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::report;

    /// With more data than memory, a member reads all values from its disk before it answers.
    #[test]
    fn a_member_with_much_data_may_take_longer() {
        let seconds = |gib: u64| {
            let member = Report { db_bytes: gib << 30, ..report("a") };
            hash_timeout(&member).as_secs()
        };
        assert_eq!([0, 1, 24].map(seconds), [60, 124, 1596]);
    }

    /// Witan and several releases of etcd send these messages.
    #[test]
    fn an_alarm_of_the_member_or_of_the_cluster_makes_its_snapshot_doubtful() {
        for (error, raised_for) in [
            ("memberID:7 alarm:CORRUPT", Some("the member;")),
            ("memberID:7 alarm:CORRUPT ", Some("the member;")),
            ("memberID:7  alarm:CORRUPT", Some("the member;")),
            ("alarm:CORRUPT", Some("the whole cluster;")),
            ("memberID:0 alarm:CORRUPT", Some("the whole cluster;")),
            ("memberID:8 alarm:CORRUPT", None),
            ("memberID:7 alarm:NOSPACE", None),
            ("alarm:NOSPACE", None),
            ("etcdserver: no leader", None),
        ] {
            let errors = ["etcdserver: no leader".to_owned(), error.to_owned()];
            let why = corruption(&errors, 7);
            assert_eq!(why.is_some(), raised_for.is_some(), "{error:?}: {why:?}");
            let why = why.unwrap_or_default();
            assert!(why.contains(raised_for.unwrap_or_default()), "{why}");
        }
    }
}
