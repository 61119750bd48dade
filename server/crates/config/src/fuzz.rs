//! Gives `tests/fuzz` access to the configuration's parsers. Built only with the feature `fuzz`.

use super::{Config, Environment, file, values::FlagValues};

/// Builds the configuration from the text of a configuration file. If this fails, returns the error's message.
pub fn file(text: &str) -> Result<Config, String> {
    let mut values = FlagValues::default();
    file::parse(text, &mut values)?;
    values.check_flags().map_err(|error| error.to_string())?;
    values
        .config(&Environment::new())
        .map_err(|error| error.to_string())
}
