//! Disks that are copied, in some seeds only: a member starts from a copy of its own disk that was just taken, as when it
//! moves, or from an older one, so that it has forgotten what it acknowledged and whom it voted for. What it has sent
//! before may arrive later. The shell knows a copy, as `witan_storage` does by the inode.
//!
//! In some of these seeds nobody recognizes an older copy. Acknowledged writes may be lost there, and only one rule is
//! left (`invariants/no_silent_fork`).
//!
//! So few voters have older disks at once that each acknowledged write is on another disk. One that a leader refuses,
//! because it has lost what it acknowledged, gets back the disk that it had.

use std::collections::BTreeSet;

use witan_replica::replica::Halt;

use crate::{
    invariants::Fact,
    member::Existence,
    world::{Event, Phase, World},
};

/// Of a hundred copies, so many are only taken, for later.
const TAKEN_PERCENT: u64 = 40;

/// From there up to here, an older one is used.
const OLDER_END_PERCENT: u64 = 80;

/// From there up to here, a member moves. In the rest of them all members do.
const MOVED_END_PERCENT: u64 = 95;

impl World {
    /// Takes or uses a copy of a disk.
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

    /// Takes a copy of a disk. If nobody will recognize it, one of the others gets nothing from then on.
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

    /// Nothing reaches a member, or comes from it, until links open.
    fn isolate(&mut self, place: usize) {
        let count = self.members.len() as u64;
        self.net.cut = BTreeSet::new();
        self.net
            .split(count, &BTreeSet::from([place as u64 + 1]), false);
        self.trace
            .line(self.now, || format!("m{} is cut off", place + 1));
    }

    /// A member starts from the copy that was taken last, if so few others do that each acknowledged write is on the disk
    /// of another voter.
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

    fn move_disk(&mut self, place: usize) {
        self.crash(place);
        self.counts.moved_disks += 1;
        self.disks[place].mark_as_copy();
        self.trace
            .line(self.now, || format!("m{} moves to another disk", place + 1));
    }

    /// Whether a member ends because of a copy: a leader knows what its older disk has lost, and it gets back the disk
    /// that it had; or the history has forked, and it never comes back.
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

    /// A member that votes again marks its disk as its own.
    pub(crate) fn settle_copy(&mut self, place: usize, is_copied: bool) {
        if !is_copied && self.disks[place].is_copied() {
            self.counts.settled_copies += 1;
            self.disks[place].mark_as_own();
            self.trace
                .line(self.now, || format!("m{} is up to date", place + 1));
        }
    }
}
