//! `Source` over gRPC, with etcd's services Maintenance and Auth.

use std::{fs, path::Path, time::Duration};

use futures_util::{StreamExt as _, stream, stream::FuturesUnordered};
use tonic::{
    Code, Status, Streaming,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use witan_api::v3::etcdserverpb::{
    HashKvRequest, SnapshotRequest, SnapshotResponse, StatusRequest,
    maintenance_client::MaintenanceClient,
};
use witan_members::{
    KeysHash, Login,
    session::{LoggedIn, log_in, request, within},
};

use crate::{
    changes::history,
    command::ClientFlags,
    digest::DIGEST_BYTES,
    http::system_authorities,
    reason::{BackupError, Reason},
    source::{Report, Snapshot, Source},
    store_error::innermost,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member may take to hash all its keys.
const HASH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a member may take to prepare a snapshot and send the first piece.
const FIRST_PIECE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a member may take to send the next piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often an idle connection is pinged, and how long the answer may take. etcd refuses pings more often than every 5 s.
const PROBE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(20));
/// The flow-control window of a stream. A piece has 32 KiB.
pub(crate) const WINDOW_BYTES: u32 = 1 << 20;
/// The flow-control window of a connection: the largest of HTTP/2, so that an unread watch does not block other answers. Each
/// of the few streams is still limited to [`WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Members by URL.
#[derive(Debug)]
pub(crate) struct Members {
    members: Vec<(String, Channel)>,
    login: Option<Login>,
    flags: ClientFlags,
}

impl Members {
    /// Reads the files of the flags. The first call connects.
    pub(crate) fn new(endpoints: &[String], flags: &ClientFlags) -> Result<Self, BackupError> {
        Self::of(endpoints.iter(), flags)
    }

    /// Returns the same members with new connections. An address can belong to a service, which only chooses another member
    /// for a new connection. Rereads the files, because certificates and the password can change while the process runs.
    pub(crate) fn reconnected(&self) -> Result<Self, BackupError> {
        Self::of(self.members.iter().map(|(url, _)| url), &self.flags)
    }

    fn of<'a>(
        endpoints: impl Iterator<Item = &'a String>,
        flags: &ClientFlags,
    ) -> Result<Self, BackupError> {
        let members = channels(endpoints, &tls(flags)?)?;
        let login = match (&flags.user, &flags.password_file) {
            (Some(name), Some(file)) => {
                let password =
                    String::from_utf8_lossy(&read("--password-file", file)?).into_owned();
                let password = password.trim_end_matches(['\r', '\n']).to_owned();
                Some(Login { user: name.clone(), password })
            }
            _ => None,
        };
        Ok(Self { members, login, flags: flags.clone() })
    }

    pub(crate) fn channel(&self, endpoint: &str) -> Result<&Channel, BackupError> {
        let known = self.members.iter().find(|(url, _)| url == endpoint);
        let known = known.map(|(_, channel)| channel);
        known.ok_or_else(|| BackupError::internal(format!("{endpoint} is not in --endpoints")))
    }

    /// Returns the user's token at a member; `None` without a user, or if authentication is off.
    pub(crate) async fn token(
        &self,
        endpoint: &str,
        channel: &Channel,
    ) -> Result<Option<AsciiMetadataValue>, BackupError> {
        let Some(login) = self.login.clone() else {
            return Ok(None);
        };
        let has_certificate = self.flags.cert.is_some();
        let session = log_in(channel, login, has_certificate, CALL_TIMEOUT).await;
        match session.map_err(|status| failed(endpoint, "authenticate at", &status))? {
            LoggedIn::User(token) => Ok(token),
            LoggedIn::Nobody => Ok(None),
            LoggedIn::Certificate(refusal) => {
                tracing::warn!(
                    endpoint,
                    error = refusal.message(),
                    "continuing with only the client certificate"
                );
                Ok(None)
            }
        }
    }

    /// Returns the client of the service Maintenance at a member, and the token for its calls.
    async fn maintenance(
        &self,
        endpoint: &str,
    ) -> Result<(MaintenanceClient<Channel>, Option<AsciiMetadataValue>), BackupError> {
        let channel = self.channel(endpoint)?;
        let token = self.token(endpoint, channel).await?;
        Ok((MaintenanceClient::new(channel.clone()), token))
    }

    async fn status(&self, endpoint: &str) -> Result<Report, BackupError> {
        let (mut client, token) = self.maintenance(endpoint).await?;
        let asked = client.status(request(StatusRequest {}, token));
        let status = within(CALL_TIMEOUT, asked).await;
        let status = status.map_err(|status| failed(endpoint, "get the status of", &status))?;
        let status = status.into_inner();
        let header = status.header.unwrap_or_default();
        Ok(Report {
            endpoint: endpoint.to_owned(),
            is_leader: status.leader == header.member_id,
            is_learner: status.is_learner,
            cluster_id: header.cluster_id,
            revision: header.revision,
            applied: status.raft_applied_index,
            version: status.version,
        })
    }
}

impl Source for Members {
    async fn revision_digest(&self, member: &Report) -> Result<Option<String>, BackupError> {
        let revision = member.revision;
        if revision <= 1 {
            return Ok(None);
        }
        let read = history::read(self, &member.endpoint, (revision, revision)).await?;
        let first = read.and_then(|digests| digests.into_iter().next());
        let found = first.filter(|found| found.revision == revision);
        Ok(found.map(|found| found.digest))
    }

