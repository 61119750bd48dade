//! Copied disks, in some seeds only. A member starts from a fresh copy of its own disk, as after a move, or from an older copy,
//! which lacks later acknowledgments and votes. The shell recognizes a copy, as `witan_storage` does by the inode.
//!
//! In some of these seeds, older copies are not recognized. Acknowledged writes may then be lost, and only one rule still
//! applies (`invariants/no_silent_fork`).
//!
//! The number of older disks is limited so that each acknowledged write is also on another voter's disk. A leader may refuse a
//! member that lost acknowledged entries. The member then gets its former disk back.

use std::collections::BTreeSet;

use witan_replica::replica::Halt;

use crate::{
    invariants::Fact,
    member::Existence,
    world::{Event, Phase, World},
};

/// Percentage of steps that only take a copy for later use.
const TAKEN_PERCENT: u64 = 40;

/// Steps whose draw is from `TAKEN_PERCENT` up to this number start a member from an older copy.
const OLDER_END_PERCENT: u64 = 80;

/// Steps whose draw is from `OLDER_END_PERCENT` up to this number move one member. Higher draws move all members.
const MOVED_END_PERCENT: u64 = 95;

impl World {
    /// Takes a copy of a disk or uses one.
    pub(crate) fn copy_disk(&mut self) {
        if self.phase != Phase::Chaos || self.members.iter().any(|member| member.left_behind) {
            return;
        }
        let places: Vec<usize> = (0..self.members.len())
            .filter(|place| self.members[*place].existence == Existence::Present)
            .filter(|place| self.disks[*place].can_be_copied())
            .collect();
        if places.is_empty() {
            return;
        }
        let place = *self.mishaps.pick(&places);
        match self.mishaps.range(0, 99) {
            0..TAKEN_PERCENT => self.take_copy(place),
            TAKEN_PERCENT..OLDER_END_PERCENT => self.use_older_copy(place),
            OLDER_END_PERCENT..MOVED_END_PERCENT => self.move_disk(place),
            _ => places.into_iter().for_each(|place| self.move_disk(place)),
        }
    }

    /// Takes a copy of a disk. If copies are not recognized in this run, cuts another member off.
    fn take_copy(&mut self, place: usize) {
        self.disks[place].keep_copy();
        if self.scenario.has_unrecognized_copies() {
            let leader = self.leader().map_or(place, |id| (id - 1) as usize);
            let others = (0..self.members.len()).filter(|other| ![place, leader].contains(other));
            let others: Vec<usize> = others.collect();
            if !others.is_empty() {
                let behind = *self.mishaps.pick(&others);
                self.isolate(behind);
            }
        }
    }

    /// Cuts a member off in both directions until links are restored.
    fn isolate(&mut self, place: usize) {
        let count = self.members.len() as u64;
        self.net.cut = BTreeSet::new();
        self.net
            .split(count, &BTreeSet::from([place as u64 + 1]), false);
        self.trace
            .line(self.now, || format!("m{} is cut off", place + 1));
    }

    /// Starts a member from its last copy, unless too many other members run on older copies. Each acknowledged write must be
    /// on the disk of another voter.
    fn use_older_copy(&mut self, place: usize) {
        let voters = self.current(|person| !person.learner).len();
        let older = self.disks.iter().filter(|disk| disk.is_older()).count();
        if self.disks[place].is_older() || older + 1 > voters.saturating_sub(1) / 2 {
            return;
        }
        let recognized = !self.scenario.has_unrecognized_copies();
        let leader = self.leader().filter(|_| !recognized);
        if let Some(leader) = leader.filter(|leader| *leader != place as u64 + 1) {
            self.isolate((leader - 1) as usize);
        }
        self.crash(place);
        if self.disks[place].use_copy(recognized) {
            self.may_have_forked |= !recognized;
            self.counts.older_disks += 1;
            self.trace.line(self.now, || {
                format!("m{} gets an older copy of its disk", place + 1)
            });
            if recognized {
                self.judge(&Fact::OlderDisk { member: place as u64 + 1 });
            }
        }
    }

    /// Makes a member start from a fresh copy of its disk.
    fn move_disk(&mut self, place: usize) {
        self.crash(place);
        self.counts.moved_disks += 1;
        self.disks[place].mark_as_copy();
        self.trace
            .line(self.now, || format!("m{} moves to another disk", place + 1));
    }

    /// Returns whether a member stops because of a copy. If a leader has entries that the older disk lacks, the member gets its
    /// former disk back. If the history has forked, the member never returns.
    pub(crate) fn ends_by_copy(&mut self, place: usize, halt: Halt) -> bool {
        if matches!(halt, Halt::Forked { .. }) && self.may_have_forked {
            self.counts.forked += 1;
            self.members[place].existence = Existence::Gone;
            self.end_process(place);
            return true;
        }
        let refused = matches!(halt, Halt::LogLost { .. }) && self.disks[place].take_back();
        if refused {
            self.counts.refused_disks += 1;
            self.end_process(place);
            self.after(1, Event::Start { place });
        }
        refused
    }

    /// Marks the disk of a member that may vote again as the member's own.
    pub(crate) fn settle_copy(&mut self, place: usize, is_copied: bool) {
        if !is_copied && self.disks[place].is_copied() {
            self.counts.settled_copies += 1;
            self.disks[place].mark_as_own();
            self.trace
                .line(self.now, || format!("m{} is up to date", place + 1));
        }
    }
}
