//! The registry of v3 discovery: keys below `/_etcd/registry/TOKEN`, accessed over gRPC through one of several endpoints.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Status};
use witan_api::{
    discovery::{REGISTRY, SIZE},
    v3::etcdserverpb::{
        PutRequest, RangeRequest, WatchCreateRequest, kv_client::KvClient,
        watch_client::WatchClient,
    },
};
use witan_client::{self as client, Session, TlsClient};
use witan_config::V3Discovery;

use super::{
    error::DiscoverError,
    registry::{self, Entry, Failure, Registration, RegistryState},
};

/// Maximum time to wait for a change. The registry is then read again, so that a vanished registry is detected.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Registry {
    settings: V3Discovery,
    tls: TlsClient,
    /// Index of the current endpoint, modulo the number of endpoints. A failure increments it.
    at: usize,
    session: Option<Session>,
}

impl Registry {
    /// Creates a registry without connecting.
    pub(super) fn new(settings: &V3Discovery) -> Result<Self, DiscoverError> {
        Ok(Self {
            tls: TlsClient::for_http2(&settings.client)?,
            settings: settings.clone(),
            at: 0,
            session: None,
        })
    }

    /// Returns the key of `below` in this cluster's part of the registry.
    fn key(&self, below: &str) -> String {
        format!("{REGISTRY}/{}/{below}", self.settings.token)
    }

    /// Returns the open session, or opens one with the current endpoint. After a failure, the next call tries the next
    /// endpoint.
    async fn session(&mut self) -> Result<Session, Failure> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let endpoints = &self.settings.endpoints;
        let endpoint = &endpoints[self.at % endpoints.len()];
        let opened = Session::open(endpoint, &self.settings.client, &self.tls).await;
        let session = opened.map_err(|status| self.failed(&status))?;
        Ok(self.session.insert(session).clone())
    }

    /// Waits for a response up to the request timeout. Converts a failure with [`Self::failed`].
    async fn in_time<T>(
        &mut self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        let answered = client::in_time(&self.settings.client, call).await;
        answered.map_err(|status| self.failed(&status))
    }

    /// Converts a gRPC status to a failure. Drops the session, so that the next request uses the next endpoint. If the
    /// registry refused the request, the failure is final; any other failure can be retried.
    fn failed(&mut self, status: &Status) -> Failure {
        (self.session, self.at) = (None, self.at + 1);
        let said = format!("{:?}: {}", status.code(), status.message());
        let is_final = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
        );
        match is_final {
            true => DiscoverError::Endpoint(said).into(),
            false => Failure::Retry(said),
        }
    }

    /// Returns the range of all registrations: the prefix of their keys, and the end of the range.
    fn members(&self) -> (String, String) {
        // `0` is the character after `/`.
        (self.key("members/"), self.key("members0"))
    }
}

impl registry::Registry for Registry {
    /// Reads the cluster size and all registrations. Fails if the size is missing or not a positive number.
    async fn read(&mut self) -> Result<RegistryState, Failure> {
        let session = self.session().await?;
        let mut kv = session.client(KvClient::with_origin);
        let size_key = self.key(SIZE);
        let range = RangeRequest { key: size_key.clone().into(), ..RangeRequest::default() };
        let found = self.in_time(kv.range(session.request(range))).await?;
        let Some(pair) = found.into_inner().kvs.pop() else {
            return Err(DiscoverError::SizeNotFound(size_key).into());
        };
        let text = String::from_utf8_lossy(&pair.value).into_owned();
        let size = text.parse().ok().filter(|size| *size > 0);
        let size = size.ok_or(DiscoverError::BadSize(text))?;
        let (prefix, range_end) = self.members();
        let range = RangeRequest {
            key: prefix.clone().into(),
            range_end: range_end.into(),
            ..RangeRequest::default()
        };
        let found = self.in_time(kv.range(session.request(range))).await?;
        let found = found.into_inner();
        let entries = found.kvs.into_iter().filter_map(|pair| {
            let id = pair.key.strip_prefix(prefix.as_bytes())?;
            Some(Entry {
                id: String::from_utf8_lossy(id).into_owned(),
                value: String::from_utf8_lossy(&pair.value).into_owned(),
                created: pair.create_revision.unsigned_abs(),
            })
        });
        let revision = found.header.map_or(0, |header| header.revision);
        Ok(RegistryState {
            size,
            entries: entries.collect(),
            index: revision.unsigned_abs(),
        })
    }

    /// Writes this member's registration. As in etcd 3.6, overwrites an earlier registration of the same id, because a
    /// restarted member writes the same value.
    async fn register(&mut self, own: &Registration) -> Result<(), Failure> {
        let session = self.session().await?;
        let put = PutRequest {
            key: self.key(&format!("members/{}", own.id)).into(),
            value: own.value.clone().into(),
            ..PutRequest::default()
        };
        let mut kv = session.client(KvClient::with_origin);
        self.in_time(kv.put(session.request(put))).await?;
        Ok(())
    }

    /// Watches the registrations after `since`. Completes at the first change, when the watch is canceled, or after
    /// [`WAIT_TIMEOUT`]. Fails if the stream ends.
    async fn wait(&mut self, since: &RegistryState) -> Result<(), Failure> {
        let session = self.session().await?;
        let (key, range_end) = self.members();
        let requests = client::single_watch_requests(WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: i64::try_from(since.index).unwrap_or(0).saturating_add(1),
            ..WatchCreateRequest::default()
        });
        let mut client = session.client(WatchClient::with_origin);
        let events = async {
            let mut answers = client.watch(session.request(requests)).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                // A compaction can cancel the watch. The next `read` reads the current state.
                if !answer.events.is_empty() || answer.canceled {
                    return Ok(());
                }
            }
            Err(Status::unavailable("the watch has ended"))
        };
        match timeout(WAIT_TIMEOUT, events).await {
            Ok(ended) => ended.map_err(|status| self.failed(&status)),
            Err(_) => Ok(()),
        }
    }
}
