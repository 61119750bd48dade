//! The calls to the source through one session with one of its members.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use witan_api::v3::etcdserverpb::{
    AlarmMember, AlarmRequest, AuthStatusRequest, CompactionRequest, HashKvRequest, HashKvResponse,
    LeaseLeasesRequest, LeaseTimeToLiveRequest, MemberListRequest, RangeRequest, ResponseHeader,
    SnapshotRequest, SnapshotResponse, WatchCreateRequest, WatchResponse,
    alarm_request::AlarmAction, auth_client::AuthClient, cluster_client::ClusterClient,
    kv_client::KvClient, lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    watch_client::WatchClient,
};
use witan_client::{ClientTlsError, Session, TlsClient, in_time, single_watch_requests};
use witan_config::FollowSource;
use witan_machine::{lease::LeaseId, member::MemberRegistry};
use witan_replica::limits::COMMAND_BYTES_MAX;

use super::fence::Fences;

/// Maximum size in bytes of a message of a watch, a snapshot or a list of leases; a longer message ends the session. etcd
/// splits watch messages at `--max-request-bytes`. A revision larger than a log entry cannot be copied.
const PART_BYTES_MAX: usize = 4 * COMMAND_BYTES_MAX;

/// Maximum time for which a stream may deliver nothing even though the source has more.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time until a member of the source sends the first part of a snapshot. A member of Witan first computes the sizes of
/// all records.
const FIRST_PART_TIMEOUT: Duration = Duration::from_secs(60);

/// All keys, as the key and range end of a request.
const ALL_KEYS: &[u8] = b"\0";

/// A failed call to a member of the source, or an unusable response.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {}", .status.message())]
pub struct SourceError {
    pub(super) endpoint: String,
    pub(super) status: Status,
}

/// The etcd cluster to follow.
pub struct Source {
    asked: FollowSource,
    tls: TlsClient,
    /// Index of the next endpoint to try.
    next: AtomicUsize,
}

impl Source {
    /// Reads the TLS files without connecting.
    pub fn new(asked: &FollowSource) -> Result<Self, ClientTlsError> {
        let tls = TlsClient::for_http2(&asked.client)?;
        Ok(Self { asked: asked.clone(), tls, next: AtomicUsize::new(0) })
    }

    /// Returns the client URLs of the source's members.
    pub fn endpoints(&self) -> &[String] {
        &self.asked.endpoints
    }

    /// Opens a session with the next endpoint. Successive calls use the endpoints in turn.
    pub(super) async fn open(&self) -> Result<SourceSession<'_>, SourceError> {
        let at = self.next.fetch_add(1, Relaxed) % self.asked.endpoints.len();
        let endpoint = &self.asked.endpoints[at];
        match Session::open(endpoint, &self.asked.client, &self.tls).await {
            Ok(session) => Ok(SourceSession { source: self, endpoint, session }),
            Err(status) => Err(SourceError { endpoint: endpoint.clone(), status }),
        }
    }
}

#[derive(Clone)]
pub(super) struct SourceSession<'a> {
    pub(super) source: &'a Source,
    pub(super) endpoint: &'a str,
    session: Session,
}

