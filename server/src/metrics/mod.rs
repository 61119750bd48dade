//! The only module that names metrics: etcd's names and types, on a registry of its own that is
//! passed down.
//!
//! Counters on request paths are resolved once, at start; state of the node or a view ([`Facts`])
//! is copied at each scrape. A series exists only if something feeds it.

mod applies;
mod calls;
mod clients;
mod facts;
mod handler;
mod names;
mod process;
mod register;
mod space;

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::{
    Encoder as _, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};
use witan_replica::machine::{
    Outcome, Reply,
    alarm::{Alarm, AlarmType},
    kv::{self, OpReply},
    lease, tree,
};

pub use applies::ApplyTally;
pub use calls::CallMetrics;
pub use clients::ClientRequests;
pub use facts::Facts;
pub use handler::PanicSource;
pub use process::resident_bytes;
use register::SeriesRegistry;
pub use space::SpaceFacts;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All series of this process. Clones share.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

/// The series that other modules feed.
pub struct Series {
    registry: Registry,
    calls: calls::CallSeries,
    clients: clients::ClientVersions,
    applies: applies::ApplySeries,
    scrapes: IntCounterVec,
    defrags_now: IntGauge,
    range: [Histogram; 2],
    http: [HttpSeries; HttpMethod::ALL.len()],
    http_failed: IntCounterVec,
    tree_writes: [(tree::Action, IntCounter); 6],
    refused: IntCounterVec,
    panics: IntCounterVec,
    tls_handshakes_failed: IntCounterVec,
    health_results: IntGaugeVec,
    health_checks: IntCounterVec,
    facts: FactSeries,

    /// Bytes of gRPC messages from clients.
    pub grpc_received_bytes: IntCounter,
    /// Bytes of gRPC messages to clients.
    pub grpc_sent_bytes: IntCounter,

    /// Changes of leader that this member saw, the first one included.
    pub leader_changes: IntCounter,
    /// Proposals that waited for their answer at the last look.
    pub proposals_pending: IntGauge,
    /// Proposals that got no answer.
    pub proposals_failed: IntCounter,
    /// Turns that took longer to apply than `--warning-apply-duration`.
    pub slow_apply: IntCounter,
    /// Checkpoints that could not be written; the log keeps what they would have held.
    pub checkpoint_failures: IntCounter,
    /// Linearizable reads that timed out.
    pub slow_read_indexes: IntCounter,
    /// Linearizable reads that were refused or lost.
    pub read_indexes_failed: IntCounter,
    /// Health questions answered with yes.
    pub health_success: IntCounter,
    /// Health questions answered with no.
    pub health_failures: IntCounter,

    /// Unix time at which the certificate of the client port ends, 0 without one.
    pub tls_expires: IntGauge,

    /// Seconds of each durable append to the raft log.
    pub wal_fsync: Histogram,
    /// Bytes handed to the raft log.
    pub wal_write_bytes: IntGauge,
    /// Seconds of each checkpoint that became durable.
    pub backend_commit: Histogram,

    /// Seconds of each defragmentation.
    pub defrag: Histogram,
    /// Seconds of each snapshot that was sent whole.
    pub snapshot: Histogram,
    /// Seconds of each hash of the whole store.
    pub hash: Histogram,
    /// Seconds of each hash of the key space.
    pub hash_rev: Histogram,

    /// Unix time of the last compaction of v3.
    pub compaction_last: IntGauge,
    /// v3 ranges served, also those inside transactions.
    pub kv_ranges: IntCounter,
    /// v3 puts applied.
    pub kv_puts: IntCounter,
    /// v3 deletions applied.
    pub kv_deletes: IntCounter,
    /// v3 transactions applied with more than one operation.
    pub kv_txns: IntCounter,

    /// Leases that began.
    pub leases_granted: IntCounter,
    /// Leases that were ended, also because their time was over.
    pub leases_revoked: IntCounter,
    /// Leases that this leader ended because their time was over.
    pub leases_expired: IntCounter,
    /// Keep-alives that this leader took.
    pub leases_renewed: IntCounter,
    /// Seconds of each lease that began.
    pub lease_ttls: Histogram,

    /// v3 watch streams open now.
    pub watch_streams: IntGauge,
    /// v3 watchers open now.
    pub watchers: IntGauge,
    /// v3 watchers that read what happened before they were created.
    pub slow_watchers: IntGauge,
    /// Events that were read for v3 watchers and not yet sent.
    pub pending_events: IntGauge,
    /// Events sent to v3 watchers.
    pub events: IntCounter,

