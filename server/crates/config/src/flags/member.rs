//! Flags of one member: its name, its files, its ports, its limits.

use super::{Flag, FlagKind, accepted, refused, supported};
use FlagKind::{Bool, Duration, Integer, Text};

const LOG_AND_CHECKPOINT: &str =
    "Witan decides by itself when to write checkpoints and how much of the log to keep";
const NO_BBOLT: &str = "there is no bbolt here";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("name", Text, "default", "Name of this member in --initial-cluster, in lists and in logs.", supported("name_and_data_dir")),
    Flag::new("data-dir", Text, "", "Directory for all data of this member; NAME.etcd if not given, where NAME is --name.", supported("name_and_data_dir")),
    Flag::new("adopt-etcd", Bool, "false", "Adopts the data of etcd 3.4 to 3.7 if the data directory contains them and none of Witan's; etcd's files stay unchanged.", supported("a_start_adopts_the_data_of_etcd")),
    Flag::new("wal-dir", Text, "", "Directory for the raft log, if it should be outside the data directory: the log is in its subfolder log.", supported("the_raft_log_in_a_directory_of_its_own")),
    Flag::new("listen-client-urls", Text, "http://localhost:2379", "URLs to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given.", supported("several_client_urls")),
    Flag::new("listen-client-http-urls", Text, "", "URLs to listen on for HTTP only; --listen-client-urls then serve gRPC only.", supported("http_and_metrics_urls_of_their_own")),
    Flag::new("listen-peer-urls", Text, "http://localhost:2380", "URLs to listen on for other members.", supported("peer_ports_and_their_timeouts")),
    Flag::new("snapshot-count", Integer, "10000", "Number of entries of the raft log after which etcd writes a snapshot.", accepted(LOG_AND_CHECKPOINT)),
    Flag::new("max-snapshots", Integer, "5", "Number of snapshot files that etcd keeps.", accepted(LOG_AND_CHECKPOINT)),
    Flag::new("max-wals", Integer, "5", "Number of log files that etcd keeps.", accepted(LOG_AND_CHECKPOINT)),
    Flag::new("heartbeat-interval", Integer, "100", "Milliseconds between two heartbeats that a leader sends to the other members.", supported("elections_and_warnings")),
    Flag::new("election-timeout", Integer, "1000", "Milliseconds without a heartbeat after which a member starts an election; at least five times --heartbeat-interval.", supported("elections_and_warnings")),
    Flag::new("initial-election-tick-advance", Bool, "true", "Whether a starting member shortens its first election timeout.", accepted("a sole member campaigns at once")),
    Flag::new("quota-backend-bytes", Integer, "0", "Bytes of stored data at which writes that add data are refused; 0 means 2 GiB, a negative number no limit.", supported("a_full_quota_refuses_what_grows")),
    Flag::new("disk-reserve-bytes", Integer, "0", "Writes that add data are refused while the disk has fewer free bytes than this; 0 means an eighth of the disk, at most 256 MiB; a negative number disables the check.", supported("reserve_and_ballast_are_as_large_as_asked")),
    Flag::new("disk-ballast-bytes", Integer, "0", "Size of a file that only occupies space and is deleted when the disk is full, so that this member can still delete data; 0 means a thirty-second of the disk, at most 16 MiB; a negative number disables it.", supported("reserve_and_ballast_are_as_large_as_asked")),
    Flag::new("max-txn-ops", Integer, "128", "Maximum number of operations in a transaction.", supported("limits_of_requests")),
    Flag::new("max-request-bytes", Integer, "1572864", "Maximum bytes of a request.", supported("limits_of_requests")),
    Flag::new("max-concurrent-streams", Integer, "4294967295", "Maximum number of gRPC calls that are open at once on one connection.", supported("connection_settings")),
    Flag::new("grpc-keepalive-min-time", Duration, "5s", "Minimum time between two pings of a client; one that pings more often is disconnected.", supported("too_many_pings_end_the_connection")),
    Flag::new("grpc-keepalive-interval", Duration, "2h0m0s", "Time without data from a gRPC client after which it is pinged; 0 turns pings off.", supported("connection_settings")),
    Flag::new("grpc-keepalive-timeout", Duration, "20s", "Time after which a gRPC client that does not answer a ping is disconnected.", supported("connection_settings")),
    Flag::new("socket-reuse-port", Bool, "false", "Lets several processes listen on the same port (SO_REUSEPORT).", supported("connection_settings")).yaml("socket-options.reuse-port"),
    Flag::new("socket-reuse-address", Bool, "false", "Lets this process listen on a port while old connections to it are closing (SO_REUSEADDR).", accepted("it is always on")).yaml("socket-options.reuse-address"),
    Flag::new("raft-read-timeout", Duration, "5s", "Time without data from another member after which its connection is closed; at least 3s.", supported("peer_ports_and_their_timeouts")),
    Flag::new("raft-write-timeout", Duration, "5s", "Time after which the connection to another member that reads nothing is closed; at least 3s.", supported("peer_ports_and_their_timeouts")),
    Flag::new("memory-mlock", Bool, "false", "Keeps the data in memory from being swapped out.", refused("memory cannot be locked; turn swap off for this process instead")),
    Flag::new("backend-bbolt-freelist-type", Text, "map", "How bbolt stores its list of free pages.", accepted(NO_BBOLT)),
    Flag::new("backend-batch-interval", Duration, "0s", "Longest time for which bbolt collects writes in one transaction.", accepted(NO_BBOLT)),
    Flag::new("backend-batch-limit", Integer, "0", "Maximum number of writes that bbolt collects in one transaction.", accepted(NO_BBOLT)),
    Flag::new("from", Text, "", "Client URLs of a cluster of etcd 3.4 to 3.7: a new member copies it, follows it and takes no writes of clients before the cut-over. Written as witan follow --from.", supported("three_members_take_the_place_of_three_while_members_are_killed")),
    Flag::new("from-cacert", Text, "", "Certificate authority of the cluster of --from; the system's if not given.", supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-cert", Text, "", "Client certificate for the cluster of --from.", supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-key", Text, "", "Key of --from-cert.", supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-insecure-skip-tls-verify", Bool, "false", "Whether the certificates of the cluster of --from are not checked.", supported("a_source_that_does_not_know_the_client_is_not_followed")),
    Flag::new("from-user", Text, "", "User of the cluster of --from; needs the root role.", supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("from-password", Text, "", "Password of --from-user.", supported("a_source_with_tls_and_users_is_followed")),
    Flag::new("force-new-cluster", Bool, "false", "Removes all other members at each start, so that this member continues alone with its data. The others can never rejoin.", supported("a_member_whose_others_are_lost_goes_on_alone")),
    Flag::new("unsafe-no-fsync", Bool, "false", "Acknowledges writes before they are on disk: a power cut loses them.", supported("elections_and_warnings")),
    Flag::new("config-file", Text, "", "YAML file with the settings; flags and environment variables are then ignored.", supported("a_file_alone_wins")),
];
