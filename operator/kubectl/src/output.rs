//! Writes to stdout and stderr and asks for a confirmation before changes that cannot be undone.

use std::io::{BufRead as _, ErrorKind, Write as _};

use serde::Serialize;

use super::{command::Format, error::PluginError, table::printed, target::Target};

/// Prints text for a user to stdout. Escapes control characters, because messages can quote untrusted input.
pub(super) fn print(text: &str) -> Result<(), PluginError> {
    write_out(&printed(text))
}

pub(super) fn print_yaml(value: &impl Serialize) -> Result<(), PluginError> {
    write_out(&yaml(value)?)
}

/// Writes a string to stdout unchanged. Ignores a broken pipe, which `head` can cause.
fn write_out(text: &str) -> Result<(), PluginError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(words!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Prints a line of text to stderr, escaped like the text of [`print()`].
pub(super) fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{}", printed(text)));
}

/// Asks the user to type the name of the cluster. Shows the namespace and the API server, because other namespaces and API
/// servers can also have a cluster of this name. Returns whether the input matches.
pub(super) fn confirmed(target: &Target, cluster: &str) -> Result<bool, PluginError> {
    let failed = |error| words!("cannot ask for a confirmation: {error}; use --yes to skip it");
    let mut out = std::io::stderr();
    let (namespace, server) = (&target.namespace, &target.server);
    let place = printed(&format!("namespace {namespace} of {server}"));
    write!(out, "Type the name of the cluster in {place} to continue: ").map_err(failed)?;
    out.flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(failed)?;
    Ok(line.trim() == cluster)
}

/// Prints a value to stdout. `text` formats the table, whose control characters are escaped.
pub(super) fn print_as<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), PluginError> {
    match format {
        Format::Table => print(&text(value)),
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(unprintable)?;
            write_out(&(json + "\n"))
        }
        Format::Yaml => print_yaml(value),
    }
}

pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, PluginError> {
    serde_yaml::to_string(value).map_err(unprintable)
}

fn unprintable(error: impl std::fmt::Display) -> PluginError {
    words!("cannot format the output: {error}")
}
