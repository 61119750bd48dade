//! The given values as strings by flag, and the checks that do not depend on the source of a value. `build` parses the strings.

use std::collections::{BTreeMap, HashMap};

use witan_gocompat::text::{parse_bool, parse_duration};

use super::{
    error::ConfigError,
    flags::{self, Flag, FlagKind, FlagStatus},
};

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

const ENV_PREFIX: &str = "ETCD_";
/// The only flag that cannot be given together with its old name.
const UNARY_WARNING: &str = "warning-unary-request-duration";
/// Flags that select how a cluster is bootstrapped; at most one can be given.
const BOOTSTRAP: [&str; 4] = [
    "initial-cluster",
    "discovery",
    "discovery-endpoints",
    "discovery-srv",
];

/// Given values as strings by flag name, without defaults.
#[derive(Debug, Default)]
pub(super) struct FlagValues {
    pub(super) given: HashMap<&'static str, String>,
    /// Allowed common names of clients. As in etcd, only a file sets them.
    pub(super) client_common_names: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl FlagValues {
    /// Returns a flag's given text, or `None` if the text is missing or empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.given
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Adds the values of etcd's environment variables. Ignores empty variables. Warns about unknown variables with etcd's
    /// prefix. Fails if a variable's flag is also given.
    pub(super) fn add_environment(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let mut variables: HashMap<String, &'static Flag> =
            flags::all().map(|flag| (flag.env(), flag)).collect();
        // `--version` is only valid on the command line.
        variables.remove("ETCD_VERSION");
        for (variable, text) in environment
            .iter()
            .filter(|(v, _)| v.starts_with(ENV_PREFIX))
        {
            match variables.get(variable) {
                None => self
                    .warnings
                    .push(format!("unrecognized environment variable {variable}")),
                Some(_) if text.is_empty() => {}
                Some(flag) if self.given.contains_key(flag.name) => {
                    let variable = variable.clone();
                    return Err(ConfigError::Shadowed { variable, flag: flag.name });
                }
                Some(flag) => drop(self.given.insert(flag.name, text.clone())),
            }
        }
        Ok(())
    }

    /// Moves the values of old names to the current flags. Fails if flags conflict, or if a refused flag differs from its
    /// default. Warns about flags without an effect that differ from their defaults. Does not check the format of values.
    pub(super) fn check_flags(&mut self) -> Result<(), ConfigError> {
        self.resolve_aliases()?;
        let given = BOOTSTRAP.iter().filter_map(|flag| self.given(flag));
        if given.count() > 1 {
            return Err(ConfigError::Bootstrap);
        }
        for flag in flags::all() {
            let Some(text) = self.given.get(flag.name) else {
                continue;
            };
            if is_default(flag, text) {
                continue;
            }
            match flag.status {
                FlagStatus::Refused(reason) => {
                    return Err(ConfigError::Refused { flag: flag.name, reason });
                }
                FlagStatus::Accepted(why) => {
                    self.warnings
                        .push(format!("--{} has no effect: {why}", flag.name));
                }
                FlagStatus::Supported(_) | FlagStatus::Alias(_) => {}
            }
        }
        Ok(())
    }

    /// Moves the values of old names to the current flags; drops a value whose current flag is also given. Warns about each old
    /// name. As in etcd, fails if [`UNARY_WARNING`] is given under both names.
    fn resolve_aliases(&mut self) -> Result<(), ConfigError> {
        for flag in flags::all() {
            let FlagStatus::Alias(of) = flag.status else {
                continue;
            };
            if let Some(text) = self.given.remove(flag.name) {
                if of == UNARY_WARNING && self.given(of).is_some() {
                    return Err(ConfigError::BothNames { old: flag.name, new: of });
                }
                self.warnings
                    .push(format!("--{} is an old name of --{of}", flag.name));
                self.given.entry(of).or_insert(text);
            }
        }
        Ok(())
    }
}

/// Returns whether a string is equivalent to the flag's default. An empty string is equivalent to the default of any flag.
fn is_default(flag: &Flag, text: &str) -> bool {
    text.is_empty()
        || match flag.kind {
            FlagKind::Bool => parse_bool(text) == parse_bool(flag.default),
            FlagKind::Duration => parse_duration(text) == parse_duration(flag.default),
            FlagKind::Integer | FlagKind::Text => text == flag.default,
        }
}
