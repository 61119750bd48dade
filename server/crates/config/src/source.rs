//! Loads the configuration. Collects the given values, either from the command line and the environment or from a file.

use std::{collections::HashMap, ffi::OsString, path::Path};

use clap::{Arg, ArgAction, Command, parser::ValueSource};

use super::{
    Config, Invocation,
    error::ConfigError,
    file,
    flags::{self, FlagKind},
    help,
    values::{Environment, FlagValues},
};

/// Returns the environment variables of this process. Replaces invalid UTF-8.
pub fn environment() -> Environment {
    let text = |part: OsString| part.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

const CONFIG_FILE: &str = "config-file";

/// Collects the values of all flags: from the configuration file if one is given, otherwise from the command line and the
/// environment. Warns that a configuration file replaces all flags and variables.
fn collect_values(
    line: HashMap<&'static str, String>,
    environment: &Environment,
) -> Result<FlagValues, ConfigError> {
    let file = line.get(CONFIG_FILE).cloned();
    let file = file.or_else(|| environment.get("ETCD_CONFIG_FILE").cloned());
    let mut values = match file.filter(|path| !path.is_empty()) {
        Some(path) => {
            let mut values = FlagValues::default();
            file::read(Path::new(&path), &mut values)?;
            values.warnings.push(format!(
                "configuration read from {path}; other flags and environment variables are ignored"
            ));
            values
        }
        None => {
            let mut values = FlagValues { given: line, ..FlagValues::default() };
            values.add_environment(environment)?;
            values
        }
    };
    values.check_flags()?;
    Ok(values)
}

impl Config {
    /// Loads the configuration from arguments (without the program's name), environment and, if given, a file. `--help` takes
    /// precedence over `--version`, and both take precedence over other flags. An invalid argument is an error even with
    /// `--help`.
    pub fn load(
        arguments: impl Iterator<Item = OsString>,
        environment: &Environment,
    ) -> Result<Invocation, ConfigError> {
        let arguments = normalize_dashes(arguments)?;
        let matches = command()
            .try_get_matches_from(arguments)
            .map_err(|error| ConfigError::Arguments(error.render().to_string()))?;
        if matches.get_flag("help") {
            return Ok(Invocation::Help(help::text()));
        }
        if matches.get_flag("version") {
            return Ok(Invocation::Version);
        }
        let mut given = HashMap::new();
        for flag in flags::all() {
            let on_line = matches.value_source(flag.name) == Some(ValueSource::CommandLine);
            if on_line && let Some(text) = matches.get_one::<String>(flag.name) {
                given.insert(flag.name, text.clone());
            }
        }
        let values = collect_values(given, environment)?;
        Ok(Invocation::Start(Box::new(values.config(environment)?)))
    }
}

/// Builds clap's parser. The value of a boolean flag is optional and follows `=`; any other flag requires a value.
fn command() -> Command {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let mut command = Command::new("witan")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(switch("help").short('h'))
        .arg(switch("version"));
    for flag in flags::all() {
        let arg = Arg::new(flag.name).long(flag.name).action(ArgAction::Set);
        command = command.arg(match flag.kind {
            FlagKind::Bool => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            FlagKind::Text | FlagKind::Integer | FlagKind::Duration => {
                arg.num_args(1).allow_hyphen_values(true)
            }
        });
    }
    command
}

/// Converts `-name` to `--name`, because Go's flag package accepts both, and `-h` to `--help`. Keeps values that begin with a
/// dash. Fails for an argument that is neither a flag nor its value.
fn normalize_dashes(
    arguments: impl Iterator<Item = OsString>,
) -> Result<Vec<OsString>, ConfigError> {
    let mut out = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let text = argument
            .into_string()
            .map_err(|bad| ConfigError::NotAFlag(bad.to_string_lossy().into_owned()))?;
        let name = text.trim_start_matches('-');
        let dashes = text.len() - name.len();
        if !(1..=2).contains(&dashes) || name.is_empty() {
            return Err(ConfigError::NotAFlag(text));
        }
        out.push(if name == "h" {
            "--help".into()
        } else {
            format!("--{name}").into()
        });
        let follows = match flags::find(name) {
            Some(flag) => flag.kind != FlagKind::Bool,
            // The argument is `NAME=VALUE`, or clap reports the unknown flag.
            None => arguments
                .peek()
                .is_some_and(|next| !next.as_encoded_bytes().starts_with(b"-")),
        };
        if follows && let Some(value) = arguments.next() {
            out.push(value);
        }
    }
    Ok(out)
}
