//! The configuration's parsers for `tests/fuzz`; only built with the feature `fuzz`.

use super::{Config, Environment, file, values::FlagValues};

/// Builds the configuration from the text of a configuration file. The error is the message.
pub fn file(text: &str) -> Result<Config, String> {
    let mut values = FlagValues::default();
    file::parse(text, &mut values)?;
    values.validate().map_err(|error| error.to_string())?;
    values
        .config(&Environment::new())
        .map_err(|error| error.to_string())
}