impl SourceSession<'_> {
    pub(super) fn error(&self, status: Status) -> SourceError {
        SourceError { endpoint: self.endpoint.to_owned(), status }
    }

    /// Waits for a call's response and returns its message. Fails after the request timeout.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, SourceError> {
        let answered = in_time(&self.source.asked.client, call).await;
        let answer = answered.map_err(|status| self.error(status))?;
        Ok(answer.into_inner())
    }

    /// Waits for the next message of a stream. Fails if none arrives within [`STALL_TIMEOUT`], because a member with a stuck
    /// stream may still answer pings.
    pub(super) async fn more<T>(&self, next: impl Future<Output = T>) -> Result<T, SourceError> {
        self.more_within(STALL_TIMEOUT, next).await
    }

    /// Like [`Self::more`], but fails if no message arrives within `time`.
    async fn more_within<T>(
        &self,
        time: Duration,
        next: impl Future<Output = T>,
    ) -> Result<T, SourceError> {
        let stalled = |_| {
            let text = format!(
                "a stream has delivered nothing for {time:?} even though the member has more; restart the member, or \
                 name other members with --from"
            );
            self.error(Status::deadline_exceeded(text))
        };
        timeout(time, next).await.map_err(stalled)
    }

    /// Returns the header of a linearizable read, with the cluster's id and last revision.
    pub(super) async fn read(&self) -> Result<ResponseHeader, SourceError> {
        let range = RangeRequest {
            key: ALL_KEYS.into(),
            count_only: true,
            ..RangeRequest::default()
        };
        let mut client = self.session.client(KvClient::with_origin);
        let answered = self
            .in_time(client.range(self.session.request(range)))
            .await?;
        answered.header.ok_or_else(|| self.no_header())
    }

    /// Opens a watch of all keys, starting at revision `from`.
    pub(super) async fn watch(&self, from: i64) -> Result<Streaming<WatchResponse>, SourceError> {
        let requests = single_watch_requests(WatchCreateRequest {
            key: ALL_KEYS.into(),
            range_end: ALL_KEYS.into(),
            start_revision: from,
            progress_notify: true,
            // Without fragments, one message can contain a thousand revisions of any size.
            fragment: true,
            ..WatchCreateRequest::default()
        });
        let client = self.session.client(WatchClient::with_origin);
        let mut client = client.max_decoding_message_size(PART_BYTES_MAX);
        self.in_time(client.watch(self.session.request(requests)))
            .await
    }

    /// Returns the hash of all keys at the member's revision. Has no timeout.
    pub(super) async fn hash(&self) -> Result<SourceHash, SourceError> {
        let mut client = self.session.client(MaintenanceClient::with_origin);
        let asked = client.hash_kv(self.session.request(HashKvRequest { revision: 0 }));
        let answered = asked.await.map_err(|status| self.error(status))?;
        let HashKvResponse { header, hash, compact_revision, hash_revision } =
            answered.into_inner();
        // Before etcd 3.6, only the header contains the revision.
        let revision = match hash_revision {
            0 => header.ok_or_else(|| self.no_header())?.revision,
            named => named,
        };
        Ok(SourceHash { revision, compacted: compact_revision, hash })
    }

    /// Returns the ids of all leases in ascending order.
    pub(super) async fn leases(&self) -> Result<Vec<LeaseId>, SourceError> {
        // A lease takes 12 bytes, so gRPC's default limit of 4 MiB would fail at 350,000 leases.
        let client = self.session.client(LeaseClient::with_origin);
        let mut client = client.max_decoding_message_size(PART_BYTES_MAX);
        let asked = client.lease_leases(self.session.request(LeaseLeasesRequest {}));
        let answered = self.in_time(asked).await?;
        let mut leases: Vec<LeaseId> = answered.leases.iter().map(|l| LeaseId(l.id)).collect();
        leases.sort_unstable();
        Ok(leases)
    }

    /// Returns the TTL in seconds with which a lease was granted, or `None` if the lease has ended. An overdue lease has not
    /// ended, because a new leader may renew it.
    pub(super) async fn granted_s(&self, lease: LeaseId) -> Result<Option<i64>, SourceError> {
        let mut client = self.session.client(LeaseClient::with_origin);
        let asked = LeaseTimeToLiveRequest { id: lease.0, keys: false };
        let asked = client.lease_time_to_live(self.session.request(asked));
        let answered = self.in_time(asked).await?;
        Ok((answered.granted_ttl > 0).then_some(answered.granted_ttl))
    }

    /// Returns the revision of users and roles, or `None` from etcd 3.4, which does not report it.
    pub(super) async fn auth_revision(&self) -> Result<Option<u64>, SourceError> {
        let mut client = self.session.client(AuthClient::with_origin);
        let asked = client.auth_status(self.session.request(AuthStatusRequest {}));
        match self.in_time(asked).await {
            Ok(answered) => Ok((answered.auth_revision > 0).then_some(answered.auth_revision)),
            Err(error) if error.status.code() == Code::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Requests a snapshot and returns the stream of its parts. A member responds when it has the first part.
    pub(super) async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, SourceError> {
        let client = self.session.client(MaintenanceClient::with_origin);
        let mut client = client.max_decoding_message_size(PART_BYTES_MAX);
        let call = client.snapshot(self.session.request(SnapshotRequest {}));
        let response = self.more_within(FIRST_PART_TIMEOUT, call).await?;
        let response = response.map_err(|status| self.error(status))?;
        Ok(response.into_inner())
    }

    /// Raises, disarms or lists alarms. Returns the alarms in the response, which the member sends after it has applied the
    /// request.
    pub(super) async fn alarm(
        &self,
        action: AlarmAction,
        alarm: AlarmMember,
    ) -> Result<Vec<AlarmMember>, SourceError> {
        let mut client = self.session.client(MaintenanceClient::with_origin);
        let AlarmMember { member_id, alarm } = alarm;
        let asked = AlarmRequest { action: action as i32, member_id, alarm };
        let asked = client.alarm(self.session.request(asked));
        Ok(self.in_time(asked).await?.alarms)
    }

    /// Returns the ids of the source's members, from a linearizable read.
    pub(super) async fn members(&self) -> Result<Vec<u64>, SourceError> {
        let mut client = self.session.client(ClusterClient::with_origin);
        let asked = MemberListRequest { linearizable: true };
        let asked = client.member_list(self.session.request(asked));
        let members = self.in_time(asked).await?.members;
        Ok(members.iter().map(|member| member.id).collect())
    }

    /// Returns the alarms, divided into this cluster's fences, other clusters' fences, and the members' CORRUPT alarms.
    pub(super) async fn fences(&self, recorded: &MemberRegistry) -> Result<Fences, SourceError> {
        let members = self.members().await?;
        let alarms = self.alarm(AlarmAction::Get, AlarmMember::default()).await?;
        Ok(Fences::of(alarms, &members, recorded))
    }

    /// Returns whether the member accepts writes. Requests a compaction to a future revision. Under the CORRUPT alarm, the
    /// compaction is refused as a write, otherwise because of its revision. Fails for any other refusal.
    pub(super) async fn takes_writes(&self) -> Result<bool, SourceError> {
        let mut client = self.session.client(KvClient::with_origin);
        let asked = CompactionRequest { revision: i64::MAX, physical: false };
        let asked = client.compact(self.session.request(asked));
        let Err(error) = self.in_time(asked).await else {
            return Ok(true);
        };
        let code = error.status.code();
        if code == Code::DataLoss || code == Code::OutOfRange {
            return Ok(code == Code::OutOfRange);
        }
        Err(error)
    }

    /// Returns the error for a response without a header, which etcd always sets.
    fn no_header(&self) -> SourceError {
        self.error(Status::internal("the response has no header"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceHash {
    /// The revision at which the keys were hashed.
    pub(super) revision: i64,
    /// The compacted revision, or -1 if there is none.
    pub(super) compacted: i64,
    pub(super) hash: u32,
}
