//! Offline commands: `witan snapshot status` and `restore` with etcdutl's messages and exit codes, `witan adopt`, `witan
//! export`, `witan info` and `witan replay`.
//!
//! Other crates contain the snapshot format (`witan_snapshot`), the data directories (`witan_storage`, `witan_etcd`), the
//! conversion of etcd's data (`witan_adopt`), and the commands that call a running member (`witan_follow::command`).
//!
//! Reading order: this file (chooses the command) → `arguments` (the command lines), `error` → `changes` → `restore`, `compare`
//! (with the hash of the backup) → `show` (`snapshot status`, `hashkv`) → `adopt`, `stopped`, `export`, `info`, `replay`,
//! `progress` → `etcdutl` (etcdutl's own commands).

mod adopt;
mod arguments;
mod changes;
mod compare;
mod error;
mod etcdutl;
mod export;
mod info;
mod progress;
mod replay;
mod restore;
mod show;
mod stopped;

use std::{ffi::OsString, io, path::Path, sync::Arc};

use clap::Parser;
use witan_base::memory_limit::{MemoryLimit, first_values_bytes};
use witan_machine::values::BlockCache;

use arguments::{InfoArguments, SnapshotArguments, SnapshotCommand};

pub use error::OfflineError;

/// The program name that selects etcdutl's command line.
pub const ETCDUTL: &str = "etcdutl";

/// Runs a command and returns the output to print. `arguments` begin after the name of the command. Returns `None` if there is
/// no command with this name. `replay` writes the turns directly to standard output.
pub fn run(
    command: &str,
    arguments: impl Iterator<Item = OsString>,
) -> Option<Result<String, OfflineError>> {
    Some(match command {
        "snapshot" => parse(command, arguments)
            .and_then(|line: SnapshotArguments| snapshot(&line.verb, &line.write_out)),
        "adopt" => parse(command, arguments).and_then(|line| adopt::adopt(&line)),
        "export" => parse(command, arguments).and_then(|line| export::export(&line)),
        "info" => parse(command, arguments)
            .and_then(|line: InfoArguments| info::info(&line.data_dir, &line.write_out)),
        "replay" => parse(command, arguments)
            .and_then(|line| replay::replay(&line, &mut io::stdout().lock())),
        _ => return None,
    })
}

/// Runs `etcdutl` and returns the output to print. `arguments` begin after the name of the program.
pub fn etcdutl(arguments: impl Iterator<Item = OsString>) -> Result<String, OfflineError> {
    parse(ETCDUTL, arguments).and_then(|line| etcdutl::run(&line))
}

/// Runs a subcommand of `snapshot` and returns the output to print.
fn snapshot(verb: &SnapshotCommand, write_out: &str) -> Result<String, OfflineError> {
    match verb {
        SnapshotCommand::Status { file } => show::status(file, write_out),
        SnapshotCommand::Restore(arguments) => restore::restore(arguments, &value_cache()),
    }
}

/// Creates the cache for the values that a command reads, with as much memory as the cache of a starting member.
fn value_cache() -> Arc<BlockCache> {
    let limit = MemoryLimit::read(Path::new("/"));
    let budget_bytes = limit.map_or(u64::MAX, MemoryLimit::budget_bytes);
    let cache = BlockCache::new();
    cache.set_target(first_values_bytes(budget_bytes));
    Arc::new(cache)
}

/// Parses the arguments after the name of `command`. Help and the version are errors, too, as in clap.
fn parse<T: Parser>(
    command: &str,
    arguments: impl Iterator<Item = OsString>,
) -> Result<T, OfflineError> {
    let program = std::iter::once(OsString::from(command));
    Ok(T::try_parse_from(program.chain(arguments))?)
}
