//! The operator's flags. Each has an environment variable, which the chart sets.

use std::{collections::BTreeSet, net::SocketAddr};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs clusters of Witan in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "witan-operator", version, about)]
pub struct CommandLine {
    /// The command; `run` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub options: Options,
}

/// Commands of the program.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Watches EtcdClusters and realizes them (default).
    Run,
    /// Prints the CustomResourceDefinition as YAML.
    Crd,
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Namespaces to watch, separated by commas; all if empty.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', global = true)]
    pub watch_namespaces: Vec<String>,
    /// Settings for passes.
    #[command(flatten)]
    pub environment: Environment,
    /// Address that serves /metrics.
    #[arg(long, env = "METRICS_ADDR", default_value = "[::]:8080", global = true)]
    pub metrics_addr: SocketAddr,
    /// Address that serves /healthz and /readyz.
    #[arg(long, env = "HEALTH_ADDR", default_value = "[::]:8081", global = true)]
    pub health_addr: SocketAddr,
    /// Whether replicas of the operator elect the one that acts by a Lease.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", global = true)]
    pub leader_elect: bool,
    /// Namespace of the Lease; by default the one of the service account, or of the kubeconfig.
    #[arg(long, env = "POD_NAMESPACE", global = true)]
    pub lease_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(
        long,
        env = "LEASE_NAME",
        default_value = "witan-operator",
        global = true
    )]
    pub lease_name: String,
    /// Identity of this replica in the Lease: the pod's name, so that a restarted container does not wait for the
    /// lease.
    #[arg(long, env = "POD_NAME", global = true)]
    pub identity: Option<String>,
    /// How many clusters are reconciled at once.
    #[arg(long, env = "MAX_CONCURRENT_RECONCILES", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..), global = true)]
    pub max_concurrent_reconciles: u16,
    /// How many clusters are updated at once to a changed template or version, such as that of a new member image. A
    /// cluster whose update does not finish counts until it does.
    #[arg(long, env = "MAX_CONCURRENT_ROLLOUTS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..), global = true)]
    pub max_concurrent_rollouts: u16,
    /// Log level: error, warn, info, debug, trace, or a filter such as info,kube=debug.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    pub log_level: String,
    /// Format of the log.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_enum,
        default_value = "json",
        global = true
    )]
    pub log_format: LogFormat,
}

/// Flags of `run` about passes.
#[derive(Debug, Clone, Args)]
pub struct Environment {
    /// Image of members, as repository:tag. spec.version of a cluster replaces the tag, spec.image the whole.
    #[arg(long, env = "MEMBER_IMAGE", default_value = concat!("ghcr.io/witan/witan:", env!("CARGO_PKG_VERSION")), global = true)]
    pub member_image: String,
    /// Names of the secrets with which members of clusters without spec.imagePullSecrets pull their image, separated by
    /// commas. The secrets must exist in each namespace.
    #[arg(
        long,
        env = "MEMBER_IMAGE_PULL_SECRETS",
        value_delimiter = ',',
        global = true
    )]
    pub member_image_pull_secrets: Vec<String>,
    /// URL of the discovery service for clusters with bootstrap.discovery.local and no clusterRef.
    #[arg(long, env = "DISCOVERY_SERVICE_URL", global = true)]
    pub discovery_service_url: Option<String>,
}

impl Options {
    /// Returns the namespaces to watch, each once; a single `None` stands for all of them.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let named: BTreeSet<_> = names(&self.watch_namespaces).into_iter().collect();
        if named.is_empty() {
            vec![None]
        } else {
            named.into_iter().map(Some).collect()
        }
    }
}

impl Environment {
    /// Returns the secrets with which members of clusters that name none pull their image.
    pub fn pull_secrets(&self) -> Vec<String> {
        names(&self.member_image_pull_secrets)
    }
}

/// The names in a list; an empty text, as an environment variable without a value gives it, is none.
fn names(list: &[String]) -> Vec<String> {
    let trimmed = list.iter().map(|name| name.trim());
    let named = trimmed.filter(|name| !name.is_empty());
    named.map(str::to_owned).collect()
}

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A JSON object per line.
    Json,
    /// Text for people.
    Text,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn namespaces_are_a_list_or_all() {
        let parse = |arguments: &[&str]| {
            CommandLine::parse_from([&["witan-operator"], arguments].concat())
                .options
                .scopes()
        };
        assert_eq!(parse(&["--watch-namespaces", ""]), [None]);
        assert_eq!(
            parse(&["--watch-namespaces", "a, b,a"]),
            [Some("a".to_owned()), Some("b".to_owned())]
        );
        assert_eq!(parse(&["run"]), [None]);
    }

    #[test]
    fn pull_secrets_are_a_list_or_none() {
        let parse = |list: &str| {
            let arguments = ["witan-operator", "--member-image-pull-secrets", list];
            CommandLine::parse_from(arguments)
                .options
                .environment
                .pull_secrets()
        };
        assert_eq!(parse("mine, ours"), ["mine", "ours"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn the_election_can_be_turned_off() {
        let parse = |arguments: &[&str]| {
            CommandLine::parse_from([&["witan-operator"], arguments].concat())
                .options
                .leader_elect
        };
        assert!(parse(&[]));
        assert!(parse(&["--leader-elect"]));
        assert!(!parse(&["--leader-elect=false"]));
    }
}
