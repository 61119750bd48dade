//! Validated, typed configuration from the command line, the environment or a file.
//!
//! Reading order: `flags` (the table) → `values` (given values as strings, also from the environment) → `source`, `file`
//! (sources of values) → `url` (URLs) → `build` (checks, `--initial-cluster`) → `security`, `peer_security` (TLS),
//! `peer_settings` (timeouts, the feature level), `discovery`, `follow`, `client_settings` (connections to other clusters),
//! `corruption`, `feature_gates` → this file (the typed result). `help` prints the table, and `error` lists the errors.

mod build;
mod client_settings;
mod corruption;
mod discovery;
mod error;
mod feature_gates;
mod file;
pub mod flags;
mod follow;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod help;
mod peer_security;
mod peer_settings;
mod security;
mod source;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use tracing::level_filters::LevelFilter;

pub use build::{MembersError, members};
pub use client_settings::ClientSettings;
pub use corruption::CorruptionChecks;
pub use discovery::{Discovery, SrvDiscovery, V2Discovery, V3Discovery};
pub use error::ConfigError;
pub use follow::FollowSource;
pub use peer_settings::PeerSettings;
pub use security::{PeerTlsConfig, PortTls, ServerCertificate, TlsVersion};
pub use source::environment;
pub use url::{Address, Url, UrlError, without_zone};
pub use values::Environment;

use values::FlagValues;

/// Default of `--name`.
pub const DEFAULT_NAME: &str = "default";

/// The validated configuration. A field without a comment has the name of its flag.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the name of a flag describes the field")]
pub struct Config {
    pub name: String,
    /// `--data-dir`, by default `NAME.etcd`.
    pub data_dir: PathBuf,
    /// `--listen-client-urls`: all protocols, or only gRPC if `listen_client_http_urls` is not empty.
    pub listen_client_urls: Vec<Url>,
    /// `--listen-client-http-urls`: all protocols except gRPC.
    pub listen_client_http_urls: Vec<Url>,
    /// `--listen-metrics-urls`: only `/metrics`, `/health`, `/livez` and `/readyz`.
    pub listen_metrics_urls: Vec<Url>,
    pub listen_peer_urls: Vec<Url>,
    pub advertise_client_urls: Vec<Url>,
    pub initial_advertise_peer_urls: Vec<Url>,
    /// `--initial-cluster`: name and peer URLs of each initial member, sorted.
    pub initial_cluster: Vec<(String, Vec<Url>)>,
    /// How to find the initial members. Before discovery, `initial_cluster` contains only this member.
    pub discovery: Option<Discovery>,
    pub initial_cluster_token: String,
    pub initial_cluster_state: ClusterState,
    /// `--adopt-etcd`: whether to adopt the data of etcd.
    pub adopt_etcd: bool,
    /// `--wal-dir`: the directory of the Raft log if it is outside the data directory.
    pub wal_dir: Option<PathBuf>,
    /// `--from`: the etcd cluster to follow.
    pub follow: Option<FollowSource>,
    /// `--force-new-cluster`: whether to remove all other members at startup.
    pub force_new_cluster: bool,
    /// The schedule of comparisons of the members' states.
    pub corruption: CorruptionChecks,
    pub heartbeat_interval: Duration,
    pub election_timeout: Duration,
    pub pre_vote: bool,
    /// Settings that concern other members: connections, the downgrade check and the feature level.
    pub peers: PeerSettings,
    pub unsafe_no_fsync: bool,
    /// `--disk-reserve-bytes` and `--disk-ballast-bytes`.
    pub disk: SpaceConfig,
    /// `--memory-budget-bytes`; `None` derives it from the memory limit of this process.
    pub memory_budget_bytes: Option<u64>,
    pub warning_apply_duration: Duration,
    /// `--auto-compaction-mode` and `--auto-compaction-retention`; `None` disables automatic compaction.
    pub auto_compaction: Option<AutoCompaction>,
    /// Limits and timeouts of client connections.
    pub connections: ConnectionSettings,
    /// `--metrics=extensive`: whether to measure the duration of calls.
    pub extensive_metrics: bool,
    /// TLS of `https` and `unixs` URLs for clients and metrics.
    pub tls: PortTls,
    /// TLS between members.
    pub peer_tls: PeerTlsConfig,
    /// Outputs and format of the log.
    pub log: LogConfig,
    /// Settings of request handlers.
    pub settings: Settings,
    /// `NOTIFY_SOCKET`: the socket on which systemd expects the readiness message.
    pub notify_socket: Option<String>,
    /// Warnings to log after logging is set up.
    pub warnings: Vec<String>,
}

