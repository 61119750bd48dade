//! Output to stdout and stderr.

use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use super::{PluginError, command::Format};

/// Prints a text to stdout. A reader that has seen enough, such as `head`, is no error.
pub(super) fn print(text: &str) -> Result<(), PluginError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(PluginError::Words(format!(
            "cannot write to stdout: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints a line about progress to stderr.
pub(super) fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints a value in the format that was asked for.
pub(super) fn print_as<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), PluginError> {
    match format {
        Format::Table => print(&text(value)),
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(unprintable)?;
            print(&(json + "\n"))
        }
        Format::Yaml => print(&yaml(value)?),
    }
}

/// Returns a value as YAML.
pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, PluginError> {
    serde_yaml::to_string(value).map_err(unprintable)
}

fn unprintable(error: impl std::fmt::Display) -> PluginError {
    PluginError::Words(format!("cannot print this: {error}"))
}
