//! Flags for cluster bootstrap and membership.

use super::{Flag, FlagKind, accepted, refused, supported};
use FlagKind::{Bool, Duration, Integer, Text};

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("initial-advertise-peer-urls", Text, "http://localhost:2380", "URLs at which other members reach this one.", supported("ids_are_etcds")),
    Flag::new("initial-cluster", Text, "", "Initial members as NAME=URL, comma-separated; only this member if not given.", supported("ids_are_etcds")),
    Flag::new("initial-cluster-state", Text, "new", "`new` for a new cluster, `existing` to join one.", supported("a_member_joins_a_running_cluster_and_leaves_it")),
    Flag::new("initial-cluster-token", Text, "etcd-cluster", "Distinguishes clusters that have members with the same URLs.", supported("ids_are_etcds")),
    Flag::new("advertise-client-urls", Text, "http://localhost:2379", "URLs at which clients reach this member.", supported("several_client_urls")),
    Flag::new("discovery", Text, "", "URL of a discovery token.", supported("a_proxy_is_asked_for_whole_urls")),
    Flag::new("discovery-proxy", Text, "", "HTTP proxy for requests to the discovery service.", supported("a_proxy_is_asked_for_whole_urls")),
    Flag::new("discovery-fallback", Text, "exit", "What to do when discovery fails.", supported("who_comes_late_ends_whatever_the_fallback")),
    Flag::new("discovery-srv", Text, "", "DNS domain whose SRV records name the first members.", supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-srv-name", Text, "", "Suffix of the SRV records' name.", supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-srv-server", Text, "", "Name server (ADDRESS:PORT) for SRV records, such as Consul's; the ones in `/etc/resolv.conf` if not given. etcd has no such flag.", supported("ids_come_from_the_names_of_the_targets")),
    Flag::new("discovery-token", Text, "", "Token of v3 discovery.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.token"),
    Flag::new("discovery-endpoints", Text, "", "Endpoints of v3 discovery.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.endpoints"),
    Flag::new("discovery-dial-timeout", Duration, "2s", "Timeout for connecting to v3 discovery.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.dial-timeout"),
    Flag::new("discovery-request-timeout", Duration, "5s", "Timeout for requests to v3 discovery.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.request-timeout"),
    Flag::new("discovery-keepalive-time", Duration, "2s", "Time without data after which a connection to v3 discovery is pinged.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.keepalive-time"),
    Flag::new("discovery-keepalive-timeout", Duration, "6s", "Timeout for the answer to that ping.", supported("v3_discovery_gives_up_in_time")).yaml("discovery-config.keepalive-timeout"),
    Flag::new("discovery-insecure-transport", Bool, "true", "Whether v3 discovery is reached without TLS.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.insecure-transport"),
    Flag::new("discovery-insecure-skip-tls-verify", Bool, "false", "Whether the certificate of v3 discovery is not checked.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.insecure-skip-tls-verify"),
    Flag::new("discovery-cert", Text, "", "Certificate for v3 discovery.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.cert"),
    Flag::new("discovery-key", Text, "", "Key for v3 discovery.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.key"),
    Flag::new("discovery-cacert", Text, "", "Certificate authority of v3 discovery.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.cacert"),
    Flag::new("discovery-user", Text, "", "User of v3 discovery.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.user"),
    Flag::new("discovery-password", Text, "", "Password of v3 discovery.", supported("v3_discovery_over_tls_with_a_user")).yaml("discovery-config.password"),
    Flag::new("discovery-service-url", Text, "", "Base URL of the tokens that this member's `/new` creates; the URL of the request if not given. etcd has no such flag.", supported("tokens_are_below_the_url_of_the_flag")),
    Flag::new("strict-reconfig-check", Bool, "true", "Whether changes of membership that would cost the quorum are refused.", supported("additions_are_refused_while_a_member_has_not_started")),
    Flag::new("pre-vote", Bool, "true", "Whether a member runs a pre-vote before it campaigns.", supported("elections_and_warnings")),
    Flag::new("max-learners", Integer, "1", "Maximum number of learners.", supported("the_number_of_learners_is_bounded_by_a_flag")),
    Flag::new("wait-cluster-ready-timeout", Duration, "5s", "How long a starting member waits for a leader before it serves clients without one; 0 does not wait.", supported("a_member_that_waits_for_the_others_ends_with_sigterm")),
    Flag::new("enable-v2", Bool, "true", "Whether the v2 API is served: keys, members, users, counters. Without it v1 and the discovery service are not served either.", supported("a_dialect_that_is_turned_off_is_not_there")),
    Flag::new("enable-v1", Bool, "true", "Whether the API of etcd 0.1, a view of v2's keys, is served. etcd has no such flag.", supported("a_dialect_that_is_turned_off_is_not_there")),
    Flag::new("v2-deprecation", Text, "write-only", "Stage of etcd's removal of the v2 API.", accepted("only --enable-v2 decides whether the v2 API is served")),
    Flag::new("experimental-enable-v2v3", Text, "", "Prefix of v3 keys that serve the v2 API.", refused("v2 keys live in a key space of their own, as in etcd without this flag")),
];