/// The action that the command line requests.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Start a member with this configuration.
    Start(Box<Config>),
    /// Print this help text.
    Help(String),
    /// Print the version.
    Version,
}

impl Config {
    /// Returns this member's URLs in the initial cluster. Fails if the initial cluster lacks this member or contains a URL
    /// twice. For a new cluster, also fails if these URLs differ from the advertised peer URLs. With SRV discovery, only checks
    /// that the initial cluster contains this member. As in etcd, the `--initial-` flags apply only to an empty data directory;
    /// do not call this for any other directory.
    pub fn bootstrap(&self) -> Result<&[Url], ConfigError> {
        let Some((_, urls)) = self
            .initial_cluster
            .iter()
            .find(|(name, _)| *name == self.name)
        else {
            return Err(ConfigError::LocalName(self.name.clone()));
        };
        if matches!(self.discovery, Some(Discovery::Srv(_))) {
            // SRV discovery compares names and addresses itself.
            return Ok(urls);
        }
        // Two members with the same URLs have the same id.
        let mut known = HashSet::new();
        let mut all = self.initial_cluster.iter().flat_map(|(_, urls)| urls);
        if let Some(url) = all.find(|url| !known.insert(*url)) {
            return Err(ConfigError::DuplicateUrl(url.clone()));
        }
        // The cluster already knows the URLs of a joining member.
        let begins = self.initial_cluster_state == ClusterState::New;
        let advertised = &self.initial_advertise_peer_urls;
        if begins && !Url::same_endpoints(urls, advertised) {
            let has = urls.iter().map(|url| format!("{}={url}", self.name));
            let has = has.collect::<Vec<_>>().join(",");
            let missing: Vec<String> = advertised.iter().map(Url::to_string).collect();
            return Err(ConfigError::AdvertisedPeers { has, missing: missing.join(",") });
        }
        Ok(urls)
    }
}

impl Default for Config {
    /// Returns the configuration for a command line without flags. Drops the warnings.
    fn default() -> Self {
        let config = FlagValues::default().config(&Environment::new());
        let config = config.expect("the defaults of the table are valid");
        Self { warnings: Vec::new(), ..config }
    }
}

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// A new cluster.
    #[default]
    New,
    /// The member joins an existing cluster.
    Existing,
}

/// Settings for the free disk space of the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceConfig {
    /// `--disk-reserve-bytes`; `None` derives it from the file system's size, and 0 disables monitoring.
    pub reserve_bytes: Option<u64>,
    /// `--disk-ballast-bytes`; `None` derives it from the file system's size, and 0 disables the ballast.
    pub ballast_bytes: Option<u64>,
}

/// Automatic compaction of old v3 revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keeps old revisions for this period.
    Periodic(Duration),
    /// Keeps this number of old revisions.
    Revisions(i64),
}