    async fn survey(&self) -> Vec<Result<Report, BackupError>> {
        let asked: FuturesUnordered<_> = self
            .members
            .iter()
            .map(|(endpoint, _)| self.status(endpoint))
            .collect();
        asked.collect().await
    }

    async fn snapshot(&self, endpoint: &str) -> Result<Snapshot, BackupError> {
        let (mut client, token) = self.maintenance(endpoint).await?;
        let refused = |status: Status| failed(endpoint, "get a snapshot of", &status);
        let asked = client.snapshot(request(SnapshotRequest {}, token));
        let mut stream = within(FIRST_PIECE_TIMEOUT, asked)
            .await
            .map_err(refused)?
            .into_inner();
        let first = within(FIRST_PIECE_TIMEOUT, stream.message())
            .await
            .map_err(refused)?;
        let first = first.unwrap_or_default();
        // `remaining_bytes` does not include the digest
        let total = first.blob.len() as u64 + first.remaining_bytes + DIGEST_BYTES as u64;
        let endpoint = endpoint.to_owned();
        let rest = stream::try_unfold(stream, move |stream| next(endpoint.clone(), stream));
        let pieces = stream::iter([Ok(first.blob)]).chain(rest).boxed();
        Ok(Snapshot { total, pieces })
    }

    async fn keys_hash(&self, endpoint: &str, revision: i64) -> Result<KeysHash, BackupError> {
        let (mut client, token) = self.maintenance(endpoint).await?;
        let asked = client.hash_kv(request(HashKvRequest { revision }, token));
        let answer = within(HASH_TIMEOUT, asked).await;
        let answer =
            answer.map_err(|status| failed(endpoint, "get a hash of the key space of", &status))?;
        let answer = answer.into_inner();
        Ok(KeysHash { hash: answer.hash, compact_revision: answer.compact_revision })
    }
}

/// Waits for the next piece of a snapshot; `None` at the end of the stream.
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

/// Reads the file of a flag.
pub(crate) fn read(flag: &str, file: &Path) -> Result<Vec<u8>, BackupError> {
    let failed = |error| BackupError::internal(format!("{flag} {}: {error}", file.display()));
    fs::read(file).map_err(failed)
}

fn tls(flags: &ClientFlags) -> Result<ClientTlsConfig, BackupError> {
    let mut tls = match &flags.cacert {
        Some(file) => {
            let authorities = Certificate::from_pem(read("--cacert", file)?);
            ClientTlsConfig::new().ca_certificate(authorities)
        }
        None => ClientTlsConfig::new().trust_anchors(system_authorities().roots),
    };
    if let (Some(certificate), Some(key)) = (&flags.cert, &flags.key) {
        let pair = Identity::from_pem(read("--cert", certificate)?, read("--key", key)?);
        tls = tls.identity(pair);
    }
    Ok(tls)
}

fn channels<'a>(
    urls: impl Iterator<Item = &'a String>,
    tls: &ClientTlsConfig,
) -> Result<Vec<(String, Channel)>, BackupError> {
    let channels = urls.map(|url| {
        let channel = channel(url, tls).map_err(|error| {
            BackupError::internal(format!("--endpoints {url}: {}", innermost(&error)))
        })?;
        Ok((url.clone(), channel))
    });
    channels.collect()
}

/// Returns a channel that connects at its first call: with TLS for an `https` URL, else in clear text.
fn channel(url: &str, tls: &ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let endpoint = Endpoint::from_shared(url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PROBE.0)
        .keep_alive_timeout(PROBE.1)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let is_tls = endpoint.uri().scheme_str() == Some("https");
    let endpoint = if is_tls {
        endpoint.tls_config(tls.clone())?
    } else {
        endpoint
    };
    Ok(endpoint.connect_lazy())
}

/// Converts a failed call to an error: the member refused, or did not answer.
pub(crate) fn failed(endpoint: &str, verb: &str, status: &Status) -> BackupError {
    let reason = match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Unimplemented => Reason::SourceRefused,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Reason::SourceUnreachable,
    };
    BackupError::new(
        reason,
        format!("{verb} {endpoint}: {}", reason_text(status)),
    )
}

/// Returns the cause of a call without an answer, or the message of the member's refusal.
fn reason_text(status: &Status) -> String {
    if std::error::Error::source(status).is_some() {
        innermost(status)
    } else {
        status.message().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestFolder;

    #[tokio::test]
    async fn new_connections_use_the_password_that_the_file_has_now() {
        let folder = TestFolder::new("password");
        let file = folder.path().join("password");
        let flags = ClientFlags {
            user: Some("root".to_owned()),
            password_file: Some(file.clone()),
            ..ClientFlags::default()
        };
        let password = |members: &Members| members.login.clone().map(|login| login.password);
        fs::write(&file, "first\n").unwrap();
        let first = Members::new(&["http://127.0.0.1:1".to_owned()], &flags).unwrap();
        fs::write(&file, "second\n").unwrap();
        let second = first.reconnected().unwrap();
        assert_eq!(password(&first).as_deref(), Some("first"));
        assert_eq!(password(&second).as_deref(), Some("second"));
        assert_eq!(second.members[0].0, "http://127.0.0.1:1");
    }
}
