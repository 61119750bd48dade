//! Builds the command line of a member from the spec and the plan of its pod.

use std::fmt::Display;

use witan_crd::{ByteQuantity, Options, ports};
use witan_plan::model::{Bootstrap, JoinMember, PeerTls, PodPlan};

use super::{
    names::{Cluster, scheme},
    word,
};

/// Mount path of a member's volume. The data is in a subdirectory, because file systems create files at the root of the volume.
pub(super) const VOLUME: &str = "/var/lib/etcd";
pub(super) const PEER_SECRET: &str = "/etc/witan/peer";
pub(super) const CLIENT_SECRET: &str = "/etc/witan/client";

/// Returns all flags of a member. `extraArgs` come last.
pub(super) fn flags(cluster: &Cluster<'_>, plan: &PodPlan) -> Vec<String> {
    let mut flags = identity(cluster, plan);
    flags.extend(bootstrap(cluster, plan));
    flags.extend(tls(cluster, plan));
    let options = cluster.spec().options.clone().unwrap_or_default();
    flags.extend(option_flags(&options));
    let more = options.extra_args.into_iter();
    flags.extend(more.map(|(name, value)| flag(&name, &value.0)));
    flags
}

/// Returns the flags with which `snapshot restore` creates the data directory of an initial member.
pub(super) fn restore(cluster: &Cluster<'_>, plan: &PodPlan) -> Vec<String> {
    let shared = [
        "--name=",
        "--data-dir=",
        "--initial-cluster=",
        "--initial-cluster-token=",
        "--initial-advertise-peer-urls=",
    ];
    let all = identity(cluster, plan).into_iter();
    let all = all.chain(bootstrap(cluster, plan));
    all.filter(|flag| shared.iter().any(|name| flag.starts_with(name)))
        .collect()
}

fn flag(name: &str, value: impl Display) -> String {
    format!("--{name}={value}")
}

/// Returns the flags for the name, the data directory, the URLs and the cluster token of a member.
fn identity(cluster: &Cluster<'_>, plan: &PodPlan) -> Vec<String> {
    // [::] also accepts IPv4. 0.0.0.0 would be unreachable if pods have only IPv6 addresses.
    let peer = scheme(plan.peer_tls == PeerTls::On);
    let client = cluster.client_scheme();
    let client_url = cluster.client_url(plan.ordinal);
    let peer_url = cluster.peer_url(plan.ordinal, plan.peer_tls);
    vec![
        flag("name", cluster.resource.member(plan.ordinal)),
        format!("--data-dir={VOLUME}/data"),
        format!("--listen-peer-urls={peer}://[::]:{}", ports::PEER),
        format!("--listen-client-urls={client}://[::]:{}", ports::CLIENT),
        format!("--listen-metrics-urls=http://[::]:{}", ports::METRICS),
        flag("advertise-client-urls", client_url),
        flag("initial-advertise-peer-urls", peer_url),
        flag("initial-cluster-token", cluster.token()),
    ]
}

/// Returns the flags with which a member finds its cluster. A restarted member lists only itself. An initial member reads the
/// state of its cluster from an environment variable instead of a flag.
fn bootstrap(cluster: &Cluster<'_>, plan: &PodPlan) -> Vec<String> {
    let own = |ordinal| {
        let url = cluster.peer_url(ordinal, plan.peer_tls);
        format!("{}={url}", cluster.resource.member(ordinal))
    };
    let members = match &plan.bootstrap {
        Bootstrap::Discovery { url } => return vec![flag("discovery", url)],
        Bootstrap::New { first, members } => {
            let members: Vec<_> = (*first..first + members).map(own).collect();
            return vec![flag("initial-cluster", members.join(","))];
        }
        Bootstrap::Restart | Bootstrap::Forced => vec![own(plan.ordinal)],
        Bootstrap::Join { members } => {
            let pairs = members.iter().flat_map(|member| {
                let name = name(cluster, member);
                let urls = member.peer_urls.iter();
                urls.map(move |url| format!("{name}={url}"))
            });
            pairs.collect::<Vec<_>>()
        }
    };
    let mut flags = vec![
        flag("initial-cluster", members.join(",")),
        flag("initial-cluster-state", "existing"),
    ];
    if plan.bootstrap == Bootstrap::Forced {
        flags.push("--force-new-cluster".to_owned());
    }
    flags
}

/// Returns the name of a member for `--initial-cluster`: the name for its ordinal, or else its reported name, or else its id.
fn name(cluster: &Cluster<'_>, member: &JoinMember) -> String {
    match member.ordinal {
        Some(ordinal) => cluster.resource.member(ordinal),
        None if member.name.is_empty() => format!("{:x}", member.id),
        None => member.name.clone(),
    }
}

/// Returns the TLS flags. A member that listens in plaintext can still have a certificate, to connect to members that use TLS.
fn tls(cluster: &Cluster<'_>, plan: &PodPlan) -> Vec<String> {
    let mut flags = Vec::new();
    if plan.peer_tls >= PeerTls::Ready {
        flags.extend([
            format!("--peer-cert-file={PEER_SECRET}/tls.crt"),
            format!("--peer-key-file={PEER_SECRET}/tls.key"),
            format!("--peer-trusted-ca-file={PEER_SECRET}/ca.crt"),
            flag("peer-client-cert-auth", "true"),
            // Pod addresses are not in the certificate.
            flag("peer-skip-client-san-verification", "true"),
        ]);
    }
    if let Some(source) = cluster.spec().client_tls() {
        flags.extend([
            format!("--cert-file={CLIENT_SECRET}/tls.crt"),
            format!("--key-file={CLIENT_SECRET}/tls.key"),
        ]);
        if source.client_cert_auth {
            flags.push(format!("--trusted-ca-file={CLIENT_SECRET}/ca.crt"));
            flags.push(flag("client-cert-auth", "true"));
        }
    }
    flags
}

/// Returns the flags for `spec.options`, without `extraArgs`. An optional value that is missing or invalid, and an API that is
/// enabled, get no flag.
fn option_flags(options: &Options) -> Vec<String> {
    let retention = &options.auto_compaction_retention;
    let mut flags = vec![
        flag("auto-compaction-mode", word(options.auto_compaction_mode)),
        format!("--auto-compaction-retention={retention}"),
        flag("heartbeat-interval", options.heartbeat_interval_ms),
        flag("election-timeout", options.election_timeout_ms),
        flag("metrics", word(options.metrics)),
        flag("log-level", word(options.log_level)),
    ];
    let quota = options.quota_backend_bytes.as_ref();
    let quota = quota.and_then(ByteQuantity::bytes);
    flags.extend(quota.map(|bytes| flag("quota-backend-bytes", bytes)));
    let bytes = options.max_request_bytes.filter(|n| *n >= 0);
    flags.extend(bytes.map(|bytes| flag("max-request-bytes", bytes)));
    let ops = options.max_txn_ops.filter(|n| *n >= 0);
    flags.extend(ops.map(|ops| flag("max-txn-ops", ops)));
    let apis = [
        ("enable-v1", options.enable_v1),
        ("enable-v2", options.enable_v2),
        ("enable-grpc-gateway", options.enable_grpc_gateway),
    ];
    let disabled = apis.into_iter().filter(|(_, enabled)| !enabled);
    flags.extend(disabled.map(|(name, _)| flag(name, "false")));
    flags
}
