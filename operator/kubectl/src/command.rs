//! The commands of the plugin and their flags.

mod flags;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use flags::{BackupFlags, LogFlags, ReportFlags, RestoreFlags, TopFlags};

/// Shows and mends clusters of Witan in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kubectl-witan", bin_name = "kubectl witan", version, about)]
pub(super) struct PluginLine {
    #[command(flatten)]
    pub(super) target: TargetFlags,
    #[command(subcommand)]
    pub(super) command: PluginCommand,
}

/// Which API server, and which namespace.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(super) struct TargetFlags {
    /// The kubeconfig; by default that of KUBECONFIG or of ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one by default.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The namespace; by default that of the context.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
}

/// Commands of the plugin.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Shows how a cluster is and what the operator does, or all clusters as a table. Asks the API server alone.
    Status {
        /// The EtcdCluster; all of the namespace by default.
        cluster: Option<String>,
        /// All namespaces.
        #[arg(short = 'A', long, conflicts_with = "cluster")]
        all_namespaces: bool,
        #[command(flatten)]
        format: FormatFlag,
    },
    /// Takes a backup of a cluster now, as an EtcdBackup.
    Backup(BackupFlags),
    /// Lists EtcdBackups, the newest first.
    Backups {
        /// The EtcdCluster; those of all clusters by default.
        cluster: Option<String>,
        /// All namespaces.
        #[arg(short = 'A', long, conflicts_with = "cluster")]
        all_namespaces: bool,
        #[command(flatten)]
        format: FormatFlag,
    },
    /// Creates an EtcdCluster that begins from a backup, with the spec of the cluster that was backed up. With --in-place the data
    /// of an EtcdCluster is replaced, and with --undo it goes back to its old disks.
    Restore(RestoreFlags),
    /// Transfers leadership to another voter.
    MoveLeader {
        /// The EtcdCluster.
        cluster: String,
        /// The voter that is to lead.
        member: String,
        /// Waits until it has succeeded or failed.
        #[arg(long)]
        wait: bool,
    },
    /// Replaces a member and its disk by a new one, once a quorum of the others serves.
    Replace {
        /// The EtcdCluster.
        cluster: String,
        /// The member.
        member: String,
        /// Waits until it has succeeded or failed.
        #[arg(long)]
        wait: bool,
    },
    /// Forces a new cluster from one surviving member, after the disks of most others are lost. What only they had is lost.
    Recover {
        /// The EtcdCluster.
        cluster: String,
        /// The surviving member.
        member: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// Waits until it has succeeded or failed.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Restarts all members, one at a time and the leader last.
    Restart {
        /// The EtcdCluster.
        cluster: String,
        /// Waits until it has succeeded or failed.
        #[arg(long)]
        wait: bool,
    },
    /// Prints the logs of members.
    Logs(LogFlags),
    /// Counts keys and estimates their bytes by prefix, or shows who reads, writes and watches them.
    Top(TopFlags),
    /// Lists the versions of a key, the newest first, until its creation or the last compaction.
    #[command(allow_missing_positional = true)]
    History {
        /// The EtcdCluster; with --endpoints it may be left out.
        #[arg(required_unless_present = "endpoints")]
        cluster: Option<String>,
        /// The key.
        #[arg(value_name = "KEY")]
        of: String,
        /// The revision to begin from; the newest by default.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        rev: Option<i64>,
        /// How many versions at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// How values are shown; as text by default.
        #[arg(long, value_enum)]
        decode: Option<Decode>,
        #[command(flatten)]
        format: FormatFlag,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Lists the keys below a prefix that differ from those at an earlier revision.
    #[command(allow_missing_positional = true)]
    Diff {
        /// The EtcdCluster; with --endpoints it may be left out.
        #[arg(required_unless_present = "endpoints")]
        cluster: Option<String>,
        /// PREFIX@REVISION.
        at: PrefixAt,
        #[command(flatten)]
        format: FormatFlag,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Brings the keys below a prefix back to an earlier revision, in one transaction that fails if one of them has
    /// changed since it was read. Only shows what it would do without --yes.
    #[command(allow_missing_positional = true)]
    Revert {
        /// The EtcdCluster; with --endpoints it may be left out.
        #[arg(required_unless_present = "endpoints")]
        cluster: Option<String>,
        /// PREFIX@REVISION.
        at: PrefixAt,
        /// Does it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        members: MemberFlags,
    },
    /// Collects what support needs into a file: resources, events, logs, metrics; no values, no secrets.
    Report(ReportFlags),
}

/// The format of what is listed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct FormatFlag {
    /// Format.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// Formats of what is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How values are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Decode {
    /// As objects that the API server of Kubernetes stores.
    K8s,
}

/// Kinds of rows of `top --rates`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// The first two segments of the path of keys.
    Prefix,
    /// The address of a client.
    Client,
}

/// How members are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access to the members")]
pub(super) struct MemberFlags {
    /// HOST:PORT of members, separated by commas; by default their pods through the API server.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESSES")]
    pub(super) endpoints: Vec<String>,
    /// Authorities of the members' certificates, PEM; by default those of the operator's secret, as its certificate and key.
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    pub(super) cacert: Option<PathBuf>,
    /// Client certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cacert")]
    pub(super) cert: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cacert")]
    pub(super) key: Option<PathBuf>,
    /// User, if authentication is on; by default root, with the password of its secret.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(super) user: Option<String>,
    /// File with the password of the user.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) password_file: Option<PathBuf>,
}

/// A prefix of keys, and a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrefixAt {
    /// The prefix.
    pub(super) prefix: String,
    /// The revision.
    pub(super) revision: i64,
}

impl std::str::FromStr for PrefixAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no PREFIX@REVISION, such as /registry/deployments/@1200");
        let (prefix, revision) = text.rsplit_once('@').ok_or_else(wrong)?;
        let revision = revision.parse().ok().filter(|revision| *revision > 0);
        if prefix.is_empty() {
            return Err("the prefix is empty: this would take all keys".to_owned());
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            revision: revision.ok_or_else(wrong)?,
        })
    }
}
