//! The simulator can fail: each known bug, switched on, is found by an invariant within a stated
//! number of seeds, and the same seeds are clean without it.
//!
//! Some bugs take many seeds from 0 on (`--fault NAME` says how many): their hunt begins shortly before the
//! first seed that finds them, so that it is quick in a build without optimization.

use witan_sim::{
    scenario::Bug,
    sweep::{failure, hunt, sweep},
};

/// Seeds within which a bug must be found.
const SEEDS: u64 = 30;

fn is_found(name: &str, start: u64) {
    let bug = Bug::named(name).expect("the command line knows the bug");
    let (seeds, scenario, violation) = hunt(start, SEEDS, None, bug)
        .unwrap_or_else(|| panic!("{name} not found in {SEEDS} seeds from {start} on"));
    let clean = sweep(start, seeds, None, Bug::None, &mut |_| {});
    if let Some((other, also)) = clean.violations.first() {
        let (with, without) = (failure(&scenario, &violation), failure(other, also));
        panic!("{with}\nwithout {name}: {without}");
    }
}

#[test]
fn ack_before_persist() {
    is_found("ack-before-persist", 0);
}

#[test]
fn stale_read() {
    is_found("stale-read", 0);
}

#[test]
fn vote_not_persisted() {
    is_found("vote-not-persisted", 0);
}

#[test]
fn lost_read_retry() {
    is_found("lost-read-retry", 0);
}

#[test]
fn cut_too_high() {
    is_found("cut-too-high", 0);
}

#[test]
fn position_ahead() {
    is_found("position-ahead", 0);
}

#[test]
fn position_behind() {
    is_found("position-behind", 0);
}

#[test]
fn renewal_lost() {
    is_found("renewal-lost", 0);
}

#[test]
fn renewal_unrecorded() {
    is_found("renewal-unrecorded", 0);
}

#[test]
fn old_leader_expires() {
    is_found("old-leader-expires", 12);
}

#[test]
fn proposed_twice() {
    is_found("proposed-twice", 0);
}

#[test]
fn taken_twice() {
    is_found("taken-twice", 0);
}

#[test]
fn removed_counts() {
    is_found("removed-counts", 0);
}

#[test]
fn change_uncommitted() {
    is_found("change-uncommitted", 0);
}

#[test]
fn snapshot_members() {
    is_found("snapshot-members", 0);
}

#[test]
fn snapshot_users() {
    is_found("snapshot-users", 0);
}

#[test]
fn stale_caller() {
    is_found("stale-caller", 0);
}

#[test]
fn command_too_early() {
    is_found("command-too-early", 20);
}

#[test]
fn version_unapplied() {
    is_found("version-unapplied", 3180);
}

#[test]
fn update_promotes() {
    is_found("update-promotes", 0);
}

#[test]
fn change_not_synced() {
    is_found("change-not-synced", 50);
}

#[test]
fn leader_leaves_one() {
    is_found("leader-leaves-one", 28);
}

#[test]
fn leader_ignored() {
    is_found("leader-ignored", 40);
}

#[test]
fn lease_state_behind() {
    is_found("lease-state-behind", 120);
}

#[test]
fn note_on_its_way() {
    is_found("note-on-its-way", 0);
}

#[test]
fn rebuild_asked_once() {
    is_found("rebuild-asked-once", 110);
}

#[test]
fn watch_compacted() {
    is_found("watch-compacted", 60);
}

#[test]
fn forced_without_tail() {
    is_found("forced-without-tail", 0);
}

#[test]
fn forced_up_to_change() {
    is_found("forced-up-to-change", 0);
}

#[test]
fn forced_with_removal() {
    is_found("forced-with-removal", 560);
}

#[test]
fn checkpoint_not_atomic() {
    is_found("checkpoint-not-atomic", 0);
}

#[test]
fn cut_above_durable() {
    is_found("cut-above-durable", 0);
}

#[test]
fn sync_lies() {
    is_found("sync-lies", 0);
}

#[test]
fn sync_error_ignored() {
    is_found("sync-error-ignored", 0);
}
