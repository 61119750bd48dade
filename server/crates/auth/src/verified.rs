//! A cache of verified passwords, for clients that send their password with each request.
//!
//! Each entry is a keyed digest of a password and its stored hash. A changed password or a recreated user has a different
//! stored hash, so older entries no longer match. The key is random for each process and never stored.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ring::{
    error::Unspecified,
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use witan_base::sync::Mutex;

/// Maximum number of cached passwords; when it is exceeded, the oldest entry is evicted.
const VERIFIED_CACHED: usize = 1024;

/// Lifetime of a cache entry.
const VERIFIED_TTL: Duration = Duration::from_secs(5 * 60);

type PasswordDigest = [u8; 32];

/// Keyed digests of verified passwords, with the times of verification.
pub(super) struct VerifiedPasswords {
    key: hmac::Key,
    known: Mutex<HashMap<PasswordDigest, Instant>>,
}

impl std::fmt::Debug for VerifiedPasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

impl VerifiedPasswords {
    /// Creates an empty cache with a random key. Fails if the system provides no random numbers.
    pub(super) fn new() -> Result<Self, Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())?,
            known: Mutex::default(),
        })
    }

    /// Returns whether this password was verified against this stored hash within [`VERIFIED_TTL`].
    pub(super) fn contains(&self, password: &str, hashed: &[u8]) -> bool {
        let mark = self.digest(password, hashed);
        let since = self.known.lock().get(&mark).copied();
        since.is_some_and(|since| since.elapsed() < VERIFIED_TTL)
    }

    /// Remembers a verified password. Beyond `VERIFIED_CACHED` passwords, forgets the oldest one.
    pub(super) fn insert(&self, password: &str, hashed: &[u8]) {
        let mark = self.digest(password, hashed);
        let mut known = self.known.lock();
        known.insert(mark, Instant::now());
        if known.len() > VERIFIED_CACHED
            && let Some((&oldest, _)) = known.iter().min_by_key(|(_, since)| **since)
        {
            known.remove(&oldest);
        }
    }

    /// Returns the keyed digest of a password and its stored hash.
    fn digest(&self, password: &str, hashed: &[u8]) -> PasswordDigest {
        let mut digest = hmac::Context::with_key(&self.key);
        digest.update(&(hashed.len() as u64).to_be_bytes());
        digest.update(hashed);
        digest.update(password.as_bytes());
        let mut mark = PasswordDigest::default();
        mark.copy_from_slice(digest.sign().as_ref());
        mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_verified_only_with_its_hash() {
        let verified = VerifiedPasswords::new().unwrap();
        verified.insert("secret", b"$2a$10$hash");
        assert!(verified.contains("secret", b"$2a$10$hash"));
        assert!(
            !verified.contains("secret", b"$2a$10$other"),
            "after a change"
        );
        assert!(!verified.contains("Secret", b"$2a$10$hash"));
        assert!(
            !verified.contains("hsecret", b"$2a$10$has"),
            "the same bytes, split elsewhere"
        );
        assert!(!format!("{verified:?}").contains("secret"));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let verified = VerifiedPasswords::new().unwrap();
        for at in 0..=VERIFIED_CACHED {
            verified.insert(&at.to_string(), b"hash");
        }
        assert_eq!(verified.known.lock().len(), VERIFIED_CACHED);
        assert!(!verified.contains("0", b"hash"), "the oldest is evicted");
        assert!(verified.contains("1024", b"hash"));
    }
}
