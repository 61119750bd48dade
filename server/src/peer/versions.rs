//! Which version a cluster has: decided by its leader from the versions that its members run. Pure.

use witan_replica::machine::{
    member::MemberRegistry,
    versions::{FIRST, Release, release},
};

/// What the leader is to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// The cluster's version.
    Set(Release),
    /// The downgrade is complete: all members run its target.
    EndDowngrade,
}

/// Decides by the versions that the members run, `None` for those that did not say. `waits` says that
/// members of a new cluster may still start, `ends` that it is time to look whether a downgrade is complete.
pub(super) fn decide(
    known: &MemberRegistry,
    running: &[Option<Release>],
    waits: bool,
    ends: bool,
) -> Decision {
    let all: Option<Vec<Release>> = running.iter().copied().collect();
    let lowest = all.as_ref().and_then(|all| all.iter().min().copied());
    let Some(now) = release(&known.cluster_version) else {
        return match lowest {
            Some(lowest) => Decision::Set(lowest),
            None if waits => Decision::Keep,
            // as etcd decides while its members are not all known
            None => Decision::Set(FIRST),
        };
    };
    match release(&known.downgrade_target) {
        Some(target) if ends && all.is_some_and(|all| all.iter().all(|one| *one == target)) => {
            Decision::EndDowngrade
        }
        Some(target) if now == (target.0, target.1 + 1) => Decision::Set(target),
        Some(_) => Decision::Keep,
        None => match lowest {
            Some(lowest) if lowest > now => Decision::Set(lowest),
            Some(_) | None => Decision::Keep,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(version: &str, target: &str) -> MemberRegistry {
        MemberRegistry {
            cluster_version: version.into(),
            downgrade_target: target.into(),
            ..MemberRegistry::default()
        }
    }

    const NEW: Option<Release> = Some((3, 6));
    const OLD: Option<Release> = Some((3, 5));

    #[test]
    fn a_new_cluster_has_the_lowest_version_of_its_members() {
        let new = known("", "");
        assert_eq!(decide(&new, &[NEW, NEW], true, true), Decision::Set((3, 6)));
        assert_eq!(
            decide(&new, &[NEW, OLD, NEW], false, true),
            Decision::Set((3, 5))
        );
        assert_eq!(decide(&new, &[NEW, None], true, true), Decision::Keep);
        assert_eq!(
            decide(&new, &[NEW, None], false, true),
            Decision::Set(FIRST)
        );
    }

    #[test]
    fn the_version_rises_when_all_members_run_a_later_one() {
        let old = known("3.5.0", "");
        assert_eq!(
            decide(&old, &[NEW, NEW], false, true),
            Decision::Set((3, 6))
        );
        assert_eq!(decide(&old, &[NEW, OLD], false, true), Decision::Keep);
        assert_eq!(decide(&old, &[NEW, None], false, true), Decision::Keep);
        // it does not fall without a downgrade
        assert_eq!(
            decide(&known("3.6.0", ""), &[OLD], false, true),
            Decision::Keep
        );
    }

    #[test]
    fn a_downgrade_lowers_the_version_first_and_ends_when_all_members_run_it() {
        let begun = known("3.6.0", "3.5.0");
        assert_eq!(
            decide(&begun, &[NEW, None], false, true),
            Decision::Set((3, 5))
        );
        let lowered = known("3.5.0", "3.5.0");
        for running in [[NEW, NEW], [NEW, OLD], [OLD, None]] {
            assert_eq!(decide(&lowered, &running, false, true), Decision::Keep);
        }
        assert_eq!(
            decide(&lowered, &[OLD, OLD], false, true),
            Decision::EndDowngrade
        );
        assert_eq!(
            decide(&begun, &[OLD, OLD], false, true),
            Decision::EndDowngrade
        );
    }

    #[test]
    fn a_downgrade_does_not_end_unless_it_is_time_to_look() {
        let begun = known("3.6.0", "3.5.0");
        assert_eq!(
            decide(&begun, &[OLD, OLD], false, false),
            Decision::Set((3, 5))
        );
        let lowered = known("3.5.0", "3.5.0");
        assert_eq!(decide(&lowered, &[OLD, OLD], false, false), Decision::Keep);
    }
}
