//! The node's metrics: raft, the effects of commands (`counts`, `request_durations`), and the contents of a view at each
//! scrape.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use prometheus::{Histogram, HistogramVec, IntCounter, IntGauge, IntGaugeVec};
use witan_base::metrics::{Register, gauge};
use witan_machine::{alarm::AlarmType, levels, member::MemberId, view::View};
use witan_replica::replica::Role;

use super::{Node, labeled_gauges::LabeledGauges, request_durations::RequestDurations};

/// The metrics that the node updates.
#[derive(Debug)]
pub struct NodeMetrics {
    pub(super) applies: HistogramVec,
    pub(super) requests: RequestDurations,
    pub(super) leader_changes: IntCounter,
    pub(super) proposals_pending: IntGauge,
    pub(super) proposals_failed: IntCounter,
    pub(super) copied: IntGauge,
    pub(super) slow_apply: IntCounter,
    pub(super) slow_read_indexes: IntCounter,
    pub(super) read_indexes_failed: IntCounter,
    pub(super) compaction_last: IntGauge,
    pub(super) kv_ranges: IntCounter,
    pub(super) kv_puts: IntCounter,
    pub(super) kv_deletes: IntCounter,
    pub(super) kv_txns: IntCounter,
    pub(super) leases_granted: IntCounter,
    pub(super) leases_revoked: IntCounter,
    pub(super) leases_expired: IntCounter,
    pub(super) lease_ttls: Histogram,
    pub(super) tree_writes: [(witan_tree::Action, IntCounter); 6],
    pub(super) tree_expires: IntCounter,
    pub(super) tree_watch_requests: IntCounter,
    value_block_reads: IntCounter,
    value_read_bytes: IntCounter,
    state: StateSeries,
    /// Pairs of a counter and its alias: a counter of the same value under an old etcd name.
    aliases: [(IntCounter, IntCounter); 4],
}

/// Gauges that are set at each scrape, most of them with the function that returns their value.
#[derive(Debug)]
struct StateSeries {
    of_node: [NodeGauge; 15],
    of_view: [ViewGauge; 10],
    id: IntGaugeVec,
    alarms: LabeledGauges,
    cluster_version: LabeledGauges,
    known_peers: LabeledGauges,
}

type NodeGauge = (IntGauge, fn(&Node) -> i64);

type ViewGauge = (IntGauge, fn(&Node, &View) -> i64);

