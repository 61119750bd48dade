//! Where the certificate of a port comes from: two files, or made by this process.

use std::path::PathBuf;

use super::{ConfigError, ServerCertificate};

/// The flags that name the certificate of a port.
pub(crate) struct CertificateFlags<'a> {
    pub(crate) cert: &'a str,
    pub(crate) key: &'a str,
    /// The names of both flags, for errors.
    pub(crate) pair: &'static str,
    /// Whether the process makes a certificate if there are no files.
    pub(crate) auto: bool,
    /// Years for which that one is valid.
    pub(crate) years: u32,
    /// The port, as warnings name it.
    pub(crate) port: &'static str,
}

impl CertificateFlags<'_> {
    /// Returns the source of the certificate; `None` without one. Files win over a certificate of this process, with
    /// a warning.
    pub(crate) fn source(
        &self,
        warnings: &mut Vec<String>,
    ) -> Result<Option<ServerCertificate>, ConfigError> {
        if self.cert.is_empty() && self.key.is_empty() {
            if self.auto && self.years == 0 {
                return Err(ConfigError::SelfSignedValidity);
            }
            let made = ServerCertificate::SelfSigned { years: self.years };
            return Ok(self.auto.then_some(made));
        }
        let (cert, key) = pair(self.cert, self.key, self.pair)?;
        if self.auto {
            let port = self.port;
            warnings.push(format!("ignoring {port} auto TLS since certs given"));
        }
        Ok(Some(ServerCertificate::Files { cert, key }))
    }
}

/// Returns both paths; if one is missing, the error names `flags`.
pub(crate) fn pair(
    cert: &str,
    key: &str,
    flags: &'static str,
) -> Result<(PathBuf, PathBuf), ConfigError> {
    if cert.is_empty() || key.is_empty() {
        return Err(ConfigError::IncompleteKeyPair {
            flags,
            cert: cert.to_owned(),
            key: key.to_owned(),
        });
    }
    Ok((PathBuf::from(cert), PathBuf::from(key)))
}
