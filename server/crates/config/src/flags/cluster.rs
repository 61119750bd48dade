//! Flags for cluster bootstrap and membership.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Refused, Supported};

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
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
    Flag::new("wait-cluster-ready-timeout", Duration, "5s", "How long a member waits at startup for the cluster to be ready before it serves clients; 0 disables the wait.", Supported("a_member_that_waits_for_the_others_ends_with_sigterm")),
    Flag::new("enable-v2", Bool, "true", "Serves the v2 API: keys, members, users and statistics. If false, the v1 API and the discovery service are not served either.", Supported("a_disabled_dialect_answers_like_an_unknown_path")),
    Flag::new("enable-v1", Bool, "true", "Serves the v1 API of etcd 0.1, a view of the v2 keys. Not a flag of etcd.", Supported("a_disabled_dialect_answers_like_an_unknown_path")),
    Flag::new("v2-deprecation", Text, "write-only", "Stage of the v2 API's removal from etcd.", Accepted("only --enable-v2 decides whether the v2 API is served")),
    Flag::new("experimental-enable-v2v3", Text, "", "Prefix of the v3 keys in which the v2 API stores its data.", Refused("v2 keys have their own key space, as in etcd without this flag")),
];
