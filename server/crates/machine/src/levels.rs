//! The feature level: a number for what a release of Witan knows beyond etcd's version. A later level has commands, fields or
//! numbers that an earlier release does not know. The leader raises the level of the cluster when all members know the next one.
//! `pacing` has the numbers. `versions` has etcd's version, which all releases share, and the level of each command.

use super::{
    member::MemberRegistry,
    versions::{Release, release},
};

/// A feature level.
pub type Level = u32;

/// The first level. A member that reports no level has this one.
pub const FIRST: Level = 1;

/// The level of this release. Tests build the next one with the feature `next-level`.
pub const OWN: Level = if cfg!(feature = "next-level") { 2 } else { 1 };

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

/// Returns the highest level that all members know, or `None` if the level of some member is unknown.
pub fn known_by_all(members: &[Option<Level>]) -> Option<Level> {
    // `None` is less than any level.
    members.iter().copied().min().flatten()
}

/// Returns the release of Witan to which the members return, if any. Such a release has the major number 0, unlike etcd's.
pub fn downgrade_target(known: &MemberRegistry) -> Option<Release> {
    release(&known.downgrade_target).filter(|(major, _)| *major == 0)
}

/// Decides whether the leader raises the cluster's level, and returns the new level. `members` has the members' levels, `None`
/// for unknown ones. `held` is whether all of them have known a higher level for long enough. A new cluster does not wait. A
/// member that returns to an earlier release could not start after the raise, so a downgrade of Witan prevents it.
pub fn decide(known: &MemberRegistry, members: &[Option<Level>], held: bool) -> Option<Level> {
    let level = known_by_all(members).filter(|level| *level > known.level())?;
    let begins = known.cluster_version.is_empty();
    let rises = (held || begins) && downgrade_target(known).is_none();
    rises.then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{member::ClusterVersion, record::RecordChange};

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

    #[test]
    fn the_level_never_falls_and_the_first_one_leaves_the_record_as_it_was() {
        let record = |members: &MemberRegistry| {
            let mut records = Vec::new();
            members.changes(None, &mut |change| records.push(change));
            records
        };
        let mut members = MemberRegistry::default();
        let unraised = record(&members);
        assert!(members.decide_version(&ClusterVersion::of("3.7.0")));
        members.cluster_version.clear();
        assert_eq!((members.level(), record(&members)), (FIRST, unraised));
        for (version, level, expected) in [
            ("", 3, 3),
            ("3.7.0", 2, 3),
            ("3.6.0", 0, 3),
            ("", 4, 4),
        ] {
            let decided = ClusterVersion { version: version.into(), level };
            assert_eq!(members.decide_version(&decided), !version.is_empty());
            assert_eq!(members.level(), expected, "{decided:?}");
        }
        assert_eq!(members.cluster_version, "3.6.0");
        let mut loaded = MemberRegistry::default();
        for change in record(&members) {
            let RecordChange::Put { key, value } = change else { panic!("it is deleted") };
            loaded.load(&key, &value).expect("a record of this release");
        }
        assert_eq!(loaded, members);
    }

    #[test]
    fn the_level_rises_when_all_members_have_known_it_for_long_enough() {
        const BOTH: &[Option<Level>] = &[Some(2), Some(2)];
        for (version, raised_level, target, members, held, decision) in [
            ("3.7.0", 0, "", BOTH, true, Some(2)),
            ("3.7.0", 0, "", BOTH, false, None),
            ("3.7.0", 0, "", &[Some(3), Some(2)], true, Some(2)),
            ("3.7.0", 0, "", &[Some(2), Some(1)], true, None),
            ("3.7.0", 0, "", &[Some(2), None], true, None),
            ("3.7.0", 0, "", &[], true, None),
            // It does not fall, and is not proposed again.
            ("3.7.0", 2, "", BOTH, true, None),
            ("3.7.0", 3, "", BOTH, true, None),
            ("3.7.0", 2, "", &[Some(4), Some(3)], true, Some(3)),
            // Only a downgrade of Witan holds it.
            ("3.7.0", 0, "0.1.0", BOTH, true, None),
            ("3.7.0", 0, "3.6.0", BOTH, true, Some(2)),
            // A new cluster.
            ("", 0, "", BOTH, false, Some(2)),
            ("", 0, "", &[Some(2), None], false, None),
        ] {
            let known = MemberRegistry {
                cluster_version: version.into(),
                downgrade_target: target.into(),
                raised_level,
                ..MemberRegistry::default()
            };
            let found = decide(&known, members, held);
            assert_eq!(found, decision, "{version:?} {raised_level} {target:?} {members:?} {held}");
        }
    }
}
