//! Why TLS cannot be set up, for people, with flag and file.

use std::{io, path::PathBuf};

/// What is wrong with the files of TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("--{flag}={}: {source}", path.display())]
    Read {
        /// Which flag names it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("--{flag}={}: {reason}", path.display())]
    Content {
        /// Which flag names it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("--{}={} with --{}={}: {source}", flags[0], cert.display(), flags[1], key.display())]
    Pair {
        /// Which flags name them.
        flags: &'static [&'static str; 2],
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
    /// Nothing is left of the suites or versions that were asked for.
    #[error(
        "--cipher-suites: none of them can be served; here are {available}, and all of TLS 1.3's"
    )]
    NoSuite {
        /// Names of those that can be asked for.
        available: String,
    },
    /// A name that a certificate may have is none.
    #[error("--{flag}: {name:?} is neither a host name nor an address")]
    Hostname {
        /// Which flag names it.
        flag: &'static str,
        /// The name.
        name: String,
    },
    /// The certificate of `--auto-tls` or `--peer-auto-tls` cannot be made.
    #[error("cannot make a self-signed certificate in {}: {reason}", path.display())]
    SelfSigned {
        /// Its folder.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The library refuses the settings.
    #[error("TLS: {0}")]
    Settings(#[from] rustls::Error),
}
