//! Versions in image tags, and the feature levels of Witan's releases.

use witan_machine::levels::{Level, RELEASES, ReleaseRow};

/// Parses the major and minor number of a version such as `1.2.3` or `v1.2.3-rc.1`. Returns `None` for other tags, such as
/// `latest`, a digest, or a date that exceeds 32 bits.
pub fn version_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Returns the feature level that a release supports; `None` for a release that this operator does not know, and for a tag that
/// is not a version.
pub fn level_of(version: &str) -> Option<Level> {
    level_in(RELEASES, version)
}

/// Returns the level in the last row that is not later than `version`, because a patch release of an earlier minor version may
/// be newer than this operator. `None` if `version` is later or earlier than all rows.
fn level_in(rows: &[ReleaseRow], version: &str) -> Option<Level> {
    let wanted = release_numbers(version)?;
    let mut levels = Vec::new();
    for row in rows {
        levels.push((release_numbers(row.release)?, row.level));
    }
    let (last, _) = levels.last()?;
    if wanted > *last {
        return None;
    }
    let row = levels.iter().rev().find(|(release, _)| *release <= wanted);
    row.map(|(_, level)| *level)
}

/// Parses the numbers of a release. A pre-release counts as its release, and a missing patch number as 0.
fn release_numbers(version: &str) -> Option<(u32, u32, u32)> {
    let (major, minor) = version_numbers(version)?;
    let patch = version
        .split(['.', '-', '+'])
        .nth(2)
        .and_then(|patch| patch.parse().ok());
    Some((major, minor, patch.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(release: &'static str, level: Level) -> ReleaseRow {
        ReleaseRow { release, level, format: 4, changed: "a test" }
    }

    #[test]
    fn a_release_has_the_level_of_the_last_row_up_to_it() {
        let rows = [row("0.1.0", 1), row("0.2.0", 2), row("0.2.3", 3)];
        for (version, level) in [
            ("0.0.9", None),
            ("0.1.0", Some(1)),
            ("0.1", Some(1)),
            ("v0.1.7", Some(1)),
            ("0.2.0-rc.1", Some(2)),
            ("0.2.2", Some(2)),
            ("0.2.3", Some(3)),
            ("0.2.4", None),
            ("0.10.0", None),
            ("1.0.0", None),
            ("latest", None),
        ] {
            assert_eq!(level_in(&rows, version), level, "{version}");
        }
        assert_eq!(level_in(&[], "0.1.0"), None);
    }

    #[test]
    fn this_release_is_known() {
        assert!(level_of(env!("CARGO_PKG_VERSION")).is_some());
    }
}
