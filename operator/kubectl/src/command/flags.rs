//! Flags of commands that have many.

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::jiff::Timestamp;
use witan_api::top::{SECONDS, SECONDS_DEFAULT};

use super::{By, Decode, FormatFlag, MemberFlags};

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("store").required(true).args(["to", "like"])))]
pub(crate) struct BackupFlags {
    /// The EtcdCluster.
    pub(crate) cluster: String,
    /// Where it is stored: s3://BUCKET[/PREFIX] of AWS, or pvc://CLAIM[/FOLDER].
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Option<String>,
    /// Secret with the credentials of the bucket; without it the pod's node identifies it.
    #[arg(long, value_name = "SECRET", conflicts_with = "like")]
    pub(crate) credentials: Option<String>,
    /// An EtcdBackupSchedule, whose store and settings are used. Needed for stores that are not AWS.
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) like: Option<String>,
    /// Name of the EtcdBackup; by default the cluster's and the time.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Reads the stored snapshot back and restores it into a scratch directory.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Waits until it has succeeded or failed.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Default, Args)]
#[command(group(clap::ArgGroup::new("operation").args(["in_place", "undo"])))]
pub(crate) struct RestoreFlags {
    /// Name of the new EtcdCluster; with --in-place or --undo of the one that is restored.
    pub(crate) name: String,
    /// The EtcdBackup.
    #[arg(long, value_name = "BACKUP", required_unless_present = "undo")]
    pub(crate) from: Option<String>,
    /// Puts the data of the backup in the place of the data of an EtcdCluster, whose disks are kept.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Goes back to the disks that the last restore in place has kept.
    #[arg(long, conflicts_with_all = ["from", "to_revision", "to_time", "bump_revision"])]
    pub(crate) undo: bool,
    /// Also restores the changes after the backup, up to this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "to_time", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
    /// Also restores the changes after the backup that were received until this time, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) to_time: Option<Timestamp>,
    /// Added to all revisions, so that clients which keep watching begin anew.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=4_000_000_000_000_000))]
    pub(crate) bump_revision: i64,
    /// Prints the resource as YAML and creates nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Does not ask before the members of an EtcdCluster are stopped.
    #[arg(long, requires = "operation")]
    pub(crate) yes: bool,
    /// Waits until the restore in place, or the way back from it, has succeeded or failed.
    #[arg(long, requires = "operation")]
    pub(crate) wait: bool,
}

/// Flags of `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogFlags {
    /// The EtcdCluster.
    pub(crate) cluster: String,
    /// The member; all of them by default, each line behind the name of its member.
    pub(crate) member: Option<String>,
    /// Goes on until it is interrupted.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Prints the log of the previous container.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) previous: bool,
    /// How many of the last lines of each member.
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub(crate) tail: i64,
}

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopFlags {
    /// The EtcdCluster; with --endpoints it may be left out.
    #[arg(required_unless_present = "endpoints")]
    pub(crate) cluster: Option<String>,
    /// Only keys with this prefix.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    /// How many segments of the path are a row.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) depth: u16,
    /// How many rows, those with the most bytes or requests first.
    #[arg(long, default_value_t = 20)]
    pub(crate) rows: usize,
    /// Requests a second. Each reads at most 1000 keys or one value.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rate: u16,
    /// Shows what kind of objects there are below a prefix.
    #[arg(long, value_enum)]
    pub(crate) decode: Option<Decode>,
    #[command(flatten)]
    pub(crate) rates: RatesFlags,
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
    /// The file; CLUSTER-report.tar.gz by default.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "witan-system")]
    pub(crate) operator_namespace: String,
    #[command(flatten)]
    pub(crate) members: MemberFlags,
}

/// Flags of `top --rates`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RatesFlags {
    /// Shows who reads, writes and watches: all members count their requests for some seconds. Asks for the user root if
    /// authentication is on.
    #[arg(long, conflicts_with_all = ["prefix", "depth", "rate", "decode"])]
    pub(crate) rates: bool,
    /// Seconds for which requests are counted.
    #[arg(long, requires = "rates", default_value_t = SECONDS_DEFAULT, value_parser = clap::value_parser!(u64).range(*SECONDS.start()..=*SECONDS.end()))]
    pub(crate) seconds: u64,
    /// Kind of rows.
    #[arg(long, requires = "rates", value_enum, default_value_t = By::Prefix)]
    pub(crate) by: By,
}
