//! `witan-operator`: three programs in one executable. The operator runs clusters on Kubernetes, `kubectl` is the plugin
//! `kubectl witan`, and `backup` stores snapshots and changes.

mod command_line;
mod logging;

use std::{
    error::Error,
    io::{IsTerminal as _, Write},
    process::ExitCode,
};

use clap::Parser;

use command_line::{Command, CommandLine};
use logging::LogFormat;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = witan_kubectl::run_by_name(&arguments) {
        return code;
    }
    dispatch(CommandLine::parse().command()).unwrap_or_else(|error| {
        drop(writeln!(std::io::stderr(), "witan-operator: {error}"));
        ExitCode::FAILURE
    })
}

/// Executes a command. Configures logging only for `run` and `backup`.
fn dispatch(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Crd => std::io::stdout().write_all(witan_crd::as_yaml()?.as_bytes())?,
        Command::Kubectl { arguments } => return Ok(witan_kubectl::run(&arguments)),
        Command::Run(flags) => {
            logging::start(&flags.log_level, flags.log_format)?;
            witan_controller::run(&flags.options)?;
        }
        Command::Backup { command, log_level, log_format } => {
            let default = match std::io::stderr().is_terminal() {
                true => LogFormat::Text,
                false => LogFormat::Json,
            };
            logging::start(&log_level, log_format.unwrap_or(default))?;
            return Ok(witan_backup::run(&command)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
