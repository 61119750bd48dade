//! The feature level of a snapshot, in the first record of Witan's own bucket. A snapshot of the first level has no such
//! record, so all releases read it.
//!
//! Only the record's key matters. The key is in the section of users and roles, so releases without this module expect a user
//! or a role. These releases refuse the key and print it, so the key is readable text.

use witan_bolt::BoltError;
use witan_machine::{
    levels::{self, Level},
    record,
};

use super::file::decode_witan_record;

/// The start of the key, without the section. After the section, no key of a user or role begins with the first byte of this
/// text.
const LEVEL: &str = "feature level ";

/// The text between the level and the release.
const RELEASE: &str = " of release ";

/// Returns the key of the record for this level, or `None` for the first level.
pub(super) fn key(level: Level) -> Option<Vec<u8>> {
    let release = levels::first_release(level);
    let text = format!("{LEVEL}{level}{RELEASE}{release}");
    (level > levels::FIRST).then(|| [&[record::AUTH], text.as_bytes()].concat())
}

/// Returns the level that a record in Witan's own bucket specifies, or `None` if the record contains something else. Fails if
/// the level is invalid or above `own`, the level of this release.
pub(super) fn read(value: &[u8], own: Level) -> Result<Option<Level>, BoltError> {
    let text = decode_witan_record(value)
        .and_then(|(key, _)| key.strip_prefix(&[record::AUTH]))
        .and_then(|key| key.strip_prefix(LEVEL.as_bytes()));
    let Some(text) = text else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(text);
    let parts = text.split_once(RELEASE);
    let level: Option<(Level, &str)> =
        parts.and_then(|(level, release)| Some((level.parse().ok()?, release)));
    match level {
        Some((level, release)) if level > own => Err(BoltError::Later(format!(
            "it has feature level {level}, and this release has {own}; use release {release} or later"
        ))),
        Some((level, _)) => Ok(Some(level)),
        None => Err(BoltError::Invalid(
            "the record of the feature level cannot be decoded".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::StateMachine;

    use super::*;

    /// Returns the record of a key without a value, as it is stored in the bucket.
    fn in_bucket(key: &[u8]) -> Vec<u8> {
        let length = u32::try_from(key.len()).unwrap();
        [&length.to_be_bytes(), key].concat()
    }

    #[test]
    fn a_level_above_that_of_this_release_is_refused() {
        assert_eq!(key(levels::FIRST), None);
        let record = in_bucket(&key(3).unwrap());
        assert_eq!(read(&record, 3).unwrap(), Some(3));
        assert_eq!(read(&record, 4).unwrap(), Some(3));
        let refused = read(&in_bucket(b"ufeature level 3 of release 0.9.0"), 2).unwrap_err();
        assert!(matches!(refused, BoltError::Later(_)), "{refused:?}");
        let text = "it has feature level 3, and this release has 2; use release 0.9.0 or later";
        assert_eq!(refused.to_string(), text);
        for other in [
            &b"unenabled"[..],
            b"tn/feature level 3 of release 0.9.0",
            b"",
            b"u",
        ] {
            assert_eq!(read(&in_bucket(other), 1).unwrap(), None);
        }
        for wrong in ["", "3", "x of release 0.9.0"] {
            let record = in_bucket(format!("u{LEVEL}{wrong}").as_bytes());
            assert!(
                matches!(read(&record, 1), Err(BoltError::Invalid(_))),
                "{wrong}"
            );
        }
    }

    /// Release 0.1.0 prints this message, because it decodes the record as a user.
    #[test]
    fn a_release_without_this_module_refuses_the_record_and_names_the_level() {
        let refused = StateMachine::default()
            .load(&key(2).unwrap(), &[])
            .unwrap_err();
        assert!(refused.is_later(), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("feature level 2 of release "), "{text}");
    }
}
