//! Flags of commands that have many.

use clap::Args;
use witan_api::top::{SECONDS, SECONDS_DEFAULT};

use super::{By, Decode, FormatFlag, MemberFlags};

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("store").required(true).args(["to", "like"])))]
pub(in crate::kubectl) struct BackupFlags {
    /// The EtcdCluster.
    pub(in crate::kubectl) cluster: String,
    /// Where it is stored: s3://BUCKET[/PREFIX] of AWS, or pvc://CLAIM[/FOLDER].
    #[arg(long, value_name = "LOCATION")]
    pub(in crate::kubectl) to: Option<String>,
    /// Secret with the credentials of the bucket; without it the pod's node identifies it.
    #[arg(long, value_name = "SECRET", conflicts_with = "like")]
    pub(in crate::kubectl) credentials: Option<String>,
    /// An EtcdBackupSchedule, whose store and settings are used. Needed for stores that are not AWS.
    #[arg(long, value_name = "SCHEDULE")]
    pub(in crate::kubectl) like: Option<String>,
    /// Name of the EtcdBackup; by default the cluster's and the time.
    #[arg(long)]
    pub(in crate::kubectl) name: Option<String>,
    /// Reads the stored snapshot back and restores it into a scratch directory.
    #[arg(long)]
    pub(in crate::kubectl) verify: bool,
    /// Waits until it has succeeded or failed.
    #[arg(long)]
    pub(in crate::kubectl) wait: bool,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub(in crate::kubectl) struct RestoreFlags {
    /// Name of the new EtcdCluster.
    pub(in crate::kubectl) name: String,
    /// The EtcdBackup.
    #[arg(long, value_name = "BACKUP")]
    pub(in crate::kubectl) from: String,
    /// Added to all revisions, so that clients which keep watching begin anew.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=4_000_000_000_000_000))]
    pub(in crate::kubectl) bump_revision: i64,
    /// Prints the EtcdCluster as YAML and creates nothing.
    #[arg(long)]
    pub(in crate::kubectl) dry_run: bool,
}

/// Flags of `logs`.
#[derive(Debug, Clone, Args)]
pub(in crate::kubectl) struct LogFlags {
    /// The EtcdCluster.
    pub(in crate::kubectl) cluster: String,
    /// The member; all of them by default, each line behind the name of its member.
    pub(in crate::kubectl) member: Option<String>,
    /// Goes on until it is interrupted.
    #[arg(short, long)]
    pub(in crate::kubectl) follow: bool,
    /// Of the container before the last restart.
    #[arg(long, conflicts_with = "follow")]
    pub(in crate::kubectl) previous: bool,
    /// How many of the last lines of each member.
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub(in crate::kubectl) tail: i64,
}

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub(in crate::kubectl) struct TopFlags {
    /// The EtcdCluster.
    pub(in crate::kubectl) cluster: String,
    /// Only keys with this prefix.
    #[arg(long, default_value = "")]
    pub(in crate::kubectl) prefix: String,
    /// How many segments of the path are a row.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(in crate::kubectl) depth: u16,
    /// How many rows, those with the most bytes or requests first.
    #[arg(long, default_value_t = 20)]
    pub(in crate::kubectl) rows: usize,
    /// Requests a second. Each reads at most 1000 keys or one value.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::kubectl) rate: u16,
    /// Shows what kind of objects there are below a prefix.
    #[arg(long, value_enum)]
    pub(in crate::kubectl) decode: Option<Decode>,
    /// Who reads, writes and watches instead.
    #[command(flatten)]
    pub(in crate::kubectl) rates: RatesFlags,
    /// Format.
    #[command(flatten)]
    pub(in crate::kubectl) format: FormatFlag,
    /// The members.
    #[command(flatten)]
    pub(in crate::kubectl) members: MemberFlags,
}

/// Flags of `top --rates`.
#[derive(Debug, Clone, Args)]
pub(in crate::kubectl) struct RatesFlags {
    /// Shows who reads, writes and watches: all members count their requests for some seconds. Asks for the user root if
    /// authentication is on.
    #[arg(long, conflicts_with_all = ["prefix", "depth", "rate", "decode"])]
    pub(in crate::kubectl) rates: bool,
    /// Seconds for which requests are counted.
    #[arg(long, requires = "rates", default_value_t = SECONDS_DEFAULT, value_parser = clap::value_parser!(u64).range(*SECONDS.start()..=*SECONDS.end()))]
    pub(in crate::kubectl) seconds: u64,
    /// Kind of rows.
    #[arg(long, requires = "rates", value_enum, default_value_t = By::Prefix)]
    pub(in crate::kubectl) by: By,
}
