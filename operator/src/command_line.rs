//! The command line, which selects one of the three programs and configures its log.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use witan_backup::BackupCommand;
use witan_controller::Options;

use crate::logging::LogFormat;

/// Runs Witan clusters in Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "witan-operator",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: RunFlags,
}

impl CommandLine {
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.options))
    }
}

/// Commands of the program.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Watches EtcdClusters and reconciles them (default).
    Run(RunFlags),
    /// Prints the CustomResourceDefinitions as YAML.
    Crd,
    /// Runs the plugin `kubectl witan`, which inspects and repairs clusters. It is also installed as kubectl-witan.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Arguments of the plugin.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Saves, lists and fetches snapshots in a store.
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
        /// Log level: error, warn, info, debug, trace, or a filter.
        #[arg(
            long,
            env = "LOG_LEVEL",
            default_value = "info",
            global = true,
            help_heading = "Log"
        )]
        log_level: String,
        /// Log format; by default text on a terminal, and json otherwise. Progress is logged every 5 s.
        #[arg(
            long,
            env = "LOG_FORMAT",
            value_enum,
            global = true,
            help_heading = "Log"
        )]
        log_format: Option<LogFormat>,
    },
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Log level: error, warn, info, debug, trace, or a filter such as info,kube=debug.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// Log format.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub(crate) log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        <CommandLine as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_need_not_be_named() {
        for arguments in [&["--log-level=debug"][..], &["run", "--log-level=debug"]] {
            let parsed = CommandLine::parse_from([&["witan-operator"], arguments].concat());
            let Command::Run(flags) = parsed.command() else {
                panic!("{arguments:?}");
            };
            assert_eq!(flags.log_level, "debug");
        }
        // The flag would have no effect.
        assert!(
            CommandLine::try_parse_from(["witan-operator", "--log-level=debug", "crd"]).is_err()
        );
    }

    #[test]
    fn the_plugin_reads_its_own_flags() {
        let line = [
            "witan-operator",
            "kubectl",
            "status",
            "--help",
            "-n",
            "prod",
        ];
        let Command::Kubectl { arguments } = CommandLine::parse_from(line).command() else {
            panic!("{line:?}");
        };
        assert_eq!(arguments, line[2..]);
    }

    #[test]
    fn help_of_a_backup_has_no_flags_of_run() {
        let mut command = <CommandLine as CommandFactory>::command();
        command.build();
        let save = command.find_subcommand_mut("backup").unwrap();
        let help = save
            .find_subcommand_mut("save")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(
            help.contains("--endpoints") && help.contains("--log-level"),
            "{help}"
        );
        assert!(!help.contains("--lease-name"), "{help}");
    }
}
