//! The SHA-256 digest at the end of a snapshot file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use witan_gocompat::text;

/// Size in bytes of the digest.
pub const DIGEST_BYTES: u64 = 32;

/// A snapshot's length in bytes is a multiple of this, so a file's length shows whether it ends with a digest.
const SECTOR_BYTES: u64 = 512;

const PART_BYTES: usize = 1 << 20;

/// The reason why a digest was not found or does not match. The messages are etcdutl's.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// A file operation failed.
    #[error("{verb} {path}: {}", text::io_error(source))]
    File {
        /// The failed operation: `open`, `read` or `stat`.
        verb: &'static str,
        /// Path of the snapshot.
        path: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file differs from its digest.
    #[error(
        "expected sha256 {}, got {}",
        text::byte_slice(expected),
        text::byte_slice(got)
    )]
    Mismatch {
        /// The digest in the file.
        expected: [u8; DIGEST_BYTES as usize],
        /// The digest of the snapshot.
        got: [u8; DIGEST_BYTES as usize],
    },
}

impl DigestError {
    /// Returns a function for `map_err` that creates [`Self::File`] for the snapshot at `path`.
    fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { verb, path, source }
    }
}

/// Returns the length in bytes of the snapshot without its digest and whether the snapshot has a digest. `verb` appears in
/// errors.
pub fn length(verb: &'static str, path: &Path) -> Result<(u64, bool), DigestError> {
    let length = std::fs::metadata(path)
        .map_err(DigestError::file(verb, path))?
        .len();
    Ok(match length % SECTOR_BYTES {
        DIGEST_BYTES => (length - DIGEST_BYTES, true),
        _ => (length, false),
    })
}

/// Checks the first `length` bytes against the digest after them. Calls `progress` with the number of bytes of each read.
pub fn check(path: &Path, length: u64, progress: &mut dyn FnMut(usize)) -> Result<(), DigestError> {
    let mut file = File::open(path).map_err(DigestError::file("open", path))?;
    let mut digest = Sha256::new();
    let mut part = vec![0; PART_BYTES];
    let mut left = length;
    while left > 0 {
        let now = left.min(PART_BYTES as u64) as usize;
        file.read_exact(&mut part[..now])
            .map_err(DigestError::file("read", path))?;
        digest.update(&part[..now]);
        left -= now as u64;
        progress(now);
    }
    let mut expected = [0; DIGEST_BYTES as usize];
    file.read_exact(&mut expected)
        .map_err(DigestError::file("read", path))?;
    let got: [u8; DIGEST_BYTES as usize] = digest.finalize().into();
    if got == expected {
        Ok(())
    } else {
        Err(DigestError::Mismatch { expected, got })
    }
}
