//! The arguments of the commands, as clap parses them. Their comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Works on snapshots without a running member.
#[derive(Debug, Parser)]
#[command(name = "witan snapshot", bin_name = "witan snapshot")]
pub(super) struct SnapshotArguments {
    /// The output format (simple, table, json, fields).
    #[arg(short, long, global = true, default_value = "simple")]
    pub(super) write_out: String,
    #[command(subcommand)]
    pub(super) verb: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Shows hash, revision, number of keys, size and version of a snapshot.
    Status {
        /// The snapshot.
        file: PathBuf,
    },
    /// Creates the data directory of a member from a snapshot of etcd or of Witan.
    Restore(Box<RestoreArguments>),
}

/// `witan snapshot restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The snapshot.
    pub(super) file: PathBuf,
    /// Path of the new data directory; NAME.etcd by default.
    #[arg(long)]
    pub(super) data_dir: Option<PathBuf>,
    /// No effect here: a start with --wal-dir moves the log, which is in the data directory until then.
    #[arg(long)]
    pub(super) wal_dir: Option<PathBuf>,
    /// Name of the member.
    #[arg(long, default_value = witan_config::DEFAULT_NAME)]
    pub(super) name: String,
    /// First members of the new cluster.
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub(super) initial_cluster: String,
    /// Token of the new cluster.
    #[arg(long, default_value = "etcd-cluster")]
    pub(super) initial_cluster_token: String,
    /// This member's peer URLs.
    #[arg(long, default_value = "http://localhost:2380")]
    pub(super) initial_advertise_peer_urls: String,
    /// Do not check the digest at the end of the file (a file from a data directory has none).
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    pub(super) skip_hash_check: bool,
    /// No effect: the store is not mapped into memory.
    #[arg(long)]
    pub(super) initial_memory_map_size: Option<u64>,
    /// Amount by which the last revision is raised.
    #[arg(long, default_value_t = 0)]
    pub(super) bump_revision: u64,
    /// Mark everything up to the last revision as compacted (required with --bump-revision).
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    pub(super) mark_compacted: bool,
    /// Do nothing if the data directory has content: an init container may run again.
    #[arg(long)]
    pub(super) skip_existing: bool,
    /// Folder of changes to apply after the snapshot, which `witan-operator backup fetch` has written.
    #[arg(long, value_name = "FOLDER")]
    pub(super) changes: Option<PathBuf>,
    /// Record of the backup, which `witan-operator backup fetch --record` has written: if it has a hash of the keys, the keys of
    /// the snapshot must have the same.
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
    /// Remove FILE and the folder of changes once the data directory is complete.
    #[arg(long)]
    pub(super) remove_snapshot: bool,
}

/// Continues with etcd's data: creates Witan's data directory inside that of a stopped member of etcd 3.4 to 3.7. etcd's files
/// stay unchanged. Afterwards start witan on the directory with etcd's flags.
#[derive(Debug, Parser)]
#[command(name = "witan adopt", bin_name = "witan adopt")]
pub(super) struct AdoptArguments {
    /// etcd's data directory (the folder that contains "member").
    #[arg(long)]
    pub(super) data_dir: PathBuf,
    /// The value of etcd's --wal-dir, if it was set.
    #[arg(long)]
    pub(super) wal_dir: Option<PathBuf>,
}

/// Returns to etcd: writes the state of a stopped Witan member as a data directory of etcd 3.6 or later, with the same
/// revisions, leases, users, member and cluster id. It is the only member of its cluster there; add the others again. Witan's
/// directory is not changed; the folder for temporary files gets a copy of its log.
#[derive(Debug, Parser)]
#[command(name = "witan export", bin_name = "witan export")]
pub(super) struct ExportArguments {
    /// Witan's data directory (the folder that contains "member").
    #[arg(long)]
    pub(super) data_dir: PathBuf,
    /// Path of etcd's new data directory. It must not exist, but its parent folder must.
    #[arg(long)]
    pub(super) etcd: PathBuf,
}

/// Shows a summary of a stopped member's data directory: its last log entry, to compare the remaining members of a lost
/// cluster, and its keys. The directory is not changed; the folder for temporary files gets a copy of its log.
#[derive(Debug, Parser)]
#[command(name = "witan info", bin_name = "witan info")]
pub(super) struct InfoArguments {
    /// The data directory (the folder that contains "member").
    pub(super) data_dir: PathBuf,
    /// The output format (simple, json).
    #[arg(short, long, default_value = "simple")]
    pub(super) write_out: String,
}

/// Executes a flight recording with this program's core and shows each turn: its inputs (>) and its effects (<). Reports at the
/// end whether the core did the same as in the recording.
#[derive(Debug, Parser)]
#[command(name = "witan replay", bin_name = "witan replay")]
pub(super) struct ReplayArguments {
    /// A file of a recording, or the folder of all (DATA_DIR/recorder).
    pub(super) recording: PathBuf,
    /// The output format (simple, json: a line for each turn).
    #[arg(short, long, default_value = "simple")]
    pub(super) write_out: String,
    /// The first turn that is shown.
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// The last turn that is shown; 0 shows none.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub(super) to: u64,
}
