//! The readers of configuration by themselves, for `tests/fuzz`; built with the feature `fuzz` alone.

use super::{Config, Environment, build, file, values::Values};

/// The configuration that a file's text asks for.
pub fn file(text: &str) -> Result<Config, String> {
    let mut values = Values::default();
    file::parse(text, &mut values)?;
    values.settle().map_err(|error| error.to_string())?;
    build::config(values, &Environment::new()).map_err(|error| error.to_string())
}
