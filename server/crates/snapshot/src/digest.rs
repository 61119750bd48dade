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

/// The reason why a digest cannot be checked or does not match. The messages are the same as in etcdutl.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DigestError(String);

impl DigestError {
    /// Returns a function for `map_err`. `verb` is the failed operation: `open`, `read` or `stat`.
    fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self(format!("{verb} {path}: {}", text::io_error(&error)))
    }
}

/// Returns the length in bytes of the snapshot without its digest, and whether the file's length shows a digest. Does not read
/// the content. `verb` names the failed operation in errors.
pub fn length(verb: &'static str, path: &Path) -> Result<(u64, bool), DigestError> {
    let length = std::fs::metadata(path)
        .map_err(DigestError::file(verb, path))?
        .len();
    Ok(match length % SECTOR_BYTES {
        DIGEST_BYTES => (length - DIGEST_BYTES, true),
        _ => (length, false),
    })
}

/// Checks the first `length` bytes against the digest after them. Fails if they differ or the file is too short. Calls
/// `progress` with the number of bytes of each read.
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
        return Ok(());
    }
    let (expected, got) = (text::byte_slice(&expected), text::byte_slice(&got));
    Err(DigestError(format!(
        "expected sha256 {expected}, got {got}"
    )))
}
