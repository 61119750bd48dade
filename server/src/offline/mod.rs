//! Offline commands: `witan snapshot status` and `restore` with etcdutl's texts and exit codes, `witan adopt`, `witan export`,
//! `witan info` and `witan replay`.
//!
//! Not here: the snapshot format (`snapshot`), the data directories (`storage`, `witan_etcd`), the conversion of etcd's data
//! (`crate::adopt`).
//!
//! Reading order: this file (the command line) → `digest` → `changes` → `restore` → `show` → `adopt`, `stopped`, `export`,
//! `info`, `replay`, `progress` → `etcdutl` (etcdutl's own commands). `alter` is for tests only.

mod adopt;
#[cfg(feature = "planted-panics")]
mod alter;
mod changes;
mod compare;
pub(crate) mod digest;
mod etcdutl;
mod export;
mod info;
mod progress;
mod replay;
mod restore;
mod show;
mod stopped;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};
use witan_config::ConfigError;
use witan_machine::record::CorruptRecord;
use witan_snapshot::BoltError;
use witan_storage::OpenError;

use changes::ChangesError;

use crate::{adopt::AdoptError, follow::FollowCommandError};

/// The program name that selects etcdutl's command line.
pub const ETCDUTL: &str = "etcdutl";

/// etcdutl's exit code for general failures.
const EXIT_ERROR: u8 = 1;
/// etcdutl's exit code for an unknown output format.
const EXIT_BAD_FEATURE: u8 = 4;
/// etcdutl's exit code for invalid arguments.
const EXIT_BAD_ARGUMENTS: u8 = 128;

/// Why a command failed. Printed after `Error: `.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum OfflineError {
    #[error("--mark-compacted required if --revision-bump > 0")]
    Bump,
    #[error("unsupported output format")]
    Format,
    #[error("{0} not supported as output format")]
    NotInFormat(&'static str),
    #[error("{verb} {path}: {}", go_error_text(source))]
    Open {
        /// The failed operation: `open`, `read`, `stat` or `remove`.
        verb: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("snapshot file {path} is damaged or no snapshot: {source}")]
    Broken { path: String, source: BoltError },
    #[error("snapshot missing hash but --skip-hash-check=false")]
    NoDigest,
    #[error("expected sha256 {}, got {}", go_hex(expected), go_hex(got))]
    Digest { expected: [u8; 32], got: [u8; 32] },
    #[error("data-dir \"{0}\" not empty or could not be read")]
    DirectoryNotEmpty(String),
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("--compare {path}: {reason}")]
    Record { path: String, reason: String },
    #[error("{0}")]
    OtherKeys(String),
    #[error("{0}: it has no member data")]
    NoData(String),
    #[error("--target-version {0}: not one of 3.5, 3.6 and 3.7")]
    TargetVersion(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error(transparent)]
    Recording(#[from] witan_recorder::ReadError),
    #[error("{0}")]
    NotReproduced(String),
    #[error("write the output: {0}")]
    Output(io::Error),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error("write {path}: {source}")]
    Export { path: String, source: io::Error },
    #[error(
        "{0}: this member has not received the state of its cluster: take another member's directory"
    )]
    NoState(String),
    #[error("{0}: this member was removed from its cluster: take another member's directory")]
    NotAMember(String),
    #[error(transparent)]
    Changes(#[from] ChangesError),
    #[error(transparent)]
    Follow(#[from] FollowCommandError),
    #[error("{dir}: {source}")]
    Corrupt { dir: String, source: CorruptRecord },
}

impl OfflineError {
    /// For `map_err`: creates [`Self::Open`] for the snapshot at `path`. `verb` names the system call.
    fn open(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Open { verb, path, source }
    }

    /// For `map_err`: creates [`Self::Broken`] for the snapshot at `path`.
    fn broken(path: &Path) -> impl FnOnce(BoltError) -> Self {
        let path = path.display().to_string();
        move |source| Self::Broken { path, source }
    }

    /// For `map_err`: creates [`Self::Export`] for the data directory at `path`.
    fn export(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Export { path, source }
    }

    /// Returns the exit code that etcdutl uses for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bump => EXIT_BAD_ARGUMENTS,
            Self::Format | Self::NotInFormat(_) => EXIT_BAD_FEATURE,
            Self::Open { .. }
            | Self::Broken { .. }
            | Self::NoDigest
            | Self::Digest { .. }
            | Self::DirectoryNotEmpty(_)
            | Self::Compacted
            | Self::FutureRevision
            | Self::Record { .. }
            | Self::OtherKeys(_)
            | Self::NoData(_)
            | Self::TargetVersion(_)
            | Self::Config(_)
            | Self::Storage(_)
            | Self::Adopt(_)
            | Self::Export { .. }
            | Self::Changes(_)
            | Self::Recording(_)
            | Self::NotReproduced(_)
            | Self::Output(_)
            | Self::Follow(_)
            | Self::NoState(_)
            | Self::NotAMember(_)
            | Self::Corrupt { .. } => EXIT_ERROR,
        }
    }
}

