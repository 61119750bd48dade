//! Errors in the setup of TLS. They name the flag and the file that cause them, if any.

use std::{io, path::PathBuf};

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum TlsError {
    #[error("--{flag}={}: {source}", path.display())]
    Read {
        flag: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("--{flag}={}: {reason}", path.display())]
    Content {
        flag: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("--{}={} with --{}={}: {source}", flags[0], cert.display(), flags[1], key.display())]
    Pair {
        flags: &'static [&'static str; 2],
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error(
        "--cipher-suites: no suite is supported; choose among {available} and the suites of TLS 1.3"
    )]
    NoSuite { available: String },
    #[error("--{flag}: {name:?} is neither a host name nor an address")]
    Hostname { flag: &'static str, name: String },
    #[error("cannot create a self-signed certificate in {}: {reason}", path.display())]
    SelfSigned {
        /// The directory of the file.
        path: PathBuf,
        reason: String,
    },
    #[error("TLS: {0}")]
    Settings(#[from] rustls::Error),
}

impl TlsError {
    /// Returns whether a file could not be read for a reason outside the file, for example because no file descriptor is free.
    /// Such a file may become readable without a change of its metadata.
    pub(super) fn is_temporary(&self) -> bool {
        let Self::Read { source, .. } = self else {
            return false;
        };
        // A new file or another mode, which would remove these errors, changes the metadata.
        !matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
    }
}
