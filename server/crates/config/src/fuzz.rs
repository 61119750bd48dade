//! Entry points to the configuration's parsers for `tests/fuzz`; built only with the feature
//! `fuzz`.

use super::{Config, Environment, file, values::FlagValues};

/// Builds the configuration from the text of a configuration file; the error is its message.
pub fn file(text: &str) -> Result<Config, String> {
    let mut values = FlagValues::default();
    file::parse(text, &mut values)?;
    values.validate().map_err(|error| error.to_string())?;
    values
        .config(&Environment::new())
        .map_err(|error| error.to_string())
}
