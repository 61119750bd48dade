//! Errors of the TLS setup, with flag and file.

use std::{io, path::PathBuf};

/// An error in the files of TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("--{flag}={}: {source}", path.display())]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The contents of a file are invalid.
    #[error("--{flag}={}: {reason}", path.display())]
    Content {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// Certificate and key do not belong together, or are unusable.
    #[error("--{}={} with --{}={}: {source}", flags[0], cert.display(), flags[1], key.display())]
    Pair {
        /// The flags that name them.
        flags: &'static [&'static str; 2],
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// The error of the library.
        source: rustls::Error,
    },
    /// No suite or version remains of the configured ones.
    #[error(
        "--cipher-suites: none of them is supported; choose among {available}, and all of TLS 1.3's"
    )]
    NoSuite {
        /// Names of the supported ones.
        available: String,
    },
    /// A configured name for certificates is invalid.
    #[error("--{flag}: {name:?} is neither a host name nor an address")]
    Hostname {
        /// The flag that names it.
        flag: &'static str,
        /// The name.
        name: String,
    },
    /// The certificate of `--auto-tls` or `--peer-auto-tls` cannot be made.
    #[error("cannot make a self-signed certificate in {}: {reason}", path.display())]
    SelfSigned {
        /// Its folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The library refuses the settings.
    #[error("TLS: {0}")]
    Settings(#[from] rustls::Error),
}
