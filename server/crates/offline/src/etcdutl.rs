//! etcdutl's command line, used when the program is called `etcdutl`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use witan_base::version;
use witan_gocompat::text::parse_duration;
use witan_machine::versions;
use witan_storage as storage;

use super::{arguments::SnapshotCommand, error::OfflineError, show, snapshot};

/// The oldest etcd version to which data can be migrated.
const OLDEST_MIGRATED: versions::Release = (3, 5);

/// Works on the data of etcd and of Witan without a running member.
#[derive(Debug, Parser)]
#[command(name = "etcdutl", bin_name = "etcdutl")]
pub(super) struct EtcdutlArguments {
    /// Output format (fields, json, protobuf, simple, table).
    #[arg(short, long, global = true, default_value = "simple")]
    write_out: String,
    /// Maximum time to wait for a file lock that another process holds; 0 waits indefinitely. Only hashkv takes the lock.
    #[arg(long, global = true, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(subcommand)]
    command: EtcdutlCommand,
}

#[derive(Debug, Subcommand)]
enum EtcdutlCommand {
    /// Manages snapshots.
    Snapshot {
        #[command(subcommand)]
        verb: SnapshotCommand,
    },
    /// Prints the hash of the key space of a snapshot or of etcd's backend.
    Hashkv {
        /// The file.
        file: PathBuf,
        /// Last revision to hash; by default the last revision of the file.
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
    /// Succeeds on a Witan data directory, which needs no defragmentation.
    Defrag {
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
    },
    /// Succeeds on a Witan data directory, which supports all cluster versions.
    Migrate {
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
        /// The version, as X.Y.
        #[arg(long)]
        target_version: String,
        /// No effect: the command does not change the data directory.
        #[arg(long)]
        force: bool,
    },
    /// Prints the version.
    Version,
    /// Prints a shell completion script.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Runs a command of etcdutl and returns the output to print.
pub(super) fn run(line: &EtcdutlArguments) -> Result<String, OfflineError> {
    match &line.command {
        EtcdutlCommand::Snapshot { verb } => snapshot(verb, &line.write_out),
        EtcdutlCommand::Hashkv { file, rev } => {
            show::hash_kv(file, *rev, &line.write_out, line.timeout)
        }
        EtcdutlCommand::Defrag { data_dir } => unneeded(data_dir, "it needs no defragmentation"),
        EtcdutlCommand::Migrate { data_dir, target_version, force: _ } => {
            let release = versions::release(&format!("{target_version}.0"));
            match release.filter(|asked| (OLDEST_MIGRATED..=versions::LATEST).contains(asked)) {
                Some(_) => unneeded(data_dir, "its format supports every cluster version"),
                None => Err(OfflineError::TargetVersion(target_version.clone())),
            }
        }
        EtcdutlCommand::Version => {
            let (api, (major, minor)) = (version::API, versions::LATEST);
            Ok(format!(
                "etcdutl version: {api}\nAPI version: {major}.{minor}\n"
            ))
        }
        EtcdutlCommand::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                *shell,
                &mut EtcdutlArguments::command(),
                "etcdutl",
                &mut script,
            );
            Ok(String::from_utf8_lossy(&script).into_owned())
        }
    }
}

/// Parses a duration as Go does. Fails with a message for the user.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be a duration, such as 10s".to_owned())
}

/// Returns the message that `dir` is a Witan data directory, with the reason `why` it needs no work. Fails for any other
/// directory.
fn unneeded(dir: &Path, why: &str) -> Result<String, OfflineError> {
    let shown = dir.display();
    match storage::identity(dir)? {
        Some(_) => Ok(format!("{shown} is a Witan data directory: {why}\n")),
        None => Err(OfflineError::NoData(shown.to_string())),
    }
}
