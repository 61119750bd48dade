//! Runs a command and reports its result.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use rustix::fs::Mode;

use crate::{
    accept, changes, command::BackupCommand, fetch, list, reason::BackupError,
    result::CommandResult, save, stop::Stop,
};

/// Number of runtime threads. One thread hashes the bytes from members; the other signs and encrypts the bytes for the store.
const THREADS: usize = 2;

/// Runs a command until it finishes, or until SIGTERM or SIGINT. Writes lists to stdout and errors to stderr.
///
/// # Errors
/// Returns an error if the runtime cannot start.
pub fn run(command: &BackupCommand) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(report(command)))
}

/// Runs a command, prints its error, and writes its result or error to the file of `--result`. Sets the umask of the process.
async fn report(command: &BackupCommand) -> ExitCode {
    // rustls needs a provider for the process. Ignore the error, because a provider that is already installed is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Backups on a volume contain all secrets, so only the owner and the group may read them.
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let (name, path) = command.name_and_result();
    let tell = |text: String| {
        let line = format!("witan-operator backup {name}: {text}\n");
        drop(io::stderr().write_all(line.as_bytes()));
    };
    let mut code = ExitCode::SUCCESS;
    let result = execute(command).await.unwrap_or_else(|error| {
        let BackupError { reason, message } = &error;
        tell(format!("{message} ({reason:?})"));
        code = ExitCode::FAILURE;
        Some(CommandResult::Failed(error))
    });
    if let (Some(result), Some(path)) = (result, path)
        && let Err(error) = result.write(path)
    {
        tell(format!("--result {}: {error}", path.display()));
        code = ExitCode::FAILURE;
    }
    code
}

/// Runs a command and prints the output of `list`. Returns the result for the file of `--result`; `None` if the command has no
/// result.
async fn execute(command: &BackupCommand) -> Result<Option<CommandResult>, BackupError> {
    let stop = Stop::on_signals().map_err(BackupError::internal)?;
    match command {
        BackupCommand::Save(flags) => {
            let record = save::run(flags, &stop).await?;
            Ok(Some(CommandResult::Backup(record)))
        }
        BackupCommand::Changes(flags) => changes::run(flags, &stop).await.map(|()| None),
        BackupCommand::List(flags) => {
            let text = stop.or(list::run(flags)).await?;
            let written = io::stdout().write_all(text.as_bytes());
            written.map(|()| None).map_err(BackupError::internal)
        }
        BackupCommand::Fetch(flags) => {
            let fetched = fetch::run(flags, &stop).await?;
            Ok(fetched.map(CommandResult::Fetched))
        }
        BackupCommand::Accept(flags) => {
            let record = accept::run(flags, &stop).await?;
            Ok(Some(CommandResult::Backup(record)))
        }
    }
}
