//! Flags that only older versions of etcd have, and old names of flags.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Alias, Refused};

const NO_PROXY: &str = "Witan has no v2 proxy";

/// Creates the row for an older name of the flag `of`.
const fn old(name: &'static str, kind: FlagKind, default: &'static str, of: &'static str) -> Flag {
    Flag::new(name, kind, default, "Old name.", Alias(of))
}

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("proxy", Text, "off", "Runs etcd 3.5 or older as a v2 proxy.", Refused(NO_PROXY)),
    Flag::new("proxy-failure-wait", Integer, "5000", "Milliseconds for which the v2 proxy does not use a failed endpoint.", Accepted(NO_PROXY)),
    Flag::new("proxy-refresh-interval", Integer, "30000", "Milliseconds between two refreshes of the v2 proxy's endpoints.", Accepted(NO_PROXY)),
    Flag::new("proxy-dial-timeout", Integer, "1000", "Timeout of the v2 proxy for connections, in milliseconds.", Accepted(NO_PROXY)),
    Flag::new("proxy-write-timeout", Integer, "5000", "Timeout of the v2 proxy for writes, in milliseconds.", Accepted(NO_PROXY)),
    Flag::new("proxy-read-timeout", Integer, "0", "Timeout of the v2 proxy for reads, in milliseconds.", Accepted(NO_PROXY)),
    old("log-output", Text, "default", "log-outputs"),
    old("experimental-backend-bbolt-freelist-type", Text, "map", "backend-bbolt-freelist-type"),
    old("experimental-bootstrap-defrag-threshold-megabytes", Integer, "0", "bootstrap-defrag-threshold-megabytes"),
    old("experimental-compact-hash-check-enabled", Bool, "false", "compact-hash-check-enabled"),
    old("experimental-compact-hash-check-time", Duration, "1m0s", "compact-hash-check-time"),
    old("experimental-compaction-batch-limit", Integer, "1000", "compaction-batch-limit"),
    old("experimental-compaction-sleep-interval", Duration, "10ms", "compaction-sleep-interval"),
    old("experimental-corrupt-check-time", Duration, "0s", "corrupt-check-time"),
    old("experimental-distributed-tracing-address", Text, "localhost:4317", "distributed-tracing-address"),
    old("experimental-distributed-tracing-instance-id", Text, "", "distributed-tracing-instance-id"),
    old("experimental-distributed-tracing-sampling-rate", Integer, "0", "distributed-tracing-sampling-rate"),
    old("experimental-distributed-tracing-service-name", Text, "etcd", "distributed-tracing-service-name"),
    old("experimental-downgrade-check-time", Duration, "5s", "downgrade-check-time"),
    old("experimental-enable-distributed-tracing", Bool, "false", "enable-distributed-tracing"),
    old("experimental-initial-corrupt-check", Bool, "false", "initial-corrupt-check"),
    old("experimental-max-learners", Integer, "1", "max-learners"),
    old("experimental-memory-mlock", Bool, "false", "memory-mlock"),
    old("experimental-peer-skip-client-san-verification", Bool, "false", "peer-skip-client-san-verification"),
    old("experimental-snapshot-catchup-entries", Integer, "5000", "snapshot-catchup-entries"),
    old("experimental-wait-cluster-ready-timeout", Duration, "5s", "wait-cluster-ready-timeout"),
    old("experimental-warning-apply-duration", Duration, "100ms", "warning-apply-duration"),
    old("experimental-warning-unary-request-duration", Duration, "300ms", "warning-unary-request-duration"),
    old("experimental-watch-progress-notify-interval", Duration, "10m0s", "watch-progress-notify-interval"),
];
