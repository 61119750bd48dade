//! The feature level: a number for what a release of Witan knows beyond etcd's version. A later level has commands, fields or
//! numbers that an earlier release does not know. `pacing` has the numbers. `versions` has etcd's version, which all releases
//! share.

/// A feature level.
pub type Level = u32;

/// The first level. A member that reports no level has this one.
pub const FIRST: Level = 1;

/// The level of this release. Tests build the next one with the feature `next-level`.
pub const OWN: Level = if cfg!(feature = "next-level") { 2 } else { 1 };

/// The level of every cluster. No command raises it yet, so all members of a cluster know it.
pub const CLUSTER: Level = FIRST;

/// A release of Witan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// Version of the release.
    pub release: &'static str,
    /// Feature level of the release.
    pub level: Level,
    /// Version of the data format that the release writes.
    pub format: u32,
    /// What the level and the format changed.
    pub changed: &'static str,
}

/// All releases, in order. The last one is this release.
pub const RELEASES: &[ReleaseRow] = &[
    ReleaseRow {
        release: "0.1.0",
        level: FIRST,
        format: 4,
        changed: "the first release",
    },
    #[cfg(feature = "next-level")]
    ReleaseRow {
        release: "0.2.0-test",
        level: 2,
        format: 5,
        changed: "tests only",
    },
];

/// Returns the release before this one, or `None` for the first release.
pub fn previous() -> Option<&'static ReleaseRow> {
    RELEASES.iter().nth_back(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_is_this_release() {
        let last = RELEASES.last().expect("there is a row");
        if cfg!(not(feature = "next-level")) {
            assert_eq!(last.release, env!("CARGO_PKG_VERSION"));
        }
        assert_eq!(last.level, OWN);
    }

    #[test]
    fn levels_and_formats_never_fall() {
        assert_eq!(RELEASES.first().map(|row| row.level), Some(FIRST));
        assert!(RELEASES.is_sorted_by_key(|row| row.level), "{RELEASES:?}");
        assert!(RELEASES.is_sorted_by_key(|row| row.format), "{RELEASES:?}");
    }
}