impl NodeMetrics {
    /// Registers the node's metrics.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let kv_ranges = on.counter("etcd_mvcc_range_total", "Total number of ranges seen by this member.");
        let kv_puts = on.counter("etcd_mvcc_put_total", "Total number of puts seen by this member.");
        let kv_deletes = on.counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.");
        let kv_txns = on.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member.");
        Self {
            aliases: [
                (kv_ranges.clone(), on.counter("etcd_debugging_mvcc_range_total", "Total number of ranges seen by this member. Old name of etcd_mvcc_range_total.")),
                (kv_puts.clone(), on.counter("etcd_debugging_mvcc_put_total", "Total number of puts seen by this member. Old name of etcd_mvcc_put_total.")),
                (kv_deletes.clone(), on.counter("etcd_debugging_mvcc_delete_total", "Total number of deletes seen by this member. Old name of etcd_mvcc_delete_total.")),
                (kv_txns.clone(), on.counter("etcd_debugging_mvcc_txn_total", "Total number of txns seen by this member. Old name of etcd_mvcc_txn_total.")),
            ],
            kv_ranges,
            kv_puts,
            kv_deletes,
            kv_txns,
            applies: on.histograms("etcd_server_apply_duration_seconds", "The latency distributions of applying commands.", (0.0001, 20), &["version", "op", "success"]),
            requests: RequestDurations::new(on.striped_histograms("etcd_server_request_duration_seconds", "The latency distributions of requests, by type.", (0.001, 14), &["type", "success"])),
            leader_changes: on.counter("etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
            proposals_pending: on.gauge("etcd_server_proposals_pending", "The current number of pending proposals to commit."),
            proposals_failed: on.counter("etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
            copied: on.gauge("witan_data_directory_copied", "Whether this member does not vote because its data directory is a copy. 1 is yes, 0 is no."),
            slow_apply: on.counter("etcd_server_slow_apply_total", "The total number of slow apply requests (likely overloaded from slow disk or CPU)."),
            slow_read_indexes: on.counter("etcd_server_slow_read_indexes_total", "The total number of linearizable reads that timed out."),
            read_indexes_failed: on.counter("etcd_server_read_indexes_failed_total", "The total number of failed linearizable reads."),
            compaction_last: on.gauge("etcd_debugging_mvcc_db_compaction_last", "The unix time of the last compaction."),
            leases_granted: on.counter("etcd_debugging_lease_granted_total", "The total number of granted leases."),
            leases_revoked: on.counter("etcd_debugging_lease_revoked_total", "The total number of revoked leases."),
            leases_expired: on.counter("etcd_debugging_server_lease_expired_total", "The total number of expired leases."),
            lease_ttls: on.histogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", 1.0, 24),
            tree_writes: tree_writes(on),
            tree_expires: on.counter("etcd_debugging_store_expires_total", "Total number of expired v2 keys."),
            tree_watch_requests: on.counter("etcd_debugging_store_watch_requests_total", "Total number of incoming v2 watch requests (new or reestablished)."),
            value_block_reads: on.counter("witan_value_block_reads_total", "Total number of blocks of values that were read from disk because they were not in memory."),
            value_read_bytes: on.counter("witan_value_read_bytes_total", "Total number of bytes of blocks of values that were read from disk."),
            state: StateSeries::register(on),
        }
    }

    /// Sets the gauges that reflect the state. Without a view, gauges of the view keep their values: 0 would look like a loss
    /// of all data, and alarms would look cleared. Also updates the counters of block reads and the aliases.
    pub(super) fn show(&self, node: &Node, view: Option<&View>) {
        self.state.set(node);
        if let Some(view) = view {
            self.state.set_view(node, view);
        }
        let cache = node.memory().cache();
        for (series, total) in [
            (&self.value_block_reads, cache.reads()),
            (&self.value_read_bytes, cache.read_bytes()),
        ] {
            series.inc_by(total.saturating_sub(series.get()));
        }
        self.show_aliases();
    }

    /// Sets each counter with an old etcd name to the value of the counter that it mirrors.
    pub(super) fn show_aliases(&self) {
        for (source, alias) in &self.aliases {
            alias.inc_by(source.get().saturating_sub(alias.get()));
        }
    }
}

/// Registers the counters of v2 writes, one for each action.
#[rustfmt::skip]
fn tree_writes(on: &Register) -> [(witan_tree::Action, IntCounter); 6] {
    let writes = on.counters("etcd_debugging_store_writes_total", "Total number of v2 writes (e.g. set/compareAndDelete) seen by this member.", &["action"]);
    [
        (witan_tree::Action::Set, "set"),
        (witan_tree::Action::Create, "create"),
        (witan_tree::Action::Update, "update"),
        (witan_tree::Action::CompareAndSwap, "compareAndSwap"),
        (witan_tree::Action::CompareAndDelete, "compareAndDelete"),
        (witan_tree::Action::Delete, "delete"),
    ]
    .map(|(action, label)| (action, writes.with_label_values(&[label])))
}

impl StateSeries {
    #[rustfmt::skip]
    fn register(on: &Register) -> Self {
        let level = on.gauges("witan_feature_level", "Feature level of this member's release ('own') and of the cluster ('cluster').", &["of"]);
        level.with_label_values(&["own"]).set(levels::OWN.into());
        let memory = on.gauges("witan_memory_bytes", "Memory of this process in bytes, by kind: 'values' can be dropped and read from disk again, 'other' cannot.", &["kind"]);
        Self {
            of_node: [
                (on.gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not."), |node| (node.status().leader != MemberId::NONE).into()),
                (on.gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise."), |node| (node.status().role == Role::Leader).into()),
                (on.gauge("etcd_server_proposals_committed_total", "The total number of consensus proposals committed."), |node| gauge(node.status().committed)),
                (on.gauge("etcd_server_proposals_applied_total", "The total number of consensus proposals applied."), |node| gauge(node.status().applied)),
                // As in etcd, -1 means no quota. With 0, the used share would be infinite.
                (on.gauge("etcd_server_quota_backend_bytes", "Current storage quota in bytes."), |node| node.quota_bytes().map_or(-1, gauge)),
                (on.gauge("witan_v2_size_bytes", "Size of the v2 tree and its history in bytes. It counts against the quota."), |node| gauge(node.shared.status.tree_bytes.load(Relaxed))),
                (on.gauge("witan_auth_size_bytes", "Size of users, roles, permissions and members in bytes. It counts against the quota."), |node| gauge(node.shared.status.auth_bytes.load(Relaxed))),
                (on.gauge("witan_disk_free_bytes", "Free space in bytes on the file system that holds the data directory."), |node| gauge(node.disk().free_bytes())),
                (on.gauge("witan_disk_reserve_bytes", "Free space in bytes below which this member refuses writes, or 0 if free space is not checked."), |node| gauge(node.disk().reserve_bytes())),
                (on.gauge("witan_disk_ballast_bytes", "Size of the ballast file in bytes."), |node| gauge(node.disk().ballast_bytes())),
                (on.gauge("witan_disk_held_bytes", "Size in bytes of outdated checkpoint files that stay because a snapshot, a hash or a large read can still read values from them."), |node| gauge(node.disk().held_bytes())),
                (on.gauge("witan_memory_budget_bytes", "Memory budget of this process in bytes. Writes are refused while 'other' memory takes more than seven eighths of it."), |node| gauge(node.memory().bytes())),
                (memory.with_label_values(&["values"]), |node| gauge(node.memory().cache().resident_bytes())),
                (memory.with_label_values(&["other"]), |node| gauge(node.memory().other_bytes())),
                (on.gauge("etcd_debugging_store_watchers", "Count of currently active v2 watchers."), |node| gauge(node.watchers() as u64)),
            ],
            of_view: [
                (on.gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the v3 key space in bytes."), |_, view| gauge(view.machine.kv.size_bytes())),
                (on.gauge("etcd_debugging_mvcc_db_total_size_in_bytes", "Total size of the v3 key space in bytes. Old name of etcd_mvcc_db_total_size_in_bytes."), |_, view| gauge(view.machine.kv.size_bytes())),
                // A compaction leaves no free pages.
                (on.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the v3 key space in bytes. Equal to etcd_mvcc_db_total_size_in_bytes."), |_, view| gauge(view.machine.kv.size_bytes())),
                (on.gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise."), |node, view| node.is_learner(view).into()),
                (level.with_label_values(&["cluster"]), |_, view| view.machine.members.level().into()),
                (on.gauge("witan_v3_live_bytes", "Size of the v3 key space in bytes, without old revisions."), |_, view| gauge(view.machine.kv.live_size_bytes())),
                (on.gauge("etcd_debugging_mvcc_keys_total", "Total number of v3 keys."), |_, view| gauge(view.machine.kv.len() as u64)),
                (on.gauge("etcd_debugging_mvcc_current_revision", "The current revision of the v3 key space."), |_, view| view.machine.kv.revision().0),
                (on.gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction."), |_, view| view.machine.kv.compacted().0),
                (on.gauge("etcd_debugging_auth_revision", "The current revision of users, roles and permissions."), |_, view| gauge(view.machine.auth.revision())),
            ],
            id: on.gauges("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.", &["server_id"]),
            alarms: LabeledGauges::new(on.gauges("etcd_debugging_server_alarms", "Alarms of all members. 1 for each active alarm, by the member that raised it.", &["server_id", "alarm_type"])),
            cluster_version: LabeledGauges::new(on.gauges("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version.", &["cluster_version"])),
            known_peers: LabeledGauges::new(on.gauges("etcd_network_known_peers", "The current number of known peers.", &["Local", "Remote"])),
        }
    }

    /// Sets the gauges that need no view.
    fn set(&self, node: &Node) {
        for (series, value) in &self.of_node {
            series.set(value(node));
        }
        let id = node.identity().member_id.to_string();
        self.id.with_label_values(&[id]).set(1);
    }

    /// Sets the gauges that need a view.
    fn set_view(&self, node: &Node, view: &View) {
        for (series, value) in &self.of_view {
            series.set(value(node, view));
        }
        let own = node.identity().member_id.to_string();
        // The series exist before an alarm is raised, so that alert rules find them.
        let inactive = [AlarmType::NoSpace, AlarmType::Corrupt]
            .map(|kind| (vec![own.clone(), alarm_type(kind as i32)], 0));
        let active = node.alarms(view, None).map(|alarm| {
            let labels = vec![alarm.member.to_string(), alarm_type(alarm.kind)];
            (labels, 1)
        });
        let mut alarms = BTreeMap::from(inactive);
        alarms.extend(active);
        self.alarms.show(alarms);
        let members = &view.machine.members;
        let version = members.cluster_version.rsplit_once('.');
        let version = version.map(|(major_minor, _)| (vec![major_minor.to_owned()], 1));
        self.cluster_version.show(version.into_iter().collect());
        let known = members.by_id.keys();
        let known = known.map(|member| (vec![own.clone(), member.to_string()], 1));
        self.known_peers.show(known.collect());
    }
}

/// Returns etcd's label value for the number of an alarm type, or the number itself if the type is unknown.
pub(super) fn alarm_type(kind: i32) -> String {
    match AlarmType::try_from(kind) {
        Ok(AlarmType::None) => "NONE".into(),
        Ok(AlarmType::NoSpace) => "NOSPACE".into(),
        Ok(AlarmType::Corrupt) => "CORRUPT".into(),
        Err(_) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector as _;

    use super::*;
    use crate::testing;

    /// Returns the value of a gauge.
    fn value(metrics: &NodeMetrics, name: &str) -> i64 {
        let StateSeries { of_node, of_view, .. } = &metrics.state;
        let series = of_node.iter().map(|(series, _)| series);
        let mut series = series.chain(of_view.iter().map(|(series, _)| series));
        let found = series.find(|series| series.desc()[0].fq_name == name);
        found.expect("a registered gauge").get()
    }

    #[test]
    fn a_disabled_quota_is_negative() {
        let node = testing::without_replica(MemberId(1), 1);
        assert_eq!(node.quota_bytes(), None);
        let metrics = &node.shared.metrics;
        metrics.show(&node, None);
        assert_eq!(value(metrics, "etcd_server_quota_backend_bytes"), -1);
    }

    #[test]
    fn gauges_of_a_view_keep_their_values_without_a_view() {
        let node = testing::without_replica(MemberId(1), 1);
        let (metrics, view) = (&node.shared.metrics, View::default());
        for shown in [Some(&view), None] {
            metrics.show(&node, shown);
            let revision = value(metrics, "etcd_debugging_mvcc_current_revision");
            assert_eq!(revision, view.machine.kv.revision().0);
        }
    }
}
