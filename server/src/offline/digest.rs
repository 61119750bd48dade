//! The digest (SHA-256) that follows a snapshot's file.

use std::{fs::File, io::Read as _, path::Path};

use sha2::{Digest as _, Sha256};

use super::OfflineError;

const DIGEST_BYTES: u64 = 32;

/// Files are multiples of a sector, so a digest shows in the length.
const SECTOR_BYTES: u64 = 512;

/// Read at a time.
const PART_BYTES: usize = 1 << 20;

/// Bytes of the snapshot without the digest.
pub(super) fn length(verb: &'static str, path: &Path) -> Result<(u64, bool), OfflineError> {
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

/// Whether the digest is of the bytes before it.
pub(super) fn check(
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
