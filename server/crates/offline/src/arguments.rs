//! The arguments of the commands, as clap parses them. Their comments are the help output.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Inspects and restores snapshots without a running member.
#[derive(Debug, Parser)]
#[command(name = "witan snapshot", bin_name = "witan snapshot")]
pub(super) struct SnapshotArguments {
    /// Output format (simple, table, json, fields).
    #[arg(short, long, global = true, default_value = "simple")]
    pub(super) write_out: String,
    #[command(subcommand)]
    pub(super) verb: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Shows the hash, the revision, the number of keys, the size and the version of a snapshot.
    Status {
        /// The snapshot file.
        file: PathBuf,
    },
    /// Creates the data directory of a member from a snapshot of etcd or of Witan.
    Restore(Box<RestoreArguments>),
}

/// `witan snapshot restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The snapshot file.
    pub(super) file: PathBuf,
    /// Path of the new data directory; by default NAME.etcd.
    #[arg(long)]
    pub(super) data_dir: Option<PathBuf>,
    /// No effect. The log is in the data directory until the member starts with --wal-dir, which moves the log.
    #[arg(long)]
    pub(super) wal_dir: Option<PathBuf>,
    /// Name of the member.
    #[arg(long, default_value = witan_config::DEFAULT_NAME)]
    pub(super) name: String,
    /// Initial members of the new cluster, as comma-separated NAME=URL.
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub(super) initial_cluster: String,
    /// Token of the new cluster.
    #[arg(long, default_value = "etcd-cluster")]
    pub(super) initial_cluster_token: String,
    /// Peer URLs of this member.
    #[arg(long, default_value = "http://localhost:2380")]
    pub(super) initial_advertise_peer_urls: String,
    /// Skips the check of the digest at the end of the file. A file from a data directory has no digest.
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    pub(super) skip_hash_check: bool,
    /// No effect: Witan does not map the store into memory.
    #[arg(long)]
    pub(super) initial_memory_map_size: Option<u64>,
    /// Number to add to the last revision.
    #[arg(long, default_value_t = 0)]
    pub(super) bump_revision: u64,
    /// Marks all revisions up to the last one as compacted (required with --bump-revision).
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    pub(super) mark_compacted: bool,
    /// Succeeds without a restore if the data directory is not empty, so that an init container can run again.
    #[arg(long)]
    pub(super) skip_existing: bool,
    /// Directory with the changes to apply after the snapshot, written by `witan-operator backup fetch`.
    #[arg(long, value_name = "FOLDER")]
    pub(super) changes: Option<PathBuf>,
    /// Record of the backup, written by `witan-operator backup fetch --record`. If the record has a hash of the key space, the
    /// key space of the snapshot, without later changes, must have the same hash.
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
    /// Removes FILE and the directory of changes after the restore, or if --skip-existing prevents the restore.
    #[arg(long)]
    pub(super) remove_snapshot: bool,
}

/// Adopts the data of a stopped etcd 3.4 to 3.7 member: creates a Witan data directory inside the etcd data directory, whose
/// files stay unchanged. Then start witan with this directory and etcd's flags.
#[derive(Debug, Parser)]
#[command(name = "witan adopt", bin_name = "witan adopt")]
pub(super) struct AdoptArguments {
    /// etcd data directory (the directory that contains "member").
    #[arg(long)]
    pub(super) data_dir: PathBuf,
    /// Value of etcd's --wal-dir, if it was set.
    #[arg(long)]
    pub(super) wal_dir: Option<PathBuf>,
}

/// Exports the state of a stopped Witan member to a data directory for etcd 3.6 or later. The revisions, leases, users, member
/// id and cluster id stay the same. The member is the only member of the etcd cluster: add the other members again. The Witan
/// data directory is not changed; a copy of its log is written to the directory for temporary files.
#[derive(Debug, Parser)]
#[command(name = "witan export", bin_name = "witan export")]
pub(super) struct ExportArguments {
    /// Witan data directory (the directory that contains "member").
    #[arg(long)]
    pub(super) data_dir: PathBuf,
    /// Path of the new etcd data directory. It must not exist, but its parent directory must exist.
    #[arg(long)]
    pub(super) etcd: PathBuf,
}

/// Shows a summary of the data directory of a stopped member: its keys and its last log entry. Use it to compare the remaining
/// members of a lost cluster. The directory is not changed; a copy of its log is written to the directory for temporary files.
#[derive(Debug, Parser)]
#[command(name = "witan info", bin_name = "witan info")]
pub(super) struct InfoArguments {
    /// Data directory (the directory that contains "member").
    pub(super) data_dir: PathBuf,
    /// Output format (simple, json).
    #[arg(short, long, default_value = "simple")]
    pub(super) write_out: String,
}

/// Replays a flight recording with the core of this program and shows the inputs (>) and the effects (<) of each turn. At the
/// end, reports whether the effects equal the recorded effects.
#[derive(Debug, Parser)]
#[command(name = "witan replay", bin_name = "witan replay")]
pub(super) struct ReplayArguments {
    /// File of a recording, or the directory with all files (DATA_DIR/recorder).
    pub(super) recording: PathBuf,
    /// Output format (simple, or json with a line for each turn).
    #[arg(short, long, default_value = "simple")]
    pub(super) write_out: String,
    /// First turn to show.
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// Last turn to show; 0 shows no turns.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub(super) to: u64,
}