    /// v2 reads of one node or directory.
    pub tree_gets: IntCounter,
    /// v2 recursive reads.
    pub tree_gets_recursive: IntCounter,
    /// v2 nodes whose time to live ended.
    pub tree_expires: IntCounter,
    /// v2 watches asked for.
    pub tree_watch_requests: IntCounter,
    /// v2 watchers waiting now.
    pub tree_watchers: IntGauge,
}

/// Series that are set from [`Facts`] at each scrape.
struct FactSeries {
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    quota_bytes: IntGauge,
    space: space::SpaceSeries,
    alarms: IntGaugeVec,
    id: IntGaugeVec,
    version: IntGaugeVec,
    cluster_version: IntGaugeVec,
    db_size: IntGauge,
    db_size_debugging: IntGauge,
    db_size_in_use: IntGauge,
    known_peers: IntGaugeVec,
    scrapes_now: IntGauge,
    keys: IntGauge,
    revision: IntGauge,
    compacted: IntGauge,
    fd_used: IntGauge,
    fd_limit: IntGauge,
    process: process::ProcessSeries,
    /// Aliases under etcd's old `etcd_debugging_` names, with their sources.
    debugging_aliases: Vec<(IntCounter, IntCounter)>,
}

struct HttpSeries {
    received: IntCounter,
    duration: Histogram,
}

