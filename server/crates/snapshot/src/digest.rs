//! The SHA-256 digest at the end of a snapshot file.

use std::{fs::File, io::Read as _, path::Path};

use sha2::{Digest as _, Sha256};

use super::OfflineError;

pub(crate) const DIGEST_BYTES: u64 = 32;

/// A snapshot's length is a multiple of this, so the length shows whether a digest follows.
const SECTOR_BYTES: u64 = 512;

const PART_BYTES: usize = 1 << 20;

/// Returns the length of the snapshot without its digest, and whether it has one. `verb` is used in the error.
pub(crate) fn length(verb: &'static str, path: &Path) -> Result<(u64, bool), OfflineError> {
    let length = std::fs::metadata(path)
        .map_err(OfflineError::open(verb, path))?
        .len();
    let has_digest = length % SECTOR_BYTES == DIGEST_BYTES;
    Ok((
        if has_digest {
            length - DIGEST_BYTES
        } else {
            length
        },
        has_digest,
    ))
}

/// Compares the digest of the first `length` bytes with the one that follows them; a mismatch is an error. `progress` gets the
/// number of bytes of each read.
pub(crate) fn check(
    path: &Path,
    length: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<(), OfflineError> {
    let mut file = File::open(path).map_err(OfflineError::open("open", path))?;
    let mut digest = Sha256::new();
    let mut part = vec![0; PART_BYTES];
    let mut left = length;
    while left > 0 {
        let now = left.min(PART_BYTES as u64) as usize;
        file.read_exact(&mut part[..now])
            .map_err(OfflineError::open("read", path))?;
        digest.update(&part[..now]);
        left -= now as u64;
        progress(now);
    }
    let mut expected = [0; DIGEST_BYTES as usize];
    file.read_exact(&mut expected)
        .map_err(OfflineError::open("read", path))?;
    let got: [u8; DIGEST_BYTES as usize] = digest.finalize().into();
    if got == expected {
        Ok(())
    } else {
        Err(OfflineError::Digest { expected, got })
    }
}