/// Formats bytes like Go prints a slice: decimal numbers in brackets.
fn go_hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", digits.join(" "))
}

/// Returns Go's text for a common system error, and the system's text for others.
fn go_error_text(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "no such file or directory".into()
    } else if kind == io::ErrorKind::PermissionDenied {
        "permission denied".into()
    } else {
        error.to_string()
    }
}

/// Works on snapshots without a running member.
#[derive(Debug, Parser)]
#[command(name = "witan snapshot", bin_name = "witan snapshot")]
struct SnapshotArguments {
    /// The output format (simple, table, json, fields).
    #[arg(short, long, global = true, default_value = "simple")]
    write_out: String,
    #[command(subcommand)]
    verb: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
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
struct RestoreArguments {
    /// The snapshot.
    file: PathBuf,
    /// Path of the new data directory; NAME.etcd by default.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// No effect here: a start with --wal-dir moves the log, which is in the data directory until then.
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Name of the member.
    #[arg(long, default_value = witan_config::DEFAULT_NAME)]
    name: String,
    /// First members of the new cluster.
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Token of the new cluster.
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// This member's peer URLs.
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Do not check the digest at the end of the file (a file from a data directory has none).
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    skip_hash_check: bool,
    /// No effect: the store is not mapped into memory.
    #[arg(long)]
    initial_memory_map_size: Option<u64>,
    /// Amount by which the last revision is raised.
    #[arg(long, default_value_t = 0)]
    bump_revision: u64,
    /// Mark everything up to the last revision as compacted (required with --bump-revision).
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true)]
    mark_compacted: bool,
    /// Do nothing if the data directory has content: an init container may run again.
    #[arg(long)]
    skip_existing: bool,
    /// Folder of changes to apply after the snapshot, which `witan-operator backup fetch` has written.
    #[arg(long, value_name = "FOLDER")]
    changes: Option<PathBuf>,
    /// Record of the backup, which `witan-operator backup fetch --record` has written: if it has a hash of the keys, the keys of
    /// the snapshot must have the same.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Remove FILE and the folder of changes once the data directory is complete.
    #[arg(long)]
    remove_snapshot: bool,
}

/// Continues with etcd's data: creates Witan's data directory inside that of a stopped member of etcd 3.4 to 3.7. etcd's files
/// stay unchanged. Afterwards start witan on the directory with etcd's flags.
#[derive(Debug, Parser)]
#[command(name = "witan adopt", bin_name = "witan adopt")]
struct AdoptArguments {
    /// etcd's data directory (the folder that contains "member").
    #[arg(long)]
    data_dir: PathBuf,
    /// The value of etcd's --wal-dir, if it was set.
    #[arg(long)]
    wal_dir: Option<PathBuf>,
}

