//! The calls to the followed cluster, over one session with one of its members.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tonic::{Code, Status, Streaming};
use witan_api::v3::{
    MESSAGE_BYTES_MAX,
    etcdserverpb::{
        AlarmRequest, AlarmResponse, AlarmType, AuthStatusRequest, HashKvRequest, HashKvResponse,
        LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, ResponseHeader, SnapshotRequest,
        SnapshotResponse, WatchCreateRequest, WatchResponse, alarm_request::AlarmAction,
        auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, watch_client::WatchClient,
    },
};
use witan_config::FollowSource;
use witan_machine::lease::LeaseId;

use crate::api_client::{
    Session, in_time, one_watch,
    tls::{ClientTlsError, TlsClient},
};

/// As key and range end of a request: all keys.
const ALL_KEYS: &[u8] = b"\0";

/// The cluster of etcd that this one follows.
pub(crate) struct Source {
    asked: FollowSource,
    tls: TlsClient,
    /// The endpoint that is tried next.
    next: AtomicUsize,
}

impl Source {
    /// Reads the TLS files; nothing is connected yet.
    pub(crate) fn new(asked: &FollowSource) -> Result<Self, ClientTlsError> {
        let tls = TlsClient::of_flags(&asked.client)?;
        Ok(Self { asked: asked.clone(), tls, next: AtomicUsize::new(0) })
    }

    /// The client URLs of its members.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.asked.endpoints
    }

    /// Opens a session with the next member.
    pub(super) async fn open(&self) -> Result<SourceSession<'_>, Status> {
        let at = self.next.fetch_add(1, Relaxed) % self.asked.endpoints.len();
        let endpoint = &self.asked.endpoints[at];
        let session = Session::open(endpoint, &self.asked.client, &self.tls).await?;
        Ok(SourceSession { source: self, endpoint, session })
    }
}

/// A session with a member.
#[derive(Clone)]
pub(super) struct SourceSession<'a> {
    pub(super) source: &'a Source,
    pub(super) endpoint: &'a str,
    session: Session,
}

impl SourceSession<'_> {
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        let answered = in_time(&self.source.asked.client, call).await;
        answered.map(tonic::Response::into_inner)
    }

    /// The header of a linearizable read, with the last revision of the cluster and its id.
    pub(super) async fn read(&self) -> Result<ResponseHeader, Status> {
        let range = RangeRequest {
            key: ALL_KEYS.into(),
            count_only: true,
            ..RangeRequest::default()
        };
        let mut client = self.session.client(KvClient::with_origin);
        let answered = self
            .in_time(client.range(self.session.request(range)))
            .await?;
        answered.header.ok_or_else(no_header)
    }

    /// Watches all keys from a revision on.
    pub(super) async fn watch(&self, from: i64) -> Result<Streaming<WatchResponse>, Status> {
        let requests = one_watch(WatchCreateRequest {
            key: ALL_KEYS.into(),
            range_end: ALL_KEYS.into(),
            start_revision: from,
            progress_notify: true,
            // else one message may hold a thousand revisions, however large
            fragment: true,
            ..WatchCreateRequest::default()
        });
        let client = self.session.client(WatchClient::with_origin);
        let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.in_time(client.watch(self.session.request(requests)))
            .await
    }

    /// The hash of all keys at the member's revision, with that revision and the compacted one.
    pub(super) async fn hash(&self) -> Result<SourceHash, Status> {
        let mut client = self.session.client(MaintenanceClient::with_origin);
        // the member reads all keys: there is no timeout
        let asked = client.hash_kv(self.session.request(HashKvRequest { revision: 0 }));
        let HashKvResponse { header, hash, compact_revision, hash_revision } =
            asked.await?.into_inner();
        // before 3.6 the header says what was hashed
        let revision = match hash_revision {
            0 => header.ok_or_else(no_header)?.revision,
            named => named,
        };
        Ok(SourceHash { revision, compacted: compact_revision, hash })
    }

    /// All leases, in ascending order.
    pub(super) async fn leases(&self) -> Result<Vec<LeaseId>, Status> {
        let mut client = self.session.client(LeaseClient::with_origin);
        let asked = client.lease_leases(self.session.request(LeaseLeasesRequest {}));
        let answered = self.in_time(asked).await?;
        let mut leases: Vec<LeaseId> = answered.leases.iter().map(|l| LeaseId(l.id)).collect();
        leases.sort_unstable();
        Ok(leases)
    }

    /// The seconds for which a lease was granted; `None` if it has ended. One that is late is not over: a new leader gives
    /// it time again.
    pub(super) async fn granted_s(&self, lease: LeaseId) -> Result<Option<i64>, Status> {
        let mut client = self.session.client(LeaseClient::with_origin);
        let asked = LeaseTimeToLiveRequest { id: lease.0, keys: false };
        let asked = client.lease_time_to_live(self.session.request(asked));
        let answered = self.in_time(asked).await?;
        Ok((answered.granted_ttl > 0).then_some(answered.granted_ttl))
    }

    /// The revision of users and roles, which etcd 3.4 does not tell.
    pub(super) async fn auth_revision(&self) -> Result<Option<u64>, Status> {
        let mut client = self.session.client(AuthClient::with_origin);
        let asked = client.auth_status(self.session.request(AuthStatusRequest {}));
        match self.in_time(asked).await {
            Ok(answered) => Ok((answered.auth_revision > 0).then_some(answered.auth_revision)),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// A snapshot of the member, part by part.
    pub(super) async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, Status> {
        let client = self.session.client(MaintenanceClient::with_origin);
        let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.in_time(client.snapshot(self.session.request(SnapshotRequest {})))
            .await
    }

    /// Raises alarms that make the cluster refuse writes of keys and leases. Returns when the asked member has applied
    /// them.
    ///
    /// CORRUPT alone would do, but before 3.6 an alarm NOSPACE that is raised later takes its place, so that deletions are
    /// taken again. The second NOSPACE of a cluster changes nothing: the first one is raised here.
    pub(super) async fn fence(&self) -> Result<(), Status> {
        for alarm in [AlarmType::Nospace, AlarmType::Corrupt] {
            self.alarm(AlarmAction::Activate, alarm).await?;
        }
        Ok(())
    }

    /// Lowers these alarms: the cluster takes writes again.
    pub(super) async fn lift_fence(&self) -> Result<(), Status> {
        for alarm in [AlarmType::Corrupt, AlarmType::Nospace] {
            self.alarm(AlarmAction::Deactivate, alarm).await?;
        }
        Ok(())
    }

    /// Whether an alarm of [`Self::fence`] is raised.
    pub(super) async fn is_fenced(&self) -> Result<bool, Status> {
        let alarms = self.alarm(AlarmAction::Get, AlarmType::None).await?.alarms;
        Ok(alarms.iter().any(|alarm| alarm.member_id == FENCE))
    }

    async fn alarm(&self, action: AlarmAction, alarm: AlarmType) -> Result<AlarmResponse, Status> {
        let mut client = self.session.client(MaintenanceClient::with_origin);
        let member_id = if action == AlarmAction::Get { 0 } else { FENCE };
        let asked = AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 };
        let asked = client.alarm(self.session.request(asked));
        self.in_time(asked).await
    }
}

/// The id of the member that the alarms of the fence name: none has it, so that an alarm of etcd's own is another one.
const FENCE: u64 = 0x57_6974_616e;

fn no_header() -> Status {
    Status::internal("the answer has no header")
}

/// The hash of a source's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceHash {
    /// At this revision.
    pub(super) revision: i64,
    /// The compacted revision, -1 for none.
    pub(super) compacted: i64,
    pub(super) hash: u32,
}
