//! Versions in image tags and the feature levels of Witan's releases.

use witan_machine::levels::{Level, RELEASES, ReleaseRow};

/// A version. A pre-release sorts below its release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseVersion {
    major: u32,
    minor: u32,
    patch: u32,
    is_final: bool,
    pre_release: Vec<u64>,
}

impl ReleaseVersion {
    /// Parses a version such as `1.2`, `1.2.3` or `v1.2.3-rc.1`. Ignores anything after `+`. A missing or invalid patch number
    /// is read as 0, and so is a part of the pre-release that is not a number. Returns `None` for other tags, such as `latest`,
    /// `1.2-rc.1`, a digest, or a date that exceeds 32 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').splitn(3, '.');
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let rest = parts.next().and_then(|rest| rest.split('+').next());
        let rest = rest.unwrap_or_default();
        let (patch, pre_release) = match rest.split_once('-') {
            Some((patch, pre_release)) => (patch, Some(pre_release)),
            None => (rest, None),
        };
        let patch = patch.split('.').next().and_then(|text| text.parse().ok());
        let numbers = |text: &str| {
            let parts = text.split(['.', '-']);
            parts.map(|part| part.parse().unwrap_or(0)).collect()
        };
        Some(Self {
            major,
            minor,
            patch: patch.unwrap_or(0),
            is_final: pre_release.is_none(),
            pre_release: pre_release.map(numbers).unwrap_or_default(),
        })
    }

    /// Returns whether a member can change directly between both versions: their minor versions are equal or adjacent. The
    /// first minor version of a major version is adjacent to the last minor version before it, as far as this release knows.
    pub(super) fn is_next_to(&self, other: &Self) -> bool {
        self.is_next_in(RELEASES, other)
    }

    /// Like [`Self::is_next_to`], but with the known releases in `rows`.
    fn is_next_in(&self, rows: &[ReleaseRow], other: &Self) -> bool {
        let (low, high) = (
            self.min(other).minor_version(),
            self.max(other).minor_version(),
        );
        let is_between = |row: &ReleaseRow| {
            let known = Self::parse(row.release).map(|known| known.minor_version());
            known.is_some_and(|known| low < known && known < high)
        };
        match high.0 - low.0 {
            0 => high.1 - low.1 <= 1,
            1 => high.1 == 0 && !rows.iter().any(is_between),
            _ => false,
        }
    }

    fn minor_version(&self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

/// Returns the feature level that a release supports. Returns `None` if the release is unknown or the tag is not a version.
pub fn level_of(version: &str) -> Option<Level> {
    level_in(RELEASES, version)
}

/// Returns the level in the last row that is not later than `version`. `version` need not have a row: a patch release of an
/// earlier minor version may be newer than this operator. Returns `None` if `version` is later or earlier than all rows.
fn level_in(rows: &[ReleaseRow], version: &str) -> Option<Level> {
    // A pre-release has the level of its release.
    let numbers = |text: &str| {
        let version = ReleaseVersion::parse(text)?;
        Some((version.major, version.minor, version.patch))
    };
    let wanted = numbers(version)?;
    if wanted > numbers(rows.last()?.release)? {
        return None;
    }
    let row = rows
        .iter()
        .rfind(|row| numbers(row.release) <= Some(wanted));
    row.map(|row| row.level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(release: &'static str, level: Level) -> ReleaseRow {
        ReleaseRow { release, level, format: 4, changed: "a test" }
    }

    #[test]
    fn a_pre_release_is_below_its_release_and_a_leading_v_is_ignored() {
        let sorted = [
            "latest",
            "v1.9.0",
            "1.10.0-rc.1",
            "1.10.0-rc.2",
            "1.10.0+a-b",
            "v2.0.0",
        ];
        let mut versions = sorted;
        versions.reverse();
        versions.sort_by_key(|version| ReleaseVersion::parse(version));
        assert_eq!(versions, sorted);
    }

    #[test]
    fn tags_other_than_versions_are_ignored() {
        for tag in [
            "latest",
            "1",
            "1.x",
            "sha256.1",
            "20261129123456.1",
            "1.2-rc.1",
        ] {
            assert_eq!(ReleaseVersion::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_member_skips_no_minor_version() {
        let rows = ["0.1.0", "0.8.0", "0.9.0", "0.9.1"].map(|release| row(release, 1));
        for (from, to, is_next) in [
            ("0.1.0", "0.1.7", true),
            ("0.1.7", "0.2.0", true),
            ("0.1.0", "0.3.0", false),
            ("0.9.0", "0.10.0", true),
            ("0.9.1", "1.0.0", true),
            ("0.10.3", "1.0.0-rc.1", true),
            ("0.8.0", "1.0.0", false),
            ("0.9.1", "1.1.0", false),
            ("0.9.1", "2.0.0", false),
        ] {
            let of = |version| ReleaseVersion::parse(version).expect("a version");
            let (from, to) = (of(from), of(to));
            assert_eq!(from.is_next_in(&rows, &to), is_next, "{from:?} {to:?}");
            assert_eq!(to.is_next_in(&rows, &from), is_next, "{to:?} {from:?}");
        }
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
