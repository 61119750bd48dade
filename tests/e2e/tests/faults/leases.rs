//! Clients that keep leases alive for a while. No lease may end before its acknowledged time, and every lease must end after
//! its last keep-alive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, kv_client::KvClient,
    lease_client::LeaseClient,
};
use witan_e2e::{linear::client::Choice, requests};

use crate::load::{CALL_TIMEOUT, Load, pace};

pub(crate) const PREFIX: &str = "leased/";
pub(crate) const PREFIX_END: &str = "leased0";

/// TTL of a lease in seconds. It is shorter than some faults.
const TTL_S: i64 = 3;

const INTERVAL: Duration = Duration::from_millis(400);
const KEEP_ALIVES: usize = 20;

pub(crate) struct Lease {
    id: i64,
    key: String,
    /// Time at which the last acknowledged grant or keep-alive was sent.
    renewed: Instant,
    ttl: Duration,
    attached: bool,
}

impl Lease {
    pub(crate) fn granted(id: i64, sent: Instant, ttl_s: i64) -> Self {
        let mut lease = Self {
            id,
            key: format!("{PREFIX}{id:x}"),
            renewed: sent,
            ttl: Duration::ZERO,
            attached: false,
        };
        lease.renew(sent, ttl_s);
        lease
    }

    pub(crate) fn renew(&mut self, sent: Instant, ttl_s: i64) {
        self.renewed = sent;
        self.ttl = Duration::from_secs(u64::try_from(ttl_s).unwrap_or_default());
    }

    /// Records a violation if the lease has ended too early.
    pub(crate) fn has_ended(&self, load: &Load, seen_by: &str) {
        let since = self.renewed.elapsed();
        if since < self.ttl {
            load.wrong(format!(
                "lease {:x} ended {since:?} after a renewal for {:?}, according to a {seen_by}",
                self.id, self.ttl
            ));
        }
    }
}

/// Grants leases one after the other and keeps each alive for a while. Returns their number.
pub(crate) async fn keep(load: Arc<Load>, mut at: usize, seed: u64) -> usize {
    let channels = load.channels();
    let mut choice = Choice(seed);
    let mut kept = 0;
    let mut pace = pace(INTERVAL);
    for number in 1.. {
        if load.is_stopped() {
            break;
        }
        pace.tick().await;
        let id = i64::try_from(seed << 32 | number).expect("seeds are small");
        let sent = Instant::now();
        let Some(granted) = grant(&channels[at % channels.len()], id).await else {
            at += 1;
            continue;
        };
        let mut lease = Lease::granted(id, sent, granted);
        for _ in 0..choice.below(KEEP_ALIVES) {
            pace.tick().await;
            if load.is_stopped() {
                break;
            }
            match step(&load, &channels[at % channels.len()], &mut lease).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => at += 1,
            }
        }
        kept += 1;
    }
    kept
}

async fn answered<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    let silence = |_| Status::deadline_exceeded("no answer");
    let answer = timeout(CALL_TIMEOUT, call).await.map_err(silence)??;
    Ok(answer.into_inner())
}

async fn grant(channel: &Channel, id: i64) -> Option<i64> {
    let request = LeaseGrantRequest { id, ttl: TTL_S };
    let mut leases = LeaseClient::new(channel.clone());
    let granted = answered(leases.lease_grant(request)).await.ok()?;
    Some(granted.ttl)
}

/// Renews the lease and reads its key. Returns whether the lease still exists.
async fn step(load: &Load, channel: &Channel, lease: &mut Lease) -> Result<bool, Status> {
    let sent = Instant::now();
    match keep_alive(channel, lease.id).await? {
        ttl_s if ttl_s > 0 => lease.renew(sent, ttl_s),
        _ => {
            lease.has_ended(load, "keep-alive");
            return Ok(false);
        }
    }
    let mut kv = KvClient::new(channel.clone());
    if lease.attached {
        let get = requests::range(lease.key.clone(), "");
        if answered(kv.range(get)).await?.kvs.is_empty() {
            lease.has_ended(load, "read");
            return Ok(false);
        }
        return Ok(true);
    }
    let put = PutRequest { lease: lease.id, ..requests::put(lease.key.clone(), "v") };
    match answered(kv.put(put)).await {
        Ok(_) => lease.attached = true,
        Err(status) if status.code() == Code::NotFound => {
            lease.has_ended(load, "put");
            return Ok(false);
        }
        Err(status) => return Err(status),
    }
    Ok(true)
}

/// Renews a lease. Returns its remaining time in seconds, or 0 if it has ended.
async fn keep_alive(channel: &Channel, id: i64) -> Result<i64, Status> {
    let request = futures_util::stream::iter([LeaseKeepAliveRequest { id }]);
    let mut leases = LeaseClient::new(channel.clone());
    let answer = async {
        let mut answers = leases.lease_keep_alive(request).await?.into_inner();
        let first = answers.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("the stream ended"))?;
        Ok(tonic::Response::new(first.ttl))
    };
    answered(answer).await
}
