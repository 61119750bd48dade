//! bcrypt hashes in Go's format: `$2a$COST$`, 22 digits of salt and 31 digits of hash, in bcrypt's base64 alphabet.

use base64::{
    Engine as _,
    alphabet::BCRYPT,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bcrypt::bcrypt;

use super::HashError;

/// Number of bytes of a password that bcrypt reads. A longer password cannot be set and never matches.
pub(super) const BCRYPT_BYTES: usize = 72;
const SALT_DIGITS: usize = 22;
const HASH_BYTES: usize = 23;
const HASH_DIGITS: usize = 31;

/// The costs that bcrypt accepts.
pub(super) const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Hashes a password in Go's format. Fails with `TooLong` if the password exceeds `BCRYPT_BYTES`. `cost` must be in `COSTS`.
/// Cost 10 takes 60 ms; each step doubles the time.
pub fn hash(password: &str, cost: u32, salt: [u8; 16]) -> Result<String, HashError> {
    if password.len() > BCRYPT_BYTES {
        return Err(HashError::TooLong);
    }
    let hashed = bcrypt(cost, salt, &key(password));
    let (salt, hashed) = (DIGITS.encode(salt), DIGITS.encode(&hashed[..HASH_BYTES]));
    Ok(format!("$2a${cost:02}${salt}{hashed}"))
}

/// Hashes a password and returns whether the result equals `hashed`. Returns `false` for an invalid hash and for a password
/// above `BCRYPT_BYTES`.
pub(super) fn matches(password: &str, hashed: &[u8]) -> bool {
    let Some((cost, salt, expect)) = parse(hashed) else {
        return false;
    };
    // A longer password was never hashed.
    if password.len() > BCRYPT_BYTES {
        return false;
    }
    let found = bcrypt(cost, salt, &key(password));
    let difference = found
        .iter()
        .zip(expect)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}

/// Returns a hash that no password matches. A comparison with this hash takes as long as with any other hash of this cost.
pub(super) fn dummy_hash(cost: u32) -> String {
    let (salt, hashed) = (DIGITS.encode([0; 16]), DIGITS.encode([0; HASH_BYTES]));
    format!("$2a${cost:02}${salt}{hashed}")
}

/// Returns bcrypt's key for a password: its bytes and a zero byte, truncated to `BCRYPT_BYTES`.
fn key(password: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(BCRYPT_BYTES + 1);
    key.extend_from_slice(password.as_bytes());
    key.push(0);
    key.truncate(BCRYPT_BYTES);
    key
}

/// Parses cost, salt and hash. Accepts `$2` followed by any single character or none. Returns `None` if the format or the cost
/// is invalid.
fn parse(hashed: &[u8]) -> Option<(u32, [u8; 16], [u8; HASH_BYTES])> {
    let text = std::str::from_utf8(hashed).ok()?;
    let mut parts = text.strip_prefix("$2")?.splitn(3, '$');
    let minor = parts.next()?;
    let cost = parts.next()?.parse().ok().filter(|c| COSTS.contains(c))?;
    let (salt, hash) = parts.next()?.split_at_checked(SALT_DIGITS)?;
    if minor.len() > 1 || hash.len() != HASH_DIGITS {
        return None;
    }
    let salt = DIGITS.decode(salt).ok()?.try_into().ok()?;
    Some((cost, salt, DIGITS.decode(hash).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash created by Go's bcrypt.
    const GO: &str = "$2a$04$h6KGP5yPY4UR2KpYdrFYkemZjrYyuj5UjWp81tvwe3ZfL1AfO6mma";

    #[test]
    fn only_the_hashed_password_matches() {
        let hashed = hash("pässword", 4, [7; 16]).unwrap();
        assert_eq!(hashed.len(), 60);
        assert!(matches("pässword", hashed.as_bytes()));
        assert!(!matches("password", hashed.as_bytes()));
        assert!(!matches("", hashed.as_bytes()));
        assert!(matches("", hash("", 4, [7; 16]).unwrap().as_bytes()));
    }

    #[test]
    fn a_hash_from_go_matches_its_password() {
        assert!(matches("secret", GO.as_bytes()));
        assert!(!matches("secret ", GO.as_bytes()));
    }

    #[test]
    fn a_password_has_at_most_seventy_two_bytes() {
        let (longest, longer) = ("x".repeat(72), "x".repeat(73));
        let hashed = hash(&longest, 4, [1; 16]).unwrap();
        assert!(matches(&longest, hashed.as_bytes()));
        assert!(!matches(&longer, hashed.as_bytes()));
        assert!(!matches(&"x".repeat(71), hashed.as_bytes()));
        assert_eq!(hash(&longer, 4, [1; 16]), Err(HashError::TooLong));
    }

    #[test]
    fn an_invalid_hash_matches_nothing() {
        for bad in [
            "",
            "$2a$04$",
            "$2a$99$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "x",
        ] {
            assert!(!matches("", bad.as_bytes()), "{bad}");
        }
    }
}
