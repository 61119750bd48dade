//! Generates the help text from the table of flags.

use super::flags::{Flag, FlagStatus, GROUPS};

const USAGE: &str = "\
Usage:

  witan [flags]
    Start a member.

  witan snapshot status FILE
  witan snapshot restore FILE [--data-dir DIR] [--name NAME] [--initial-cluster ...]
    Inspect a snapshot of etcd or Witan, or restore a member from it (witan snapshot help restore).

  witan adopt --data-dir DIR
    Adopt the data of a stopped etcd member (witan adopt --help).

  witan export --data-dir DIR --etcd NEWDIR
    Export the data of a stopped member to etcd (witan export --help).

  witan info DIR
    Show the contents of the data directory of a stopped member (witan info --help).

  witan replay FILE|DIR
    Replay a flight recording and compare the results (witan replay --help).

  witan follow --from URLS [flags]
  witan follow status | cut-over | source-gone [--endpoint URL]
    Copy, follow and replace a running etcd cluster (witan follow --help).

  witan gateway start [--listen-addr ADDRESS] [--endpoints ...]
    Forward TCP connections to the members of a cluster (witan gateway start --help).

  witan --version
    Show the version.

  witan -h | --help
    Show this text.

  witan --config-file FILE
    Start a member with the settings in a YAML file. Other flags and environment variables are ignored.

Set a flag as --name=value, --name value or -name value, or as an environment variable (ETCD_ and the name
in upper case, with _ for -). In the YAML file of --config-file, the name of the flag is the key.
";

/// Returns the output of `--help`.
pub(super) fn text() -> String {
    let mut out = USAGE.to_owned();
    for (title, flags) in GROUPS {
        out += &format!("\n{title}:\n");
        for flag in *flags {
            out += &format!("  --{} '{}'\n", flag.name, default(flag));
            out += &format!("    {}{}\n", flag.help, note(flag));
        }
    }
    out
}

/// Returns the default to display. For `data-dir`, whose default depends on the name, returns a pattern.
fn default(flag: &Flag) -> &str {
    if flag.name == "data-dir" {
        "${name}.etcd"
    } else {
        flag.default
    }
}

/// Returns a space and a sentence about a flag's status, for the help text. Returns an empty string for a supported flag.
fn note(flag: &Flag) -> String {
    match flag.status {
        FlagStatus::Supported(_) => String::new(),
        FlagStatus::Accepted(why) => format!(" No effect: {why}."),
        FlagStatus::Refused(reason) => format!(" Refused: {reason}."),
        FlagStatus::Alias(of) => format!(" Use --{of}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of `docs/reference/flags.md`.
    fn markdown() -> String {
        let mut out = String::from(
            "# Flags\n\n\
             All flags of a member: the flags of etcd 3.4 to 3.7 and Witan's own flags, with their status in Witan. This \
             page is generated from the table in `server/crates/config/src/flags`. `witan --help` prints the \
             same flags, and `witan COMMAND --help` prints the flags of other commands.\n\n\
             Set a flag as `--name=value`, `--name value` or `-name value`, as an environment \
             variable (`ETCD_` and the name in upper case, with `_` for `-`), or as a key in the YAML \
             file of `--config-file`. With `--config-file`, other flags and environment variables are \
             ignored. A flag that is set both on the command line and in the environment is refused.\n",
        );
        for (title, flags) in GROUPS {
            out += &format!("\n## {title}\n\n");
            out.push_str("| flag | default | meaning | status |\n|---|---|---|---|\n");
            for flag in *flags {
                let key = if flag.yaml == flag.name {
                    String::new()
                } else {
                    format!(" (in a file `{}`)", flag.yaml)
                };
                let default = match default(flag).replace('|', "\\|") {
                    text if text.is_empty() => String::new(),
                    text => format!("`{text}`"),
                };
                out += &format!(
                    "| `--{}`{key} | {default} | {} | {} |\n",
                    flag.name,
                    flag.help.replace('|', "\\|"),
                    status(flag),
                );
            }
        }
        out
    }

    /// Describes how a flag is handled, for the table in `docs/reference/flags.md`.
    fn status(flag: &Flag) -> String {
        match flag.status {
            FlagStatus::Supported(test) => format!("supported (test `{test}`)"),
            FlagStatus::Accepted(why) => format!("no effect: {why}"),
            FlagStatus::Refused(reason) => format!("refused unless default: {reason}"),
            FlagStatus::Alias(of) => format!("old name of `--{of}`"),
        }
    }

    /// Run `UPDATE=1 cargo test -p witan-config flags_page` after changing the table.
    #[test]
    fn the_flags_page_is_fresh() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../docs/reference/flags.md"
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/reference/flags.md differs from the table"
        );
    }
}
