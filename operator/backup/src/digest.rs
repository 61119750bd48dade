//! Verifies the digest at the end of a snapshot while the snapshot is streamed.

use sha2::{Digest as _, Sha256};

pub(crate) const DIGEST_BYTES: usize = 32;

/// Hashes a snapshot, whose last 32 bytes are the SHA-256 of all bytes before them.
#[derive(Debug, Default)]
pub(crate) struct SnapshotDigest {
    /// The hash of all bytes except the last 32.
    hash: Sha256,
    /// The last 32 bytes; fewer if the snapshot has fewer.
    tail: Vec<u8>,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digested {
    /// Whether the last 32 bytes are the SHA-256 of all bytes before them. False for a file of at most 32 bytes.
    pub(crate) sound: bool,
    /// SHA-256 of all bytes, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

impl SnapshotDigest {
    /// Adds the next bytes. The last 32 bytes stay in `tail`, because they may be the digest.
    pub(crate) fn update(&mut self, next: &[u8]) {
        self.bytes += next.len() as u64;
        let fixed = (self.tail.len() + next.len()).saturating_sub(DIGEST_BYTES);
        let of_tail = fixed.min(self.tail.len());
        self.hash.update(&self.tail[..of_tail]);
        self.tail.drain(..of_tail);
        let (before, tail) = next.split_at(fixed - of_tail);
        self.hash.update(before);
        self.tail.extend_from_slice(tail);
    }

    /// Ends the snapshot. A snapshot with a wrong or missing digest is not an error; see [`Digested::sound`].
    pub(crate) fn finish(mut self) -> Digested {
        let found = self.hash.clone().finalize();
        let sound = self.bytes > DIGEST_BYTES as u64 && found.as_slice() == self.tail;
        self.hash.update(&self.tail);
        let sha256 = format!("{:x}", self.hash.finalize());
        Digested { sound, sha256, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, snapshot};

    fn digested(file: &[u8], piece: usize) -> Digested {
        let mut digest = SnapshotDigest::default();
        file.chunks(piece).for_each(|part| digest.update(part));
        digest.finish()
    }

    #[test]
    fn a_digest_does_not_depend_on_the_pieces() {
        let file = snapshot(1000);
        for piece in [1, 7, 31, 32, 33, 500, 1032, 4096] {
            let found = digested(&file, piece);
            assert!(found.sound, "pieces of {piece}");
            assert_eq!(
                (found.bytes, found.sha256),
                (1032, hex(&file)),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_changed_or_missing_byte_is_found() {
        let sound = snapshot(1000);
        for at in [0, 999, 1000, 1031] {
            let mut changed = sound.clone();
            changed[at] ^= 1;
            assert!(!digested(&changed, 100).sound, "byte {at}");
        }
        assert!(!digested(&sound[..1031], 100).sound);
        assert!(!digested(&sound[..1000], 100).sound);
        assert!(
            !digested(&snapshot(0), 100).sound,
            "a digest of an empty file is not a snapshot"
        );
        assert!(!digested(&[], 100).sound);
    }
}
