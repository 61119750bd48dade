//! Validates names of backups. A name is a single component of an object key or a path.

use crate::reason::BackupError;

pub(crate) const DATA: &str = ".db";
pub(crate) const RECORD: &str = ".json";

/// Fails unless a name consists of ASCII letters, digits, `.`, `_` and `-` and does not start with a dot.
pub(crate) fn check(name: &str) -> Result<(), BackupError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.starts_with('.') {
        "it starts with a dot"
    } else if !name.chars().all(allowed) {
        "only ASCII letters, digits, and . _ - are allowed"
    } else {
        return Ok(());
    };
    Err(BackupError::internal(format!("--name {name:?}: {wrong}")))
}

/// Checks the name of a new backup. Unlike [`check`], refuses the suffixes `.db` and `.json`, which are added automatically.
pub(crate) fn check_new(name: &str) -> Result<(), BackupError> {
    check(name)?;
    for suffix in [DATA, RECORD] {
        if name.ends_with(suffix) {
            let message = format!("--name {name:?}: omit {suffix}, which is added automatically");
            return Err(BackupError::internal(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_a_valid_name() {
        for sound in ["a", "nightly-20260101T000000Z", "A_b.c"] {
            assert_eq!(check_new(sound), Ok(()), "{sound}");
        }
        for wrong in [
            "", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a b", "ä", "a\n", "%2e",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_name_has_no_suffix() {
        assert_eq!(check("a.db"), Ok(()), "fetch accepts the name of a file");
        assert!(check_new("a.db").is_err());
        assert!(check_new("a.json").is_err());
    }
}
