//! Receives the changes of a cluster from one member through a watch on all keys. Separate reads return the last revision of
//! the cluster.

#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use tonic::{Status, Streaming, metadata::AsciiMetadataValue, transport::Channel};
use witan_api::{
    changes::GrantedLease,
    v3::{
        MESSAGE_BYTES_MAX,
        etcdserverpb::{
            LeaseTimeToLiveRequest, ResponseHeader, WatchCreateRequest, WatchRequest,
            WatchResponse, kv_client::KvClient, lease_client::LeaseClient,
            watch_client::WatchClient, watch_request::RequestUnion,
        },
    },
};
use witan_members::session::{request, within};

use crate::{
    members::{CALL_TIMEOUT, FIRST_KEY, Members, failed, first_key},
    reason::{BackupError, Reason},
};

/// Timeout for a member's answer while changes wait to be stored.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The TTL, in seconds, that is stored for a lease that ended before its TTL was read.
const ENDED_LEASE_S: i64 = 60;

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) endpoint: String,
    /// The result of the last [`Feed::read_head`].
    pub(super) head: ResponseHeader,
    watch: Streaming<WatchResponse>,
    kv: KvClient<Channel>,
    leases: LeaseClient<Channel>,
    token: Option<AsciiMetadataValue>,
}

impl Feed {
    /// Opens a watch on all keys at a member, starting at revision `from`.
    pub(super) async fn open(
        members: &Members,
        endpoint: &str,
        from: i64,
    ) -> Result<Self, BackupError> {
        let (channel, token) = members.session(endpoint).await?;
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: FIRST_KEY.into(),
                range_end: FIRST_KEY.into(),
                start_revision: from,
                // Without fragments, one message can contain a thousand revisions of any size.
                fragment: true,
                ..WatchCreateRequest::default()
            })),
        };
        // The watch ends when the request stream ends.
        let requests = stream::once(future::ready(create)).chain(stream::pending());
        let mut client =
            WatchClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let watch = within(CALL_TIMEOUT, client.watch(request(requests, token.clone()))).await;
        let watch = watch.map_err(|status| failed(endpoint, "watch all keys at", &status))?;
        tracing::info!(endpoint, from, "watching all keys");
        Ok(Self {
            endpoint: endpoint.to_owned(),
            head: ResponseHeader::default(),
            watch: watch.into_inner(),
            kv: KvClient::new(channel.clone()),
            leases: LeaseClient::new(channel),
            token,
        })
    }

    /// Waits for the next message. If the next revisions were compacted, `compact_revision` is the first revision that was not
    /// compacted. Fails if the watch ends or is canceled for another reason. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, BackupError> {
        let failed = |status: &Status| failed(&self.endpoint, "watch all keys at", status);
        match self.watch.message().await {
            Ok(Some(answer)) if answer.canceled && answer.compact_revision == 0 => {
                let (endpoint, why) = (&self.endpoint, &answer.cancel_reason);
                let message = format!("{endpoint} ended the watch on all keys: {why}");
                Err(BackupError::new(Reason::SourceRefused, message))
            }
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(failed(&Status::unavailable("the watch has ended"))),
            Err(status) => Err(failed(&status)),
        }
    }

    /// Reads the cluster's id, last revision and term from this feed's member. The read is linearizable, so a partitioned
    /// member cannot answer.
    pub(super) async fn read_head(&mut self) -> Result<ResponseHeader, BackupError> {
        let call = self.kv.range(request(first_key(), self.token.clone()));
        let answer = within(ANSWER_TIMEOUT, call).await;
        let answer = answer.map_err(|status| failed(&self.endpoint, "read a key of", &status))?;
        self.head = answer.into_inner().header.unwrap_or_default();
        Ok(self.head)
    }

    /// Reads the granted TTLs of leases. After a failed call or [`ANSWER_TIMEOUT`], omits the remaining leases. The TTL of a
    /// lease that has ended is [`ENDED_LEASE_S`].
    pub(super) async fn granted(&mut self, leases: &[i64]) -> Vec<GrantedLease> {
        let mut granted = Vec::new();
        let calls = async {
            for id in leases.iter().copied() {
                let body = LeaseTimeToLiveRequest { id, keys: false };
                let body = request(body, self.token.clone());
                let answer = self.leases.lease_time_to_live(body).await?;
                let ttl_s = answer.into_inner().granted_ttl;
                // The lease has ended, and the deletion of its keys follows.
                let ttl_s = if ttl_s > 0 { ttl_s } else { ENDED_LEASE_S };
                granted.push(GrantedLease { id, ttl_s });
            }
            Ok(())
        };
        if let Err(error) = within(ANSWER_TIMEOUT, calls).await {
            let endpoint = &self.endpoint;
            tracing::warn!(
                endpoint,
                error = error.message(),
                "failed to read some leases"
            );
        }
        granted
    }
}
