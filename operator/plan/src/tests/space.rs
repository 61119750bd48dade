//! The NOSPACE alarm in a cluster whose spec requests compactions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use witan_crd::{CompactOnNoSpace, CompactionStatus, SelfHealing};

use super::{cases::cluster, world::World};
use crate::{
    AGAIN_SECONDS,
    model::{MemberSeen, Observed, Step},
};

const QUOTA: u64 = 1000;

/// Returns a cluster of three with a full quota at revision 500, whose spec keeps 100 revisions, and its observation.
fn full() -> (World, Observed) {
    let mut world = cluster(3);
    let compact_on_no_space = Some(CompactOnNoSpace { keep_revisions: 100 });
    world.spec.self_healing = Some(SelfHealing { compact_on_no_space, ..SelfHealing::default() });
    let mut seen = world.observe();
    of_members(&mut seen, |member| {
        (member.revision, member.db_size) = (500, QUOTA);
        (member.quota, member.no_space) = (Some(QUOTA), true);
    });
    (world, seen)
}

fn of_members(seen: &mut Observed, change: impl Fn(&mut MemberSeen)) {
    let list = seen.membership.as_mut().expect("members");
    list.members.iter_mut().for_each(change);
}

/// Records a compaction that ran `seconds` ago. `disarmed` says whether the alarm was disarmed after it.
fn compacted(world: &mut World, seconds: i64, disarmed: bool) {
    let at = jiff::Timestamp::from_second(world.now - seconds).expect("a time");
    world.status.compaction =
        Some(CompactionStatus { compacted_at: Time(at), revision: 400, disarmed });
}

#[test]
fn keys_are_compacted_only_if_the_spec_requests_it() {
    let (mut world, seen) = full();
    assert_eq!(world.plan(&seen), Step::Compact(400));
    world.spec.self_healing = None;
    assert_eq!(world.plan(&seen), Step::Done);
}

#[test]
fn the_alarm_is_disarmed_once_space_is_free() {
    let (mut world, mut seen) = full();
    compacted(&mut world, 1, false);
    assert_eq!(
        world.plan(&seen),
        Step::Done,
        "the compaction freed no space"
    );
    of_members(&mut seen, |member| member.db_size = QUOTA - 1);
    assert_eq!(world.plan(&seen), Step::DisarmNoSpace);
    compacted(&mut world, 1, true);
    assert_eq!(
        world.plan(&seen),
        Step::Done,
        "the alarm was disarmed before"
    );
}

#[test]
fn compactions_do_not_follow_each_other_immediately() {
    let (mut world, seen) = full();
    for disarmed in [false, true] {
        compacted(&mut world, AGAIN_SECONDS - 1, disarmed);
        assert_eq!(world.plan(&seen), Step::Done);
        compacted(&mut world, AGAIN_SECONDS, disarmed);
        assert_eq!(world.plan(&seen), Step::Compact(400));
    }
}

/// The disk or the v2 tree is full, so old revisions are not the cause.
#[test]
fn nothing_is_compacted_if_keys_do_not_fill_the_quota() {
    for (quota, db_size) in [(Some(QUOTA), QUOTA / 2 - 1), (None, QUOTA)] {
        let (world, mut seen) = full();
        of_members(&mut seen, |member| {
            (member.quota, member.db_size) = (quota, db_size);
        });
        assert_eq!(world.plan(&seen), Step::Done);
    }
    let (world, mut seen) = full();
    of_members(&mut seen, |member| member.revision = 100);
    assert_eq!(
        world.plan(&seen),
        Step::Done,
        "there are no revisions to compact"
    );
}