/// Returns to etcd: writes the state of a stopped Witan member as a data directory of etcd 3.6 or later, with the same
/// revisions, leases, users, member and cluster id. It is the only member of its cluster there; add the others again. Witan's
/// directory is not changed; the folder for temporary files gets a copy of its log.
#[derive(Debug, Parser)]
#[command(name = "witan export", bin_name = "witan export")]
struct ExportArguments {
    /// Witan's data directory (the folder that contains "member").
    #[arg(long)]
    data_dir: PathBuf,
    /// Path of etcd's new data directory. It must not exist, but its parent folder must.
    #[arg(long)]
    etcd: PathBuf,
}

/// Shows a summary of a stopped member's data directory: its last log entry, to compare the remaining members of a lost
/// cluster, and its keys. The directory is not changed; the folder for temporary files gets a copy of its log.
#[derive(Debug, Parser)]
#[command(name = "witan info", bin_name = "witan info")]
struct InfoArguments {
    /// The data directory (the folder that contains "member").
    data_dir: PathBuf,
    /// The output format (simple, json).
    #[arg(short, long, default_value = "simple")]
    write_out: String,
}

/// Executes a flight recording with this program's core and shows each turn: its inputs (>) and its effects (<). Reports at the
/// end whether the core did the same as in the recording.
#[derive(Debug, Parser)]
#[command(name = "witan replay", bin_name = "witan replay")]
struct ReplayArguments {
    /// A file of a recording, or the folder of all (DATA_DIR/recorder).
    recording: PathBuf,
    /// The output format (simple, json: a line for each turn).
    #[arg(short, long, default_value = "simple")]
    write_out: String,
    /// The first turn that is shown.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The last turn that is shown; 0 shows none.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
}

/// Result of a command line.
#[derive(Debug)]
pub enum CommandResult {
    /// Success, with the text to print.
    Done(String),
    /// Invalid arguments or a request for help, which clap prints.
    Usage(Box<clap::Error>),
    /// The command failed.
    Failed(OfflineError),
}

/// Runs the command of this name; `None` if there is no such command.
pub fn run(command: &str, arguments: impl Iterator<Item = OsString>) -> Option<CommandResult> {
    Some(match command {
        "snapshot" => parse(command, arguments, |line: SnapshotArguments| {
            snapshot(&line.verb, &line.write_out)
        }),
        "adopt" => parse(command, arguments, |line| adopt::adopt(&line)),
        "export" => parse(command, arguments, |line| export::export(&line)),
        "info" => parse(command, arguments, |line: InfoArguments| {
            info::info(&line.data_dir, &line.write_out)
        }),
        "replay" => parse(command, arguments, |line| {
            replay::replay(&line, &mut io::stdout().lock())
        }),
        #[cfg(feature = "planted-panics")]
        "alter" => alter::alter(arguments),
        _ => return None,
    })
}

fn snapshot(verb: &SnapshotCommand, write_out: &str) -> Result<String, OfflineError> {
    match verb {
        SnapshotCommand::Status { file } => show::status(file, write_out),
        SnapshotCommand::Restore(arguments) => restore::restore(arguments),
    }
}

/// Runs `etcdutl` with these arguments.
pub fn etcdutl(arguments: impl Iterator<Item = OsString>) -> CommandResult {
    parse(ETCDUTL, arguments, |line| etcdutl::run(&line))
}

/// Parses the arguments of `command` and runs it.
pub(crate) fn parse<T: Parser>(
    command: &str,
    arguments: impl Iterator<Item = OsString>,
    run: impl FnOnce(T) -> Result<String, OfflineError>,
) -> CommandResult {
    let program = std::iter::once(OsString::from(command));
    match T::try_parse_from(program.chain(arguments)) {
        Ok(line) => run(line).map_or_else(CommandResult::Failed, CommandResult::Done),
        Err(error) => CommandResult::Usage(Box::new(error)),
    }
}
