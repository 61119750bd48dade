//! Where the certificate of a port comes from: two files, or made by this process.

use std::path::PathBuf;

use super::{ConfigError, ServerCertificate, values::FlagValues};

impl FlagValues {
    /// Returns the source of the certificate of a port: the files that two flags name, or if `auto` this process for a
    /// number of years; `None` without either. Files win, with a warning that names the port.
    pub(crate) fn certificate(
        &self,
        files: [&'static str; 2],
        (auto, years): (bool, u32),
        (port, warnings): (&str, &mut Vec<String>),
    ) -> Result<Option<ServerCertificate>, ConfigError> {
        let Some((cert, key)) = self.files(files)? else {
            if auto && years == 0 {
                return Err(ConfigError::SelfSignedValidity);
            }
            return Ok(auto.then_some(ServerCertificate::SelfSigned { years }));
        };
        if auto {
            warnings.push(format!("ignoring {port} auto TLS since certs given"));
        }
        Ok(Some(ServerCertificate::Files { cert, key }))
    }

    /// Returns the paths that the flags of a certificate and its key name; `None` without both, an error without one.
    pub(crate) fn files(
        &self,
        flags: [&'static str; 2],
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        match flags.map(|flag| self.path(flag)) {
            [None, None] => Ok(None),
            [Some(cert), Some(key)] => Ok(Some((cert, key))),
            [Some(_), None] | [None, Some(_)] => {
                let [cert, key] = flags.map(|flag| self.text(flag).to_owned());
                Err(ConfigError::IncompleteKeyPair { flags, cert, key })
            }
        }
    }
}
