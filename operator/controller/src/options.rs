//! The operator's flags. Each flag has an environment variable, which the chart sets.

use std::{collections::BTreeSet, net::SocketAddr};

use clap::Args;

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Namespaces to watch, separated by commas; all namespaces if empty.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) environment: Environment,
    /// Address that serves /metrics.
    #[arg(long, env = "METRICS_ADDR", default_value = "[::]:8080")]
    pub(crate) metrics_addr: SocketAddr,
    /// Address that serves /healthz and /readyz.
    #[arg(long, env = "HEALTH_ADDR", default_value = "[::]:8081")]
    pub(crate) health_addr: SocketAddr,
    /// Whether replicas of the operator elect a leader through a Lease.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) leader_elect: bool,
    /// Namespace of the Lease; by default the namespace of the ServiceAccount or of the kubeconfig.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, env = "LEASE_NAME", default_value = "witan-operator")]
    pub(crate) lease_name: String,
    /// Identity of this replica in the Lease. Use the name of the pod, so that a restarted container does not wait until the
    /// Lease expires.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// Maximum number of clusters that are reconciled at the same time.
    #[arg(long, env = "MAX_CONCURRENT_RECONCILES", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_concurrent_reconciles: u16,
    /// Maximum number of clusters that roll out a changed template, version or member image at the same time. A stuck rollout
    /// counts toward this limit.
    #[arg(long, env = "MAX_CONCURRENT_ROLLOUTS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_concurrent_rollouts: u16,
}

/// Flags of `run` that passes need.
#[derive(Debug, Clone, Args)]
pub(crate) struct Environment {
    /// Image of the members, as repository:tag. spec.version of an EtcdCluster replaces the tag, and spec.image replaces the
    /// entire image.
    #[arg(long, env = "MEMBER_IMAGE", default_value = concat!("ghcr.io/witan/witan:", env!("CARGO_PKG_VERSION")))]
    pub(crate) member_image: String,
    /// Names of the secrets for pulling the member image, separated by commas, for clusters without spec.imagePullSecrets. The
    /// secrets must exist in each namespace.
    #[arg(long, env = "MEMBER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub(crate) member_image_pull_secrets: Vec<String>,
    /// Image of witan-operator for the pods that take and restore backups.
    #[arg(long, env = "BACKUP_IMAGE", default_value = concat!("ghcr.io/witan/witan-operator:", env!("CARGO_PKG_VERSION")))]
    pub(crate) backup_image: String,
    /// URL of the discovery service for clusters with bootstrap.discovery.local and no clusterRef.
    #[arg(long, env = "DISCOVERY_SERVICE_URL")]
    pub(crate) discovery_service_url: Option<String>,
}

impl Options {
    /// Returns the distinct namespaces to watch. A single `None` means all namespaces.
    pub(crate) fn scopes(&self) -> Vec<Option<String>> {
        let named: BTreeSet<_> = names(&self.watch_namespaces).into_iter().collect();
        match named.is_empty() {
            true => vec![None],
            false => named.into_iter().map(Some).collect(),
        }
    }
}

impl Environment {
    pub(crate) fn pull_secrets(&self) -> Vec<String> {
        names(&self.member_image_pull_secrets)
    }
}

/// Trims names and drops empty names, because an environment variable without a value yields one empty name.
fn names(list: &[String]) -> Vec<String> {
    let trimmed = list.iter().map(|name| name.trim());
    let named = trimmed.filter(|name| !name.is_empty());
    named.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::options as parse;

    #[test]
    fn namespaces_are_a_list_or_all() {
        assert_eq!(parse(&["--watch-namespaces", ""]).scopes(), [None]);
        assert_eq!(
            parse(&["--watch-namespaces", "a, b,a"]).scopes(),
            [Some("a".to_owned()), Some("b".to_owned())]
        );
        assert_eq!(parse(&[]).scopes(), [None]);
    }

    #[test]
    fn pull_secrets_are_a_list_or_none() {
        let secrets = |list: &str| {
            let options = parse(&["--member-image-pull-secrets", list]);
            options.environment.pull_secrets()
        };
        assert_eq!(secrets("mine, ours"), ["mine", "ours"]);
        assert!(secrets("").is_empty());
    }

    #[test]
    fn the_election_can_be_turned_off() {
        assert!(parse(&[]).leader_elect);
        assert!(parse(&["--leader-elect"]).leader_elect);
        assert!(!parse(&["--leader-elect=false"]).leader_elect);
    }
}
