//! The table of flags: all flags of etcd 3.4 to 3.7 and Witan's own flags, and how this release handles them. Parsing, the help
//! text and `docs/reference/flags.md` are derived from the table.
//!
//! This file defines the columns, and `rows` has the flags.

mod rows;

/// The kind of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// Any text.
    Text,
    /// `true` or `false`. A flag without a value means `true`.
    Bool,
    /// A whole number.
    Integer,
    /// A Go duration such as `1h30m` or `100ms`. In a file, also an integer of nanoseconds.
    Duration,
}

/// How this release handles a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagStatus {
    /// The flag works; a flag of etcd works as in etcd. The string names a test function in `tests/e2e/tests` that proves this.
    Supported(&'static str),
    /// The flag is accepted and has no effect, for this reason.
    Accepted(&'static str),
    /// Every value except the default is refused, for this reason.
    Refused(&'static str),
    /// The flag is an old name of another flag, which the string names.
    Alias(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name without dashes.
    pub name: &'static str,
    /// Kind of the value.
    pub kind: FlagKind,
    /// The value of a flag that is not given.
    pub default: &'static str,
    /// Description for the help text.
    pub help: &'static str,
    /// Key in the configuration file; a dot separates section and key.
    pub yaml: &'static str,
    /// How the flag is handled.
    pub status: FlagStatus,
}

impl Flag {
    /// Returns the name of the environment variable: `ETCD_` and the flag's name in upper case with underscores.
    pub fn env(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// Creates a row whose YAML key is the flag's name.
    const fn new(
        name: &'static str,
        kind: FlagKind,
        default: &'static str,
        help: &'static str,
        status: FlagStatus,
    ) -> Self {
        Self { name, kind, default, help, yaml: name, status }
    }

    /// Sets a YAML key that differs from the flag's name.
    const fn yaml(self, yaml: &'static str) -> Self {
        Self { yaml, ..self }
    }
}

/// The groups of flags with their titles, in the order of the help text.
pub const GROUPS: &[(&str, &[Flag])] = &[
    ("Member", rows::MEMBER),
    ("Cluster", rows::CLUSTER),
    ("Security and auth", rows::SECURITY),
    ("Logs and monitoring", rows::LOGGING),
    ("Tuning", rows::TUNING),
    ("Old names", rows::RETIRED),
];

/// Iterates over all flags of all groups.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// Returns the flag with this name, without dashes, or `None`.
pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_keys_are_unique_and_aliases_name_a_flag() {
        let (mut names, mut keys) = (HashSet::new(), HashSet::new());
        for flag in all() {
            assert!(names.insert(flag.name), "{} twice", flag.name);
            assert!(keys.insert(flag.yaml), "{} twice", flag.yaml);
            assert!(!flag.help.is_empty(), "{} has no help", flag.name);
            if let FlagStatus::Alias(of) = flag.status {
                let target = find(of).unwrap_or_else(|| panic!("{} names no flag", flag.name));
                assert!(
                    !matches!(target.status, FlagStatus::Alias(_)),
                    "{}",
                    flag.name
                );
                assert_eq!(
                    (flag.kind, flag.default),
                    (target.kind, target.default),
                    "{of}"
                );
            }
        }
    }
}