/// The method label of the v2 series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// GET with `quorum=true`, which goes through consensus.
    QuorumGet,
    /// HEAD.
    Head,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl HttpMethod {
    const ALL: [Self; 6] = [
        Self::Get,
        Self::QuorumGet,
        Self::Head,
        Self::Put,
        Self::Post,
        Self::Delete,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::QuorumGet => "QGET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

impl Metrics {
    /// Registers all series on a registry of their own.
    pub fn new() -> Self {
        Self::with(false)
    }

    /// The same; with `extensive` calls are timed, too.
    pub fn with(extensive: bool) -> Self {
        let on = SeriesRegistry::new();
        let series = names::series(&on, extensive);
        for code in ["200", "500", "503"] {
            series.scrapes.with_label_values(&[code]);
        }
        for handler in PanicSource::ALL {
            series.panics.with_label_values(&[handler.label()]);
        }
        Self(Arc::new(Series {
            registry: on.registry,
            ..series
        }))
    }

    /// Counts what an applied entry did; the node calls it for each one.
    pub fn applied(&self, outcome: &Outcome) {
        match &outcome.reply {
            Reply::Kv(Ok(kv::KvReply::Compact)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                self.compaction_last
                    .set(gauge(now.unwrap_or_default().as_secs()));
            }
            Reply::Kv(Ok(kv::KvReply::Op(reply))) => self.kv_done(reply),
            Reply::Tree(Ok(tree::TreeReply::Event(event))) => {
                if let Some((_, writes)) = self.tree_writes.iter().find(|(a, _)| *a == event.action)
                {
                    writes.inc();
                }
            }
            Reply::Tree(Ok(tree::TreeReply::Expired(nodes))) => {
                self.tree_expires.inc_by(*nodes as u64)
            }
            Reply::Lease(Ok(reply)) => self.lease_done(reply),
            Reply::Kv(Err(_)) | Reply::Lease(Err(_)) | Reply::Tree(Err(_)) => {}
            Reply::Published
            | Reply::ClusterVersionSet
            | Reply::DowngradeSet
            | Reply::PeerUrlsSet(_)
            | Reply::Alarm(_)
            | Reply::Auth(_)
            | Reply::Nothing => {}
        }
    }

    fn lease_done(&self, reply: &lease::LeaseReply) {
        match reply {
            lease::LeaseReply::Granted(granted) => {
                self.leases_granted.inc();
                self.lease_ttls.observe(granted.ttl_s as f64);
            }
            lease::LeaseReply::Revoked => self.leases_revoked.inc(),
            lease::LeaseReply::Expired { ids } => self.leases_revoked.inc_by(ids.len() as u64),
            lease::LeaseReply::Checkpointed => {}
        }
    }

    fn kv_done(&self, reply: &OpReply) {
        let mut sum = [0; 3];
        tally(reply, &mut sum);
        self.kv_counted(sum);
    }

    /// Counts what a transaction of ranges alone did, which is not applied.
    pub fn kv_txn_read(&self, reply: &kv::TxnReply) {
        self.kv_counted([reply.replies.len() as u64, 0, 0]);
    }

    fn kv_counted(&self, sum: [u64; 3]) {
        let [ranges, puts, deletes] = sum;
        for (series, by) in [
            (&self.kv_ranges, ranges),
            (&self.kv_puts, puts),
            (&self.kv_deletes, deletes),
        ] {
            if by > 0 {
                series.inc_by(by);
            }
        }
        if ranges + puts + deletes > 1 {
            self.kv_txns.inc();
        }
    }

    /// Records the result of a check of a probe (`livez` or `readyz`).
    pub fn health_checked(&self, probe: &str, check: &str, well: bool) {
        let status = if well { "success" } else { "error" };
        self.health_results
            .with_label_values(&[probe, check])
            .set(well.into());
        self.health_checks
            .with_label_values(&[probe, check, status])
            .inc();
    }

    /// A client on a URL with TLS did not get further than the handshake.
    pub fn tls_handshake_failed(&self, reason: &str) {
        self.tls_handshakes_failed
            .with_label_values(&[reason])
            .inc();
    }

    /// A defragmentation is under way for as long as this lives.
    pub fn one_defrag(&self) -> impl Drop + use<> {
        register::InProgress::new(&self.defrags_now)
    }

    /// A v3 range took so long.
    pub fn ranged(&self, took: Duration, well: bool) {
        self.range[usize::from(!well)].observe(took.as_secs_f64());
    }

    /// The counters of clients that say they speak this version.
    pub fn client_requests(&self, version: Option<&[u8]>) -> ClientRequests {
        self.clients.version(version)
    }

    /// A tally for the thread that applies commands.
    pub fn apply_tally(&self) -> ApplyTally {
        self.applies.tally()
    }

    /// The handles of one gRPC method, if it is one of those that etcd has.
    pub fn call(&self, path: &str) -> Option<&Arc<CallMetrics>> {
        self.calls.get(path)
    }

    /// Whether any method of this gRPC service is known.
    pub fn knows_service(&self, service: &str) -> bool {
        self.calls.knows_service(service)
    }

    /// The counter of refusals because of a bound on bytes in flight.
    pub fn refused(&self, what: &str) -> IntCounter {
        self.refused.with_label_values(&[what])
    }

    /// A panic ended a request, or a connection.
    pub fn panicked(&self, handler: PanicSource) {
        self.panics.with_label_values(&[handler.label()]).inc();
    }

    /// A v2 request was read and understood.
    pub fn http_received(&self, method: HttpMethod) {
        self.http[method as usize].received.inc();
    }

    /// A v2 request other than a watch was answered.
    pub fn http_done(&self, method: HttpMethod, status: u16, took: Duration) {
        if status < 400 {
            self.http[method as usize]
                .duration
                .observe(took.as_secs_f64());
        } else {
            self.http_failed
                .with_label_values(&[method.label(), status.to_string().as_str()])
                .inc();
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self, facts: &Facts) -> String {
        self.facts.set(facts);
        let mut text = Vec::with_capacity(32 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to encode metrics");
        }
        self.scrapes.with_label_values(&["200"]).inc();
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Adds up the ranges, puts and deletions of a reply and of those inside it.
fn tally(reply: &OpReply, sum: &mut [u64; 3]) {
    match reply {
        OpReply::Range(_) => sum[0] += 1,
        OpReply::Put(_) => sum[1] += 1,
        OpReply::Delete(_) => sum[2] += 1,
        OpReply::Txn(txn) => txn.replies.iter().for_each(|(reply, _)| tally(reply, sum)),
    }
}

impl FactSeries {
    fn set(&self, facts: &Facts) {
        self.has_leader.set(facts.has_leader.into());
        self.is_leader.set(facts.is_leader.into());
        self.is_learner.set(facts.is_learner.into());
        self.committed.set(gauge(facts.committed));
        self.applied.set(gauge(facts.applied));
        self.quota_bytes.set(facts.quota_bytes.map_or(0, gauge));
        self.space.tell(&facts.space);
        self.alarms.reset();
        for alarm in &facts.alarms {
            let labels = [format!("{:x}", alarm.member), alarm_type(*alarm)];
            self.alarms.with_label_values(&labels).set(1);
        }
        self.id
            .with_label_values(&[format!("{:x}", facts.member_id).as_str()])
            .set(1);
        self.version
            .with_label_values(&[facts.server_version])
            .set(1);
        self.cluster_version.reset();
        if let Some((major_minor, _)) = facts.cluster_version.rsplit_once('.') {
            self.cluster_version
                .with_label_values(&[major_minor])
                .set(1);
        }
        self.db_size.set(gauge(facts.size_bytes));
        self.db_size_debugging.set(gauge(facts.size_bytes));
        self.db_size_in_use.set(gauge(facts.size_in_use_bytes));
        self.known_peers.reset();
        let own = format!("{:x}", facts.member_id);
        for member in &facts.members {
            let labels = [own.clone(), format!("{member:x}")];
            self.known_peers.with_label_values(&labels).set(1);
        }
        self.scrapes_now.set(1);
        self.keys.set(gauge(facts.keys as u64));
        self.revision.set(facts.revision);
        self.compacted.set(facts.compacted);
        let (used, limit) = file_descriptors();
        self.process.update((used, limit));
        self.fd_used.set(gauge(used));
        self.fd_limit.set(gauge(limit));
        for (source, twin) in &self.debugging_aliases {
            twin.inc_by(source.get().saturating_sub(twin.get()));
        }
    }
}

/// The name that etcd's label has.
fn alarm_type(alarm: Alarm) -> String {
    match AlarmType::try_from(alarm.kind) {
        Ok(AlarmType::None) => "NONE".into(),
        Ok(AlarmType::NoSpace) => "NOSPACE".into(),
        Ok(AlarmType::Corrupt) => "CORRUPT".into(),
        Err(_) => alarm.kind.to_string(),
    }
}

/// Gauges are signed; nothing we count comes near the difference.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// File descriptors in use, and how many this process may have.
pub fn file_descriptors() -> (u64, u64) {
    let used = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    (used, rlimit::Resource::NOFILE.get_soft().unwrap_or(0))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Metrics {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> OpReply {
        OpReply::Put(kv::PutReply::default())
    }

    #[test]
    fn renders_facts_and_counters() {
        let metrics = Metrics::new();
        metrics.http_received(HttpMethod::QuorumGet);
        metrics.http_done(HttpMethod::Put, 412, Duration::from_millis(1));
        metrics.http_done(HttpMethod::Put, 201, Duration::from_micros(600));
        metrics.applied(&Outcome {
            reply: Reply::Kv(Ok(kv::KvReply::Op(put()))),
            revision: 2,
        });
        let facts = Facts {
            member_id: 0x8e9e_05c5_2164_694d,
            has_leader: true,
            cluster_version: "3.6.0".into(),
            server_version: "3.6.16",
            revision: 7,
            ..Facts::default()
        };
        let text = metrics.render(&facts);
        for line in [
            r#"etcd_http_received_total{method="QGET"} 1"#,
            r#"etcd_http_failed_total{code="412",method="PUT"} 1"#,
            r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="0.0005"} 0"#,
            r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="0.001"} 1"#,
            r#"etcd_server_id{server_id="8e9e05c52164694d"} 1"#,
            r#"etcd_server_version{server_version="3.6.16"} 1"#,
            r#"etcd_cluster_version{cluster_version="3.6"} 1"#,
            r#"grpc_server_started_total{grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"} 0"#,
            "etcd_server_has_leader 1",
            "etcd_mvcc_put_total 1",
            "etcd_debugging_mvcc_put_total 1",
            "etcd_debugging_mvcc_current_revision 7",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "no line {line:?} in\n{text}"
            );
        }
    }

    #[test]
    fn a_scrape_counts_a_twin_only_once() {
        let metrics = Metrics::new();
        metrics.kv_ranges.inc();
        metrics.render(&Facts::default());
        let text = metrics.render(&Facts::default());
        assert!(
            text.contains("\netcd_debugging_mvcc_range_total 1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_transaction_counts_its_parts() {
        let metrics = Metrics::new();
        let txn = |replies| {
            OpReply::Txn(kv::TxnReply {
                succeeded: true,
                replies,
            })
        };
        let reply = txn(vec![(put(), 2), (txn(vec![(put(), 2)]), 2)]);
        metrics.applied(&Outcome {
            reply: Reply::Kv(Ok(kv::KvReply::Op(reply))),
            revision: 2,
        });
        assert_eq!((metrics.kv_puts.get(), metrics.kv_txns.get()), (2, 1));
    }
}
