//! The commands of the plugin and their flags.

mod flags;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use flags::{BackupFlags, ReportFlags, RestoreFlags, TopFlags};

/// Inspects and repairs Witan clusters in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kubectl-witan", bin_name = "kubectl witan", version, about)]
pub(super) struct PluginLine {
    #[command(flatten)]
    pub(super) target: TargetFlags,
    #[command(subcommand)]
    pub(super) command: PluginCommand,
}

/// The API server and the namespace.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(super) struct TargetFlags {
    /// Path of the kubeconfig; by default $KUBECONFIG or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default the current context.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Namespace; by default the namespace of the context.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
}

/// Commands of the plugin.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Shows the state of a cluster and the current step of the operator. Only queries the API server.
    Status {
        /// The EtcdCluster.
        cluster: String,
        #[command(flatten)]
        format: FormatFlag,
    },
    /// Takes a backup of a cluster now (creates an EtcdBackup).
    Backup(BackupFlags),
    /// Creates an EtcdCluster from a backup, with the spec of the cluster that was backed up. With --in-place, replaces the
    /// data of an existing EtcdCluster; with --undo, returns it to its previous disks.
    Restore(RestoreFlags),
    /// Transfers leadership to another voter.
    MoveLeader {
        /// The EtcdCluster.
        cluster: String,
        /// The voter that becomes the leader.
        member: String,
        /// Waits until the operation succeeds or fails.
        #[arg(long)]
        wait: bool,
    },
    /// Replaces a member with a new member on a new disk. Waits until a quorum of the other members serves.
    Replace {
        /// The EtcdCluster.
        cluster: String,
        /// The member to replace.
        member: String,
        /// Waits until the operation succeeds or fails.
        #[arg(long)]
        wait: bool,
    },
    /// Forces a new cluster from one member after the quorum is permanently lost. Writes that only the other members had are
    /// lost.
    Recover {
        /// The EtcdCluster.
        cluster: String,
        /// The member that becomes the first member of the new cluster.
        member: String,
        /// Skips the confirmation.
        #[arg(long)]
        yes: bool,
        /// Waits until the operation succeeds or fails.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Restarts all members, one at a time and the leader last.
    Restart {
        /// The EtcdCluster.
        cluster: String,
        /// Waits until the operation succeeds or fails.
        #[arg(long)]
        wait: bool,
    },
    /// Counts keys and estimates their size by prefix.
    Top(TopFlags),
    /// Lists the versions of a key since its creation or the last compaction, newest first.
    History {
        /// The EtcdCluster.
        cluster: String,
        /// The key.
        #[arg(value_name = "KEY")]
        of: String,
        /// Revision to start from; by default the newest.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        rev: Option<i64>,
        /// Maximum number of versions; 0 lists all.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        format: FormatFlag,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Lists the keys with a prefix that have changed since an earlier revision.
    Diff {
        /// The EtcdCluster.
        cluster: String,
        /// The key prefix and the revision, as PREFIX@REVISION.
        at: PrefixAt,
        #[command(flatten)]
        format: FormatFlag,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Reverts the keys with a prefix to an earlier revision, in one transaction. The transaction fails if one of the keys
    /// changes in the meantime. Without --yes, only shows the changes.
    Revert {
        /// The EtcdCluster.
        cluster: String,
        /// The key prefix and the revision, as PREFIX@REVISION.
        at: PrefixAt,
        /// Applies the changes.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Collects data for support in a file: resources, events, logs and metrics, but no values and no Secrets.
    Report(ReportFlags),
}

/// The output format.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct FormatFlag {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How members are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access to the members")]
pub(super) struct MemberFlags {
    /// Comma-separated HOST:PORT of members. By default, members are reached through the API server.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESSES")]
    pub(super) endpoints: Vec<String>,
    /// CA certificates for verifying the members (PEM). By default, the certificates and the key of the operator are used.
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    pub(super) cacert: Option<PathBuf>,
    /// Client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cacert")]
    pub(super) cert: Option<PathBuf>,
    /// Key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cacert")]
    pub(super) key: Option<PathBuf>,
    /// User, if authentication is enabled; by default root, with the password from its Secret.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(super) user: Option<String>,
    /// File with the password of the user.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) password_file: Option<PathBuf>,
}

/// A key prefix and a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrefixAt {
    pub(super) prefix: String,
    pub(super) revision: i64,
}

impl std::str::FromStr for PrefixAt {
    type Err = String;

    /// Parses `PREFIX@REVISION`; the prefix can contain `@`. Fails if the prefix is empty or the revision is not positive.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not PREFIX@REVISION, such as /registry/deployments/@1200");
        let (prefix, revision) = text.rsplit_once('@').ok_or_else(wrong)?;
        let revision = revision.parse().ok().filter(|revision| *revision > 0);
        if prefix.is_empty() {
            return Err("the prefix is empty, which would select all keys".to_owned());
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            revision: revision.ok_or_else(wrong)?,
        })
    }
}
