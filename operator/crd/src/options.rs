//! Server options with typed fields.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::quantities::ByteQuantity;

/// Flags that the operator sets, and that `extraArgs` must not contain.
pub const OPERATOR_FLAGS: [&str; 26] = [
    "name",
    "data-dir",
    "wal-dir",
    "config-file",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
    "advertise-client-urls",
    "listen-peer-urls",
    "listen-client-urls",
    "listen-client-http-urls",
    "listen-metrics-urls",
    "discovery",
    "discovery-srv",
    "force-new-cluster",
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "peer-cert-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "client-cert-auth",
    "peer-client-cert-auth",
    "auto-tls",
    "peer-auto-tls",
];

/// Server options. Use `extraArgs` for flags that have no field here.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.autoCompactionMode != 'revision' || self.autoCompactionRetention.matches('^[0-9]+$')", "message": "autoCompactionRetention must be a plain number with autoCompactionMode: revision"}, {"rule": "self.electionTimeoutMs >= 5 * self.heartbeatIntervalMs", "message": "electionTimeoutMs must be at least 5 x heartbeatIntervalMs"}, {"rule": format!("!has(self.extraArgs) || self.extraArgs.all(k, !(k in ['{}']))", OPERATOR_FLAGS.join("','")), "message": "options.extraArgs must not contain flags that the operator manages"}]))]
pub struct Options {
    /// Quota of the key space. Beyond it, the members raise the NOSPACE alarm and refuse writes.
    pub quota_backend_bytes: Option<ByteQuantity>,
    /// Whether automatic compaction keeps old revisions by age (`periodic`) or by number (`revision`).
    pub auto_compaction_mode: CompactionMode,
    /// Age (`periodic`) or number (`revision`) of the old revisions to keep.
    #[schemars(length(max = 32), regex(pattern = "^[0-9]+([.][0-9]+)?[a-z0-9]*$"))]
    pub auto_compaction_retention: String,
    /// Heartbeat interval in milliseconds.
    #[schemars(range(min = 10))]
    pub heartbeat_interval_ms: i32,
    /// Election timeout in milliseconds.
    #[schemars(range(min = 50, max = 50000))]
    pub election_timeout_ms: i32,
    /// Maximum size of a request in bytes.
    #[schemars(range(min = 1024))]
    pub max_request_bytes: Option<i64>,
    /// Maximum number of operations in a transaction.
    #[schemars(range(min = 1))]
    pub max_txn_ops: Option<i32>,
    /// Minimum level of logged messages.
    pub log_level: LogLevel,
    /// Level of detail of the metrics. `extensive` adds histograms of gRPC calls.
    pub metrics: MetricsDetail,
    /// Whether members serve the v1 API of etcd 0.1.
    pub enable_v1: bool,
    /// Whether members serve the v2 API and the discovery service.
    pub enable_v2: bool,
    /// Whether members also serve the v3 API as JSON over HTTP.
    #[serde(rename = "enableGRPCGateway")]
    pub enable_grpc_gateway: bool,
    /// Additional server flags, without the leading dashes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub extra_args: BTreeMap<String, ArgumentText>,
}

/// Value of the flag.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ArgumentText(#[schemars(length(max = 1024))] pub String);

impl Default for Options {
    fn default() -> Self {
        Self {
            quota_backend_bytes: None,
            auto_compaction_mode: CompactionMode::Periodic,
            auto_compaction_retention: "1h".to_owned(),
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            max_request_bytes: None,
            max_txn_ops: None,
            log_level: LogLevel::Info,
            metrics: MetricsDetail::Extensive,
            enable_v1: true,
            enable_v2: true,
            enable_grpc_gateway: true,
            extra_args: BTreeMap::new(),
        }
    }
}

/// Whether automatic compaction keeps old revisions by age (`periodic`) or by number (`revision`).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CompactionMode {
    /// By age.
    Periodic,
    /// By number.
    Revision,
}

/// Minimum level of logged messages.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are values of the server's flag")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Level of detail of the metrics. `extensive` adds histograms of gRPC calls.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MetricsDetail {
    /// No histograms of gRPC calls.
    Basic,
    /// Also histograms of gRPC calls.
    Extensive,
}
