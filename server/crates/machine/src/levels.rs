//! The feature level: a number for the commands, limits and data formats that a release of Witan supports in addition to
//! etcd's. The leader raises the cluster's level when all members support a higher level. `pacing` defines the constants of
//! each level, and `versions` the cluster version and the level of each command.

use std::time::Duration;

use super::{
    member::{MemberId, MemberRegistry},
    record::CorruptRecord,
    versions::{Release, release},
};

/// A feature level.
pub type Level = u32;

/// The first level. A member that reports no level has this level.
pub const FIRST: Level = 1;

/// The level of this release. Tests build the next level with the feature `next-level`.
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
    /// Description of the changes to the level and the format.
    pub changed: &'static str,
}

/// All releases up to this release, in ascending order. A patch release has the level and format of its minor release, so
/// members can skip patch releases.
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

/// Returns the last release of the previous minor version, or `None` if there is no such release.
pub fn previous() -> Option<&'static ReleaseRow> {
    previous_in(RELEASES)
}

/// Implements [`previous`] for a table of releases that ends with this release.
fn previous_in(releases: &[ReleaseRow]) -> Option<&ReleaseRow> {
    let mut rows = releases.iter().rev();
    let own = rows.next().and_then(|row| release(row.release))?;
    rows.find(|row| release(row.release) != Some(own))
}

/// Returns the first release that supports a level. For a level above [`OWN`], returns this release.
pub fn first_release(level: Level) -> &'static str {
    let first = RELEASES.iter().find(|row| row.level >= level);
    first.or(RELEASES.last()).map_or("", |row| row.release)
}

/// Returns the first level above `level` whose release writes a later data format, or `None` if no such level is known.
pub fn next_format(level: Level) -> Option<Level> {
    next_format_in(RELEASES, level)
}

/// Implements [`next_format`] for a table of releases in ascending order.
fn next_format_in(releases: &[ReleaseRow], level: Level) -> Option<Level> {
    let now = releases.iter().rfind(|row| row.level <= level)?;
    let later = releases.iter().find(|row| row.format > now.format)?;
    Some(later.level)
}

/// Returns the level of a release of Witan, regardless of its patch number. Returns `None` for an unknown release and for any
/// other text.
pub fn of_release(version: &str) -> Option<Level> {
    let wanted = release(version)?;
    let row = RELEASES
        .iter()
        .find(|row| release(row.release) == Some(wanted));
    row.map(|row| row.level)
}

/// Fails if the cluster's level is above `own`, the level of a release.
pub fn check(cluster: Level, own: Level) -> Result<(), CorruptRecord> {
    if cluster > own {
        let what = format!("the cluster has feature level {cluster}, but this release has {own}");
        return Err(CorruptRecord::later(what));
    }
    Ok(())
}

/// Returns the highest level that all members support, or `None` if the level of a member is unknown or there are no members.
pub fn known_by_all(members: &[Option<Level>]) -> Option<Level> {
    // `None` is less than any level.
    members.iter().copied().min().flatten()
}

/// Returns the target of a downgrade in progress if it is a release of Witan, which has the major number 0, unlike releases of
/// etcd.
pub fn downgrade_target(known: &MemberRegistry) -> Option<Release> {
    release(&known.downgrade_target).filter(|(major, _)| *major == 0)
}

/// Returns the level to which the leader raises the cluster, or `None` to keep the current level. `members` contains the
/// members' levels, with `None` for an unknown level. `held` says whether all members have supported a higher level for long
/// enough; a new cluster does not wait. The level does not rise during a downgrade of Witan, because the earlier release does
/// not support the higher level.
pub fn decide(known: &MemberRegistry, members: &[Option<Level>], held: bool) -> Option<Level> {
    let level = known_by_all(members).filter(|level| *level > known.level())?;
    let begins = known.cluster_version.is_empty();
    let rises = (held || begins) && downgrade_target(known).is_none();
    rises.then_some(level)
}

/// Records since when all members have continuously supported a higher level. The leader raises the level only after a hold,
/// during which members can return to the previous release.
#[derive(Clone, Debug, Default)]
pub struct LevelHold(Option<Held>);

