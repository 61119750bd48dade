//! The readers of configuration by themselves, for `tests/fuzz`; built with the feature `fuzz` alone.

use super::{Config, Environment, build, file, values::FlagValues};

/// The configuration that a file's text asks for.
pub fn file(text: &str) -> Result<Config, String> {
    let mut values = FlagValues::default();
    file::parse(text, &mut values)?;
    values
        .validate(&Environment::new())
        .map_err(|error| error.to_string())?;
    build::config(values, &Environment::new()).map_err(|error| error.to_string())
}