/// Limits and timeouts of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// `--grpc-keepalive-min-time`.
    pub keepalive_min_time: Duration,
    /// `--grpc-keepalive-interval`. `None` disables pings; a `--grpc-keepalive-timeout` of 0 also yields `None`.
    pub keepalive_interval: Option<Duration>,
    /// `--grpc-keepalive-timeout`.
    pub keepalive_timeout: Duration,
    /// `--max-concurrent-streams`.
    pub max_concurrent_streams: u32,
    /// `--socket-reuse-port`.
    pub reuse_port: bool,
    /// Maximum size of a message in bytes; see [`Settings::max_message_bytes`].
    pub max_message_bytes: usize,
    /// `--warning-unary-request-duration`.
    pub unary_expected: Duration,
}

/// Outputs and format of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `--log-level`. etcd's `dpanic`, `panic` and `fatal` become `error`, the highest level in use.
    pub level: LevelFilter,
    /// `--log-outputs`.
    pub outputs: Vec<LogOutput>,
    /// `--log-format`; `None` selects console on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
    /// `--enable-log-rotation` with its settings.
    pub rotation: Option<Rotation>,
}

/// An output in `--log-outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are values of the flag")]
pub enum LogOutput {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are values of the flag")]
pub enum LogFormat {
    Json,
    Console,
}

/// `--log-rotation-config-json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// Size in MiB at which a file is rotated.
    #[serde(rename = "maxsize")]
    pub max_size_mib: u64,
    /// Days after which a rotated file is deleted; 0 means never.
    #[serde(rename = "maxage")]
    pub max_age_days: u64,
    /// Number of rotated files to keep; 0 keeps all.
    #[serde(rename = "maxbackups")]
    pub max_backups: usize,
    /// Whether to compress rotated files.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size_mib: 100,
            max_age_days: 0,
            max_backups: 0,
            compress: false,
        }
    }
}

/// The settings that request handlers read. A field without a comment has the name of its flag.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the name of a flag describes the field")]
pub struct Settings {
    /// `--max-request-bytes`: maximum size in bytes of a v3 proposal.
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    pub strict_reconfig_check: bool,
    pub max_learners: u32,
    /// `--discovery-service-url`, without trailing slashes.
    pub discovery_service_url: Option<String>,
    /// `--cors`: allowed origins; `*` allows all.
    pub cors: Vec<String>,
    /// `--host-whitelist`: accepted `Host` names; `*` accepts all.
    pub host_whitelist: Vec<String>,
    pub enable_grpc_gateway: bool,
    pub enable_console: bool,
    /// `--flight-recorder-megabytes` and `--flight-recorder-values`.
    pub flight_recorder: FlightRecorder,
    pub enable_v2: bool,
    /// `--enable-v1`. Requires `--enable-v2`, because v1 serves the same keys.
    pub enable_v1: bool,
    /// `--watch-progress-notify-interval`: interval of progress notifications for an idle watcher that requested them.
    pub watch_progress_interval: Duration,
    /// `--client-cert-auth`: whether the common name of a client certificate authenticates its user.
    pub client_cert_auth: bool,
    /// `--quota-backend-bytes`, with 2 GiB instead of 0; `None` means unlimited.
    pub quota_bytes: Option<u64>,
    /// The minimum lease TTL in seconds: one and a half election timeouts.
    pub lease_ttl_min_s: i64,
    /// Tokens and password hashing.
    pub auth: AuthSettings,
}

/// Settings of tokens and password hashing.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// `--auth-token`: the type of the tokens, and its options.
    pub token: String,
    /// `--auth-token-ttl`: time after which an unused simple token expires.
    pub token_ttl: Duration,
    /// `--bcrypt-cost`.
    pub bcrypt_cost: u32,
}

/// Number of bytes by which a gRPC message may exceed `--max-request-bytes`, as in etcd.
const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;

impl Settings {
    /// Returns the maximum size of a v3 message in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.max_request_bytes
            .saturating_add(MESSAGE_OVERHEAD_BYTES)
    }
}

/// Settings of the flight recorder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlightRecorder {
    /// Maximum total size of the recorder's files in bytes; 0 disables the recorder.
    pub bytes: u64,
    /// Whether to record values in plaintext instead of zeros.
    pub values: bool,
}
