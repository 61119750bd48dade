//! The rows of the table of flags, by section.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Alias, Refused, Supported};

const LOG_AND_CHECKPOINT: &str =
    "Witan decides when to write checkpoints and how much of the log to keep";
const NO_BBOLT: &str = "Witan does not use bbolt";
const NO_INNER_CLIENT: &str = "a member never connects to its own client port";
const TRACES: &str = "it configures distributed tracing, which is not supported";
const ONE_STEP: &str = "compaction does not block other work, so it has no batches";
const LOG_BY_BYTES: &str =
    "the log is kept as long as the slowest member needs it, up to a size limit";
const NO_PROXY: &str = "Witan has no v2 proxy";

/// Creates the row for an older name of the flag `of`.
const fn old(name: &'static str, kind: FlagKind, default: &'static str, of: &'static str) -> Flag {
    Flag::new(name, kind, default, "Old name.", Alias(of))
}

/// Flags of one member: its name, files, ports and limits.
#[rustfmt::skip]
pub(super) const MEMBER: &[Flag] = &[
    Flag::new("name", Text, "default", "Name of this member, as in --initial-cluster.", Supported("name_and_data_dir")),
    Flag::new("data-dir", Text, "", "Path of the data directory; by default NAME.etcd, where NAME is the value of --name.", Supported("name_and_data_dir")),
    Flag::new("adopt-etcd", Bool, "false", "Adopts the data of etcd 3.4 to 3.7 if the data directory contains etcd's data and no Witan data. etcd's files stay unchanged. Not a flag of etcd.", Supported("a_member_that_lost_its_identity_keeps_its_data")),
    Flag::new("wal-dir", Text, "", "Path to a dedicated directory for the Raft log, outside the data directory. The log is stored in the subdirectory `log`.", Supported("the_raft_log_in_a_separate_directory")),
    Flag::new("listen-client-urls", Text, "http://localhost:2379", "URLs to listen on for client traffic: gRPC, and HTTP unless --listen-client-http-urls is set.", Supported("several_client_urls")),
    Flag::new("listen-client-http-urls", Text, "", "URLs to listen on for HTTP client traffic only. If set, --listen-client-urls serves only gRPC.", Supported("separate_http_and_metrics_urls")),
    Flag::new("listen-peer-urls", Text, "http://localhost:2380", "URLs to listen on for peer traffic.", Supported("peer_ports_and_their_timeouts")),
    Flag::new("snapshot-count", Integer, "10000", "Number of committed entries after which etcd writes a snapshot.", Accepted(LOG_AND_CHECKPOINT)),
    Flag::new("max-snapshots", Integer, "5", "Number of snapshot files that etcd keeps.", Accepted(LOG_AND_CHECKPOINT)),
    Flag::new("max-wals", Integer, "5", "Number of log files that etcd keeps.", Accepted(LOG_AND_CHECKPOINT)),
    Flag::new("heartbeat-interval", Integer, "100", "Heartbeat interval of the leader in milliseconds.", Supported("elections_and_warnings")),
    Flag::new("election-timeout", Integer, "1000", "Milliseconds without a heartbeat after which a member starts an election. The minimum is five times --heartbeat-interval.", Supported("elections_and_warnings")),
    Flag::new("initial-election-tick-advance", Bool, "true", "Shortens the first election timeout of a starting member.", Accepted("a sole member campaigns immediately")),
    Flag::new("quota-backend-bytes", Integer, "0", "Size of the data in bytes above which the cluster raises the NOSPACE alarm and refuses writes that add data. 0 means 2 GiB, and a negative number disables the quota.", Supported("a_full_quota_refuses_requests_that_add_data")),
    Flag::new("disk-reserve-bytes", Integer, "0", "Free disk space in bytes below which writes that add data are refused. 0 means an eighth of the disk, but at most 256 MiB, and a negative number disables the check. Not a flag of etcd.", Supported("reserve_and_ballast_have_the_configured_sizes")),
    Flag::new("disk-ballast-bytes", Integer, "0", "Size in bytes of the ballast. This file is deleted when the disk is full, so that this member can still delete data. 0 means 1/32 of the disk, but at most 16 MiB, and a negative number disables the ballast. Not a flag of etcd.", Supported("reserve_and_ballast_have_the_configured_sizes")),
    Flag::new("memory-budget-bytes", Integer, "0", "Memory in bytes that this member uses. Values that do not fit are read from the disk, and writes that add data are refused if keys and requests do not fit. 0 means the limit of the cgroup or the memory of the machine, less a reserve. The reserve is an eighth of this amount, at most 512 MiB, and at least 64 MiB or a quarter, whichever is smaller. A budget below 64 MiB is refused. Not a flag of etcd.", Supported("the_memory_budget_has_the_configured_size")),
    Flag::new("max-txn-ops", Integer, "128", "Maximum number of operations in a transaction.", Supported("limits_of_requests")),
    Flag::new("max-request-bytes", Integer, "1572864", "Maximum size of a request in bytes.", Supported("limits_of_requests")),
    Flag::new("max-concurrent-streams", Integer, "4294967295", "Maximum number of concurrent gRPC calls on a client connection.", Supported("connection_settings")),
    Flag::new("grpc-keepalive-min-time", Duration, "5s", "Minimum interval between two pings of a gRPC client. A client that pings more often is disconnected.", Supported("too_many_pings_end_the_connection")),
    Flag::new("grpc-keepalive-interval", Duration, "2h0m0s", "Idle time after which a gRPC client is pinged; 0 disables pings.", Supported("connection_settings")),
    Flag::new("grpc-keepalive-timeout", Duration, "20s", "Time to wait for a gRPC client's response to a ping before the client is disconnected; 0 disables pings.", Supported("connection_settings")),
    Flag::new("socket-reuse-port", Bool, "false", "Sets SO_REUSEPORT on listeners, which allows several processes to listen on the same port.", Supported("connection_settings")).yaml("socket-options.reuse-port"),
    Flag::new("socket-reuse-address", Bool, "false", "Sets SO_REUSEADDR on listeners, which allows binding to a port that still has connections in TIME_WAIT.", Accepted("SO_REUSEADDR is always set")).yaml("socket-options.reuse-address"),
    Flag::new("raft-read-timeout", Duration, "5s", "Time without data from a peer after which its connection is closed. The minimum is 3s.", Supported("peer_ports_and_their_timeouts")),
    Flag::new("raft-write-timeout", Duration, "5s", "Time after which the connection to a peer that does not read or acknowledge data is closed. The minimum is 3s.", Supported("peer_ports_and_their_timeouts")),
    Flag::new("memory-mlock", Bool, "false", "Locks the memory of the process, so that it is not swapped out.", Refused("locking memory is not supported; disable swap for this process instead")),
    Flag::new("backend-bbolt-freelist-type", Text, "map", "Type of bbolt's free list.", Accepted(NO_BBOLT)),
    Flag::new("backend-batch-interval", Duration, "0s", "Maximum time before bbolt commits a batch of writes.", Accepted(NO_BBOLT)),
    Flag::new("backend-batch-limit", Integer, "0", "Maximum number of writes in a bbolt batch.", Accepted(NO_BBOLT)),
    Flag::new("from", Text, "", "Client URLs of an etcd 3.4 to 3.7 cluster. A new cluster copies and follows that cluster and refuses client writes before the cut-over. To set this flag, run witan follow --from.", Supported("three_members_replace_three_while_members_are_killed")),
    Flag::new("from-cacert", Text, "", "CA certificate file for verifying the cluster of --from; by default the CA certificates of the system.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-cert", Text, "", "Client certificate file for the cluster of --from.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-key", Text, "", "Key file of --from-cert.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-insecure-skip-tls-verify", Bool, "false", "Does not verify the certificates of the --from cluster.", Supported("a_source_that_does_not_know_the_client_is_not_followed")),
    Flag::new("from-user", Text, "", "User of the cluster of --from. The user needs the role root.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-password", Text, "", "Password of --from-user.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("force-new-cluster", Bool, "false", "Forces a new cluster: removes all other members at startup, so that this member continues alone with its data. The other members can never rejoin.", Supported("a_member_continues_alone_after_the_others_are_lost")),
    Flag::new("unsafe-no-fsync", Bool, "false", "Unsafe: disables fsync, so that a power failure can lose acknowledged writes.", Supported("elections_and_warnings")),
    Flag::new("config-file", Text, "", "Path of a YAML configuration file. If set, other flags and environment variables are ignored.", Supported("common_names_of_clients_in_a_file")),
];

/// Flags for cluster bootstrap and membership.
#[rustfmt::skip]
pub(super) const CLUSTER: &[Flag] = &[
    Flag::new("initial-advertise-peer-urls", Text, "http://localhost:2380", "URLs that other members use to connect to this member.", Supported("ids_are_etcds")),
    Flag::new("initial-cluster", Text, "", "Initial members as comma-separated NAME=URL; by default only this member.", Supported("ids_are_etcds")),
    Flag::new("initial-cluster-state", Text, "new", "`new` to start a new cluster, or `existing` to join an existing cluster.", Supported("a_member_joins_a_running_cluster_and_leaves_it")),
    Flag::new("initial-cluster-token", Text, "etcd-cluster", "Token that gives clusters different ids even if their members have the same URLs.", Supported("ids_are_etcds")),
    Flag::new("advertise-client-urls", Text, "http://localhost:2379", "URLs that clients use to connect to this member.", Supported("several_client_urls")),
    Flag::new("discovery", Text, "", "URL of a discovery token.", Supported("a_proxy_gets_absolute_urls")),
    Flag::new("discovery-proxy", Text, "", "HTTP proxy for requests to the discovery service.", Supported("a_proxy_gets_absolute_urls")),
    Flag::new("discovery-fallback", Text, "exit", "Behavior when discovery fails: exit or proxy. The member exits in both cases, because Witan has no v2 proxy.", Supported("a_surplus_member_exits_with_any_fallback")),
    Flag::new("discovery-srv", Text, "", "DNS domain whose SRV records list the initial members.", Supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-srv-name", Text, "", "Suffix of the service names in the SRV records.", Supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-srv-server", Text, "", "Name server (ADDRESS:PORT) for SRV records, such as Consul; by default the name servers in `/etc/resolv.conf`. Not a flag of etcd.", Supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-token", Text, "", "Discovery token for v3 discovery.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.token"),
    Flag::new("discovery-endpoints", Text, "", "Endpoints of the v3 discovery service, comma-separated.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.client.endpoints"),
    Flag::new("discovery-dial-timeout", Duration, "2s", "Timeout for connections to the v3 discovery service.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.client.dial-timeout"),
    Flag::new("discovery-request-timeout", Duration, "5s", "Timeout for requests to the v3 discovery service.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.client.request-timeout"),
    Flag::new("discovery-keepalive-time", Duration, "2s", "Idle time after which a connection to the v3 discovery service is pinged.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.client.keepalive-time"),
    Flag::new("discovery-keepalive-timeout", Duration, "6s", "Time to wait for the response to a ping of --discovery-keepalive-time before the connection is closed.", Supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.client.keepalive-timeout"),
    Flag::new("discovery-insecure-transport", Bool, "true", "Connects to the v3 discovery service without TLS.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.secure.insecure-transport"),
    Flag::new("discovery-insecure-skip-tls-verify", Bool, "false", "Does not verify the certificate of the v3 discovery service.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.secure.insecure-skip-tls-verify"),
    Flag::new("discovery-cert", Text, "", "Client certificate file for the v3 discovery service.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.secure.cert"),
    Flag::new("discovery-key", Text, "", "Client key file for the v3 discovery service.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.secure.key"),
    Flag::new("discovery-cacert", Text, "", "CA certificate file for verifying the v3 discovery service.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.secure.cacert"),
    Flag::new("discovery-user", Text, "", "User of the v3 discovery service.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.auth.username"),
    Flag::new("discovery-password", Text, "", "Password of --discovery-user.", Supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.client.auth.password"),
    Flag::new("discovery-service-url", Text, "", "Base URL of the discovery tokens that this member creates at `/new`; by default the URL of the request. Not a flag of etcd.", Supported("tokens_are_below_the_url_of_the_flag")),
    Flag::new("strict-reconfig-check", Bool, "true", "Refuses membership changes that would cause a loss of quorum.", Supported("additions_are_refused_while_a_member_has_not_started")),
    Flag::new("pre-vote", Bool, "true", "Runs a pre-vote before an election.", Supported("elections_and_warnings")),
    Flag::new("max-learners", Integer, "1", "Maximum number of learners in the cluster.", Supported("the_number_of_learners_is_bounded_by_a_flag")),
    Flag::new("wait-cluster-ready-timeout", Duration, "5s", "Maximum time for which a member waits at startup for the cluster to be ready before it serves clients; 0 disables the wait.", Supported("a_member_that_waits_for_the_others_ends_with_sigterm")),
    Flag::new("enable-v2", Bool, "true", "Serves the v2 API: keys, members, users and statistics. If false, the v1 API and the discovery service are not served either.", Supported("a_disabled_dialect_answers_like_an_unknown_path")),
    Flag::new("enable-v1", Bool, "true", "Serves the v1 API of etcd 0.1, a view of the v2 keys. Not a flag of etcd.", Supported("a_disabled_dialect_answers_like_an_unknown_path")),
    Flag::new("v2-deprecation", Text, "write-only", "Stage of the v2 API's removal from etcd.", Accepted("only --enable-v2 decides whether the v2 API is served")),
    Flag::new("experimental-enable-v2v3", Text, "", "Prefix of the v3 keys in which the v2 API stores its data.", Refused("v2 keys have their own key space, as in etcd without this flag")),
];

/// Flags of TLS, browsers and auth.
#[rustfmt::skip]
pub(super) const SECURITY: &[Flag] = &[
    Flag::new("cert-file", Text, "", "TLS certificate file for client traffic.", Supported("both_listeners_at_once")).yaml("client-transport-security.cert-file"),
    Flag::new("key-file", Text, "", "TLS private key file for client traffic.", Supported("both_listeners_at_once")).yaml("client-transport-security.key-file"),
    Flag::new("client-cert-file", Text, "", "Certificate file for this member's connections to its own client port.", Accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-cert-file"),
    Flag::new("client-key-file", Text, "", "Key file for this member's connections to its own client port.", Accepted(NO_INNER_CLIENT)).yaml("client-transport-security.client-key-file"),
    Flag::new("client-cert-auth", Bool, "false", "Requires clients to present a certificate.", Supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.client-cert-auth"),
    Flag::new("trusted-ca-file", Text, "", "CA certificate file for verifying clients.", Supported("only_clients_of_the_authority_are_served")).yaml("client-transport-security.trusted-ca-file"),
    Flag::new("client-crl-file", Text, "", "Certificate revocation list file for client certificates.", Supported("revoked_certificates_are_refused_on_every_listener")).yaml("client-transport-security.crl-file"),
    Flag::new("client-cert-allowed-hostname", Text, "", "Allowed host names in client certificates.", Supported("names_of_clients")).yaml("client-transport-security.allowed-hostname"),
    Flag::new("auto-tls", Bool, "false", "Creates a self-signed certificate for the client port.", Supported("auto_tls_creates_a_certificate_and_keeps_it")).yaml("client-transport-security.auto-tls"),
    Flag::new("peer-cert-file", Text, "", "TLS certificate file for peer traffic.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.cert-file"),
    Flag::new("peer-key-file", Text, "", "TLS private key file for peer traffic.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.key-file"),
    Flag::new("peer-client-cert-file", Text, "", "Client certificate file for connections to other members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-cert-file"),
    Flag::new("peer-client-key-file", Text, "", "Key file of --peer-client-cert-file.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.client-key-file"),
    Flag::new("peer-client-cert-auth", Bool, "false", "Requires other members to present a certificate.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.client-cert-auth"),
    Flag::new("peer-trusted-ca-file", Text, "", "CA certificate file for verifying other members.", Supported("members_use_tls_and_reject_other_connections")).yaml("peer-transport-security.trusted-ca-file"),
    Flag::new("peer-crl-file", Text, "", "Certificate revocation list file for certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.crl-file"),
    Flag::new("peer-cert-allowed-cn", Text, "", "Allowed common names in certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-cn"),
    Flag::new("peer-cert-allowed-hostname", Text, "", "Allowed host names in certificates of members.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.allowed-hostname"),
    Flag::new("peer-auto-tls", Bool, "false", "Creates a self-signed certificate for the peer port.", Supported("members_create_their_own_certificates")).yaml("peer-transport-security.auto-tls"),
    Flag::new("peer-skip-client-san-verification", Bool, "false", "Does not verify that the certificate of a connecting member contains the member's address.", Supported("names_and_revocations_of_members")).yaml("peer-transport-security.skip-client-san-verification"),
    Flag::new("self-signed-cert-validity", Integer, "1", "Validity of self-signed certificates in years.", Supported("auto_tls_creates_a_certificate_and_keeps_it")),
    Flag::new("cipher-suites", Text, "", "TLS cipher suites, comma-separated.", Supported("cipher_suites")),
    Flag::new("tls-min-version", Text, "TLS1.2", "Minimum TLS version.", Supported("versions_of_tls")),
    Flag::new("tls-max-version", Text, "", "Maximum TLS version.", Supported("versions_of_tls")),
    Flag::new("cors", Text, "*", "Allowed origins for cross-origin requests, comma-separated; * allows all origins.", Supported("browsers_and_hosts")),
    Flag::new("host-whitelist", Text, "*", "Allowed host names in client requests, comma-separated; * allows all host names.", Supported("browsers_and_hosts")),
    Flag::new("auth-token", Text, "simple", "Type of v3 auth tokens: simple, or jwt,sign-method=M,pub-key=FILE,priv-key=FILE,ttl=10m.", Supported("signed_tokens")),
    Flag::new("auth-token-ttl", Integer, "300", "Lifetime of a simple token in seconds.", Supported("auth_settings")),
    Flag::new("bcrypt-cost", Integer, "10", "Cost of the bcrypt algorithm for password hashes.", Supported("auth_settings")),
];

/// Flags of logs, metrics and traces.
#[rustfmt::skip]
pub(super) const LOGGING: &[Flag] = &[
    Flag::new("listen-metrics-urls", Text, "", "URLs that serve only /metrics, /health, /livez and /readyz.", Supported("separate_http_and_metrics_urls")),
    Flag::new("metrics", Text, "basic", "Level of detail of the metrics: `basic`, or `extensive`, which adds histograms of gRPC call durations.", Supported("extensive_metrics_time_calls")),
    Flag::new("enable-console", Bool, "false", "Serves the console at /console/, a web page that has the permissions of the logged-in user. Not a flag of etcd.", Supported("a_flag_enables_the_console")),
    Flag::new("flight-recorder-megabytes", Integer, "0", "Total size of the flight recorder's files in DATA_DIR/recorder, in MiB; 0 disables the flight recorder. Not a flag of etcd.", Supported("a_change_of_the_leader_is_recorded_and_replayed")),
    Flag::new("flight-recorder-values", Bool, "false", "Records values in plaintext in the flight recorder instead of zeros. Not a flag of etcd.", Supported("values_are_recorded_on_request")),
    Flag::new("enable-pprof", Bool, "false", "Serves runtime profiling data of Go.", Accepted("this program is not written in Go")),
    Flag::new("logger", Text, "zap", "Logger of etcd. If this flag is set, log lines are JSON even on a terminal.", Accepted("the value is ignored, because log lines always have the format of zap")),
    Flag::new("log-level", Text, "info", "Log level: debug, info, warn, error, panic or fatal.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("log-outputs", Text, "default", "Log outputs, comma-separated: default, stderr, stdout or paths of files.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("log-format", Text, "", "Log format: json or console. By default console on a terminal and json otherwise, or json if `--logger` is set.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("enable-log-rotation", Bool, "false", "Rotates log files by size.", Supported("log_files_rotate")),
    Flag::new("log-rotation-config-json", Text, r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#, "Log rotation settings: the maximum log file size (MB), and the maximum age (days) and number of rotated files. `localtime` has no effect, and `compress` must be false.", Supported("log_files_rotate")),
    Flag::new("log-package-levels", Text, "", "Log levels of packages in etcd 3.4.", Accepted("all packages have the same log level")),
    Flag::new("debug", Bool, "false", "Selects the log level debug in etcd 3.4.", Accepted("use --log-level=debug")),
    Flag::new("warning-apply-duration", Duration, "100ms", "Maximum time to apply an entry before a warning is logged.", Supported("elections_and_warnings")),
    Flag::new("warning-unary-request-duration", Duration, "300ms", "Maximum duration of a unary request before a warning is logged.", Supported("elections_and_warnings")),
    Flag::new("enable-distributed-tracing", Bool, "false", "Sends traces to an OpenTelemetry collector.", Refused("distributed tracing is not supported")),
    Flag::new("distributed-tracing-address", Text, "localhost:4317", "Address of the OpenTelemetry collector.", Accepted(TRACES)),
    Flag::new("distributed-tracing-service-name", Text, "etcd", "Service name in traces.", Accepted(TRACES)),
    Flag::new("distributed-tracing-instance-id", Text, "", "Instance ID of this member in traces.", Accepted(TRACES)),
    Flag::new("distributed-tracing-sampling-rate", Integer, "0", "Number of sampled spans per million.", Accepted(TRACES)),
];

/// Flags of the v3 API, of compactions, and of checks at intervals.
#[rustfmt::skip]
pub(super) const TUNING: &[Flag] = &[
    Flag::new("enable-grpc-gateway", Bool, "true", "Also serves the v3 API as JSON over HTTP.", Supported("the_gateway_can_be_turned_off")),
    Flag::new("auto-compaction-mode", Text, "periodic", "Mode of automatic compaction: periodic keeps old revisions by age, and revision keeps them by number.", Supported("automatic_compaction_removes_old_revisions")),
    Flag::new("auto-compaction-retention", Text, "0", "Age (periodic) or number (revision) of the old revisions to keep; 0 disables automatic compaction.", Supported("automatic_compaction_removes_old_revisions")),
    Flag::new("feature-gates", Text, "", "Feature gates of etcd, as comma-separated `NAME=true`: `InitialCorruptCheck`, `CompactHashCheck`, `SetMemberLocalAddr` (connects to other members from the first non-loopback IP address in `--initial-advertise-peer-urls`), or `AllAlpha` for all three. Other feature gates have no effect, and unknown names are refused.", Supported("members_that_differ_without_a_majority_do_not_start")),
    Flag::new("initial-corrupt-check", Bool, "false", "Compares this member's state with the other members' states before this member serves clients.", Supported("a_corrupt_member_is_rebuilt_before_it_serves")),
    Flag::new("corrupt-check-time", Duration, "0s", "Interval between comparisons of the members' states; 0 disables these comparisons.", Supported("a_corrupt_member_is_found_alarmed_and_rebuilt")),
    Flag::new("compact-hash-check-enabled", Bool, "false", "Compares the members' states after compactions.", Supported("states_are_compared_after_compactions")),
    Flag::new("compact-hash-check-time", Duration, "1m0s", "Interval between the leader's comparisons of the members' states after compactions.", Supported("states_are_compared_after_compactions")),
    Flag::new("compaction-batch-limit", Integer, "1000", "Maximum number of revisions that are compacted in a batch.", Accepted(ONE_STEP)),
    Flag::new("compaction-sleep-interval", Duration, "10ms", "Pause between batches of a compaction.", Accepted(ONE_STEP)),
    Flag::new("watch-progress-notify-interval", Duration, "10m0s", "Interval of progress notifications to idle watchers.", Supported("an_idle_watcher_gets_progress_notifications")),
    Flag::new("downgrade-check-time", Duration, "5s", "Interval at which the leader checks whether a downgrade is complete; 0 disables the check.", Supported("a_downgrade_ends_when_all_members_run_the_previous_release")),
    Flag::new("level-hold", Text, "24h", "Time for which all members must run releases with a higher feature level before the leader raises the level of the cluster. Until then, members can return to the previous release. With `0s`, the level rises as soon as all members support it; with `never`, it rises only by command. Not a flag of etcd.", Supported("the_level_rises_after_all_members_run_the_next_release")),
    Flag::new("snapshot-catchup-entries", Integer, "5000", "Number of log entries that are kept for slow members.", Accepted(LOG_BY_BYTES)),
    Flag::new("bootstrap-defrag-threshold-megabytes", Integer, "0", "Free space in MB above which etcd defragments at startup.", Accepted("Witan needs no defragmentation")),
    Flag::new("experimental-enable-lease-checkpoint", Bool, "false", "Records the remaining TTLs of leases.", Accepted("remaining TTLs of leases are always recorded")),
    Flag::new("experimental-enable-lease-checkpoint-persist", Bool, "false", "Keeps the recorded TTLs of leases when the leader changes.", Accepted("remaining TTLs of leases are always recorded")),
    Flag::new("experimental-txn-mode-write-with-shared-buffer", Bool, "true", "Uses a shared buffer of bbolt for the read-only checks of write transactions.", Accepted("Witan does not use bbolt")),
    Flag::new("experimental-stop-grpc-service-on-defrag", Bool, "false", "Stops the gRPC server of etcd during a defragmentation.", Accepted("a member serves clients during a defragmentation")),
];

/// Flags that only older versions of etcd have, and old names of flags.
#[rustfmt::skip]
pub(super) const RETIRED: &[Flag] = &[
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
