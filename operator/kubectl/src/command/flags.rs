//! The flags of commands with many flags.

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use super::{FormatFlag, MemberFlags};

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackupFlags {
    /// The EtcdCluster.
    pub(crate) cluster: String,
    /// EtcdBackupSchedule whose store and settings are used.
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) like: String,
    /// Name of the EtcdBackup; by default the name of the cluster with the time.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Verifies the backup: reads the stored snapshot back and restores it into a scratch directory.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Waits until the backup succeeds or fails.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Default, Args)]
#[command(group(clap::ArgGroup::new("operation").args(["in_place", "undo"])))]
pub(crate) struct RestoreFlags {
    /// Name of the new EtcdCluster. With --in-place or --undo, name of the existing EtcdCluster.
    pub(crate) name: String,
    /// The EtcdBackup to restore.
    #[arg(long, value_name = "BACKUP", required_unless_present = "undo")]
    pub(crate) from: Option<String>,
    /// Replaces the data of an existing EtcdCluster and keeps its disks.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Undoes the last in-place restore: returns to the disks that the restore kept.
    #[arg(long, conflicts_with_all = ["from", "to_revision", "to_time", "bump_revision"])]
    pub(crate) undo: bool,
    /// Also restores the changes after the backup, up to this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "to_time", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
    /// Also restores the changes after the backup, up to this time, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) to_time: Option<Timestamp>,
    /// Number to add to the revision of the restored cluster, so that clients with open watches do not miss changes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=4_000_000_000_000_000))]
    pub(crate) bump_revision: i64,
    /// Prints the resource as YAML without creating it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Skips the confirmation.
    #[arg(long, requires = "operation")]
    pub(crate) yes: bool,
    /// Waits until the operation succeeds or fails.
    #[arg(long, requires = "operation")]
    pub(crate) wait: bool,
}

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopFlags {
    /// The EtcdCluster.
    pub(crate) cluster: String,
    /// Counts only keys with this prefix.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    /// Number of key segments by which keys are grouped.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) depth: u16,
    /// Maximum number of rows. The largest prefixes come first.
    #[arg(long, default_value_t = 20)]
    pub(crate) rows: usize,
    /// Maximum number of requests per second. Each request reads at most 1000 keys or one value.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rate: u16,
    #[command(flatten)]
    pub(crate) format: FormatFlag,
    #[command(flatten)]
    pub(crate) members: MemberFlags,
}

/// Flags of `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportFlags {
    /// The EtcdCluster.
    pub(crate) cluster: String,
    /// Path of the report; by default CLUSTER-report.tar.gz.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "witan-system")]
    pub(crate) operator_namespace: String,
    #[command(flatten)]
    pub(crate) members: MemberFlags,
}
