//! The plugin `kubectl witan`, which inspects and operates clusters. It runs if the program is called as `kubectl-witan` or as
//! `witan-operator kubectl`.
//!
//! The plugin reads the same resources, secrets and members as the operator, but does not need a running operator.
//!
//! Reading order: `command` (the command lines) → this file (the functions of the commands) → `status`, `backups`, `restore`,
//! `operations` (EtcdOperations), `top`, `history`, `revert` (also `diff`), `report`. `target` accesses the API server, `facts`
//! reads objects, `reach` connects to members (`forward`: through the API server), and `keys` reads their keys. `follow` waits
//! for an object. `output` prints and asks for confirmation, `table` formats tables, and `error` has the messages of errors.
//!
//! Functions that format text are pure and have golden files in `testdata`. The plugin acts with the credentials of the
//! kubeconfig and only creates resources that a user could write by hand.

#[macro_use]
mod error;

mod backups;
mod command;
mod facts;
mod follow;
mod forward;
mod history;
mod keys;
mod operations;
mod output;
mod reach;
mod report;
mod restore;
mod revert;
mod status;
mod table;
mod target;
mod top;

#[cfg(test)]
mod testing;

use std::{
    ffi::{OsStr, OsString},
    io::Write as _,
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;
use k8s_openapi::jiff::Timestamp;
use witan_crd::{EtcdOperationSpec, MoveLeader, NoSettings, ReplaceMember};

use self::{
    command::{PluginCommand, PluginLine},
    error::PluginError,
    keys::Keys,
    output::print_as,
    target::Target,
};

/// The name under which kubectl finds the plugin.
const PROGRAM: &str = "kubectl-witan";

/// Runs the plugin if the program was called as `kubectl-witan`; returns `None` otherwise.
pub fn run_by_name(all: &[OsString]) -> Option<ExitCode> {
    arguments(all).map(run)
}

/// Returns the arguments after the name of the program; `None` if that name is not [`PROGRAM`].
fn arguments(all: &[OsString]) -> Option<&[OsString]> {
    let (program, rest) = all.split_first()?;
    (Path::new(program).file_name() == Some(OsStr::new(PROGRAM))).then_some(rest)
}

/// Runs the plugin and returns its exit code. Prints an error to stderr. Invalid arguments and `--help` end the process.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = OsString::from(PROGRAM);
    let line = PluginLine::parse_from([&program].into_iter().chain(arguments));
    // rustls needs one provider for the process.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(command(line)),
        Err(error) => Err(words!("cannot start: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = table::printed(&error.to_string());
            drop(writeln!(std::io::stderr(), "kubectl witan: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Executes the command in a command line.
async fn command(line: PluginLine) -> Result<(), PluginError> {
    let target = Target::new(&line.target).await?;
    match line.command {
        PluginCommand::Status { cluster, format } => {
            let facts = facts::read(&target, &cluster).await?;
            print_as(format.output, &facts, |facts| {
                status::page(facts, Timestamp::now())
            })
        }
        PluginCommand::Backup(flags) => backups::back_up(&target, &flags).await,
        PluginCommand::Restore(flags) => restore::run(&target, &flags).await,
        PluginCommand::MoveLeader { cluster, member, wait } => {
            let move_leader = Some(MoveLeader { to: Some(member) });
            let spec = EtcdOperationSpec { move_leader, ..EtcdOperationSpec::default() };
            operations::create_for_cluster(&target, (&cluster, "move-leader"), spec, wait).await
        }
        PluginCommand::Replace { cluster, member, wait } => {
            let replace_member = Some(ReplaceMember { name: member });
            let spec = EtcdOperationSpec { replace_member, ..EtcdOperationSpec::default() };
            operations::create_for_cluster(&target, (&cluster, "replace"), spec, wait).await
        }
        PluginCommand::Recover { cluster, member, yes, wait, members } => {
            operations::recover(&target, (&cluster, member), (yes, wait), &members).await
        }
        PluginCommand::Restart { cluster, wait } => {
            let restart = Some(NoSettings {});
            let spec = EtcdOperationSpec { restart, ..EtcdOperationSpec::default() };
            operations::create_for_cluster(&target, (&cluster, "restart"), spec, wait).await
        }
        PluginCommand::Report(flags) => report::run(&target, &flags).await,
        PluginCommand::Top(flags) => top::run(&target, &flags).await,
        PluginCommand::History { cluster, of, rev, limit, format, members } => {
            let keys = Keys::open(&target, &cluster, &members).await?;
            let found = history::read(&keys, of.as_bytes(), rev, limit).await?;
            print_as(format.output, &found, history::text)
        }
        PluginCommand::Diff { cluster, at, format, members } => {
            let keys = Keys::open(&target, &cluster, &members).await?;
            let found = revert::differences(&keys, &at).await?;
            print_as(format.output, &found, |found| revert::table(found, &at))
        }
        PluginCommand::Revert { cluster, at, yes, members } => {
            let keys = Keys::open(&target, &cluster, &members).await?;
            revert::run(&keys, &at, yes).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_selects_the_plugin() {
        let line = |program: &str| [OsString::from(program), OsString::from("status")];
        assert_eq!(
            arguments(&line("/usr/bin/kubectl-witan")),
            Some(&line("")[1..])
        );
        for other in [
            "witan-operator",
            "/usr/bin/kubectl-witan2",
            "kubectl-witan/witan",
        ] {
            assert_eq!(arguments(&line(other)), None, "{other}");
        }
    }
}