#[derive(Clone, Debug)]
struct Held {
    level: Level,
    members: Vec<MemberId>,
    since: Duration,
}

impl LevelHold {
    /// Updates the hold with the members' levels at the time `now` (see [`decide`]). Clears the hold if the level cannot rise.
    /// Restarts the hold if the members, or the highest level that all of them support, have changed.
    pub fn update(&mut self, known: &MemberRegistry, members: &[Option<Level>], now: Duration) {
        let Some(level) = decide(known, members, true) else {
            self.reset();
            return;
        };
        let members: Vec<MemberId> = known.by_id.keys().copied().collect();
        let is_same = |held: &Held| held.level == level && held.members == members;
        if !self.0.as_ref().is_some_and(is_same) {
            self.0 = Some(Held { level, members, since: now });
        }
    }

    /// Clears the hold, for example because this member does not lead.
    pub fn reset(&mut self) {
        self.0 = None;
    }

    /// Returns the time until the level may rise after a hold of `hold`. Returns `None` if the level cannot rise, or if
    /// `hold` is `None` because the level rises only by command.
    pub fn time_left(&self, hold: Option<Duration>, now: Duration) -> Option<Duration> {
        let since = self.0.as_ref()?.since;
        Some(hold?.saturating_sub(now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        member::{ClusterVersion, Member},
        record::RecordChange,
    };

    const HOLD: Option<Duration> = Some(Duration::from_secs(60));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns members 1 to `count` of a cluster at the first level.
    fn registry(count: u64) -> MemberRegistry {
        let ids = 1..=count;
        MemberRegistry {
            cluster_version: "3.7.0".into(),
            by_id: ids
                .map(|id| (MemberId(id), Member { id, ..Member::default() }))
                .collect(),
            ..MemberRegistry::default()
        }
    }

    #[test]
    fn a_level_rises_only_after_the_hold() {
        let (mut hold, known, both) = (LevelHold::default(), registry(2), [Some(2), Some(2)]);
        for (now, left) in [(100, 60), (110, 50), (159, 1), (160, 0), (200, 0)] {
            hold.update(&known, &both, seconds(now));
            let found = hold.time_left(HOLD, seconds(now));
            assert_eq!(found, Some(seconds(left)), "{now}");
        }
        let at_once = hold.time_left(Some(Duration::ZERO), seconds(200));
        assert_eq!(at_once, Some(Duration::ZERO));
        assert_eq!(
            hold.time_left(None, seconds(200)),
            None,
            "the level rises only by command"
        );
        let raised = MemberRegistry { raised_level: 2, ..registry(2) };
        hold.update(&raised, &both, seconds(201));
        assert_eq!(hold.time_left(HOLD, seconds(201)), None);
    }

    #[test]
    fn the_hold_restarts_when_the_members_or_their_levels_change() {
        let both: &[Option<Level>] = &[Some(2), Some(2)];
        let returns = MemberRegistry { downgrade_target: "0.1.0".into(), ..registry(2) };
        for (known, members) in [
            (registry(2), &[Some(2), None][..]),
            (registry(2), &[Some(2), Some(1)]),
            (registry(2), &[Some(3), Some(3)]),
            (registry(3), &[Some(2), Some(2), Some(2)]),
            (registry(1), &[Some(2)]),
            (returns, both),
        ] {
            let mut hold = LevelHold::default();
            hold.update(&registry(2), both, seconds(0));
            hold.update(&known, members, seconds(30));
            hold.update(&registry(2), both, seconds(40));
            let left = hold.time_left(HOLD, seconds(60));
            assert_eq!(left, Some(seconds(40)), "{members:?}");
        }
        let mut hold = LevelHold::default();
        hold.update(&registry(2), &[Some(2), Some(3)], seconds(0));
        hold.reset();
        assert_eq!(hold.time_left(HOLD, seconds(0)), None);
    }

    #[test]
    fn the_last_row_is_this_release() {
        let last = RELEASES.last().expect("the table is not empty");
        if cfg!(not(feature = "next-level")) {
            assert_eq!(last.release, env!("CARGO_PKG_VERSION"));
        }
        assert_eq!(last.level, OWN);
    }

    #[test]
    fn the_first_release_of_a_level_is_found() {
        assert_eq!(first_release(FIRST), "0.1.0");
        let own = RELEASES.last().map(|row| row.release);
        for level in [OWN, OWN + 1] {
            assert_eq!(Some(first_release(level)), own, "{level}");
        }
    }

    #[test]
    fn levels_and_formats_never_fall() {
        assert_eq!(RELEASES.first().map(|row| row.level), Some(FIRST));
        assert!(RELEASES.is_sorted_by_key(|row| row.level), "{RELEASES:?}");
        assert!(RELEASES.is_sorted_by_key(|row| row.format), "{RELEASES:?}");
    }

    #[test]
    fn the_next_level_with_a_later_format_is_found() {
        let row = |release, level, format| ReleaseRow { release, level, format, changed: "a test" };
        let rows = [
            row("0.1.0", 1, 4),
            row("0.2.0", 2, 4),
            row("0.3.0", 4, 5),
            row("0.4.0", 5, 7),
        ];
        let found = [0, 1, 2, 3, 4, 5, 6].map(|level| next_format_in(&rows, level));
        let expected = [None, Some(4), Some(4), Some(4), Some(5), None, None];
        assert_eq!(found, expected);
        assert_eq!(next_format(OWN), None);
    }

    #[test]
    fn a_patch_release_changes_neither_the_level_nor_the_format() {
        for (before, after) in RELEASES.iter().zip(RELEASES.iter().skip(1)) {
            let is_patch = release(before.release) == release(after.release);
            let is_same = (before.level, before.format) == (after.level, after.format);
            assert!(!is_patch || is_same, "{after:?}");
        }
    }

    #[test]
    fn the_previous_release_has_another_minor_version() {
        let row = |release| ReleaseRow { release, level: 1, format: 4, changed: "a test" };
        let rows = ["0.1.0", "0.1.1", "0.2.0", "0.2.1"].map(row);
        let previous = |count| previous_in(&rows[..count]).map(|row| row.release);
        let found = [1, 2, 3, 4].map(previous);
        assert_eq!(found, [None, None, Some("0.1.1"), Some("0.1.1")]);
    }

    #[test]
    fn the_level_never_falls_and_the_first_level_does_not_change_the_record() {
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
        for (version, level, expected) in [("", 3, 3), ("3.7.0", 2, 3), ("3.6.0", 0, 3), ("", 4, 4)]
        {
            let decided = ClusterVersion { version: version.into(), level };
            assert_eq!(members.decide_version(&decided), !version.is_empty());
            assert_eq!(members.level(), expected, "{decided:?}");
        }
        assert_eq!(members.cluster_version, "3.6.0");
        let mut loaded = MemberRegistry::default();
        for change in record(&members) {
            let RecordChange::Put { value, .. } = change else {
                panic!("the record was deleted")
            };
            loaded.load(&value).expect("a record of this release");
        }
        assert_eq!(loaded, members);
    }

    #[test]
    fn the_level_rises_if_all_members_have_supported_it_for_the_hold() {
        const BOTH: &[Option<Level>] = &[Some(2), Some(2)];
        for (version, raised_level, target, members, held, decision) in [
            ("3.7.0", 0, "", BOTH, true, Some(2)),
            ("3.7.0", 0, "", BOTH, false, None),
            ("3.7.0", 0, "", &[Some(3), Some(2)], true, Some(2)),
            ("3.7.0", 0, "", &[Some(2), Some(1)], true, None),
            ("3.7.0", 0, "", &[Some(2), None], true, None),
            ("3.7.0", 0, "", &[], true, None),
            // The level does not fall and is not proposed again.
            ("3.7.0", 2, "", BOTH, true, None),
            ("3.7.0", 3, "", BOTH, true, None),
            ("3.7.0", 2, "", &[Some(4), Some(3)], true, Some(3)),
            // The level does not rise during a downgrade of Witan, but it rises during a downgrade to a version of etcd.
            ("3.7.0", 0, "0.1.0", BOTH, true, None),
            ("3.7.0", 0, "3.6.0", BOTH, true, Some(2)),
            // A new cluster does not wait.
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
            assert_eq!(
                found, decision,
                "{version:?} {raised_level} {target:?} {members:?} {held}"
            );
        }
    }
}
