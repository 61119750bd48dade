//! Flags of one member: its name, files, ports and limits.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Refused, Supported};

const LOG_AND_CHECKPOINT: &str =
    "Witan decides when to write checkpoints and how much of the log to keep";
const NO_BBOLT: &str = "Witan does not use bbolt";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
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
    Flag::new("from", Text, "", "Client URLs of an etcd 3.4 to 3.7 cluster. A new cluster copies and follows that cluster and refuses client writes before the cut-over. Use this flag as witan follow --from.", Supported("three_members_replace_three_while_members_are_killed")),
    Flag::new("from-cacert", Text, "", "CA certificate file for verifying the cluster of --from; by default the CA certificates of the system.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-cert", Text, "", "Client certificate file for the cluster of --from.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-key", Text, "", "Key file of --from-cert.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-insecure-skip-tls-verify", Bool, "false", "Does not verify the certificates of the --from cluster.", Supported("a_source_that_does_not_know_the_client_is_not_followed")),
    Flag::new("from-user", Text, "", "User of the cluster of --from. The user needs the role root.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-password", Text, "", "Password of --from-user.", Supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("force-new-cluster", Bool, "false", "Forces a new cluster: removes all other members at startup, so that this member continues alone with its data. The other members can never rejoin.", Supported("a_member_continues_alone_after_the_others_are_lost")),
    Flag::new("unsafe-no-fsync", Bool, "false", "Unsafe: disables fsync, so that a power failure can lose acknowledged writes.", Supported("elections_and_warnings")),
    Flag::new("config-file", Text, "", "Path of a YAML configuration file. If set, other flags and environment variables are ignored.", Supported("a_configuration_file_overrides_all_flags")),
];
