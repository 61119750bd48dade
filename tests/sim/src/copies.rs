//! Copied disks, in some seeds only. A member starts from a fresh copy of its own disk, as after a move, or from an older copy.
//! An older copy lacks later acknowledgments and votes. The shell recognizes a copy, as `witan_storage` does by the inode.
//!
//! In some of these seeds, older copies are not recognized. Acknowledged writes may then be lost, and only one rule still
//! applies (`invariants/no_silent_fork`).
//!
//! In other seeds, all copies are up to date, and the membership changes.
//!
//! In other seeds, members start from empty disks instead of copies. The shell registers each first disk in the log and refuses
//! the streams of a member whose disk is not the registered one.
//!
//! The number of older disks is limited so that each acknowledged write is also on another voter's disk. A leader may refuse a
//! member that lost acknowledged entries. The member then gets its former disk back.

use std::collections::BTreeSet;

use witan_machine::member::MemberId;
use witan_replica::replica::{Halt, PeerEvent, Replica};

use crate::{
    adopted,
    invariants::Fact,
    member::Existence,
    world::{Event, Phase, World},
};

/// Percentage of steps that only take a copy for later use.
const TAKEN_PERCENT: u64 = 40;

/// Steps whose draw is at least `TAKEN_PERCENT` and below this number start a member from an older copy.
const OLDER_END_PERCENT: u64 = 80;

/// Steps whose draw is at least `OLDER_END_PERCENT` and below this number move one member. Higher draws move all members.
const MOVED_END_PERCENT: u64 = 95;

impl World {
    /// Takes a copy of a disk, starts one or all members from copies, or empties a disk. Does nothing after the faults have
    /// stopped.
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
        if self.scenario.has_emptied_disks() {
            return self.empty_disk(place);
        }
        let moves_only = self.scenario.has_moves_only();
        if moves_only && !self.has_settled_membership() {
            return;
        }
        let lowest = match moves_only {
            true => OLDER_END_PERCENT,
            false => 0,
        };
        match self.mishaps.range(lowest, 99) {
            0..TAKEN_PERCENT => self.take_copy(place),
            TAKEN_PERCENT..OLDER_END_PERCENT => self.use_older_copy(place),
            OLDER_END_PERCENT..MOVED_END_PERCENT => self.move_disk(place),
            _ => places.into_iter().for_each(|place| self.move_disk(place)),
        }
    }

    /// Takes a copy of a disk. If copies are not recognized in this run, cuts off another member that is not the leader.
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

    /// Crashes a member and replaces its disk with its last copy, if it has one. Cuts off the leader if copies are not
    /// recognized in this run. Does nothing if too many members run on older disks, because each acknowledged write must be on
    /// the disk of another voter.
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

    /// Starts an initial member from an empty disk, unless too many members run on older disks. Messages of its former process
    /// are lost. Every other voter must have the member's registration on disk, because no other rule excludes the member.
    fn empty_disk(&mut self, place: usize) {
        let id = place as u64 + 1;
        let voters = self.current(|person| !person.learner);
        let older = self.disks.iter().filter(|disk| disk.is_older()).count();
        let mut others = voters.iter().filter(|voter| **voter != id);
        let is_registered = others.all(|voter| self.disks[*voter as usize - 1].registers(id));
        let is_first = self.genesis.position.voters.contains(&id);
        if !(is_first && is_registered)
            || self.disks[place].is_older()
            || older + 1 > voters.len().saturating_sub(1) / 2
        {
            return;
        }
        self.crash(place);
        self.queue
            .retain(|_, event| !matches!(event, Event::Deliver(packet) if packet.from == id));
        let state = adopted::first_state(&self.scenario, &self.genesis, place as u64);
        self.disks[place].empty(&state);
        self.counts.emptied_disks += 1;
        self.trace
            .line(self.now, || format!("m{id} gets an empty disk"));
        self.judge(&Fact::OlderDisk { member: id });
    }

    /// Returns whether a stream from `from` to `to` is refused, because one of these members has an empty disk and the other
    /// knows its registration. If so, tells the member with the empty disk.
    pub(crate) fn refuses_stream(
        &mut self,
        from: (usize, &Replica),
        to: (usize, &Replica),
    ) -> bool {
        for ((emptied, _), (place, replica)) in [(from, to), (to, from)] {
            let id = MemberId(emptied as u64 + 1);
            if self.disks[emptied].is_emptied()
                && let Some(member) = replica.members_in_log().by_id.get(&id)
                && member.store_id != 0
            {
                let (about, event) = (place as u64 + 1, PeerEvent::ReplacedHere);
                self.schedule_peer_event(emptied, about, event, 1);
                return true;
            }
        }
        false
    }

    /// Makes a member start from a fresh copy of its disk.
    fn move_disk(&mut self, place: usize) {
        self.crash(place);
        self.counts.moved_disks += 1;
        self.disks[place].mark_as_copy();
        self.trace
            .line(self.now, || format!("m{} moves to another disk", place + 1));
    }

    /// Returns whether a member exits because of a copy. If a leader has entries that the older disk lacks, the member gets its
    /// former disk back. If the history has forked, or the disk was emptied, the member never returns.
    pub(crate) fn ends_by_copy(&mut self, place: usize, halt: Halt) -> bool {
        if matches!(halt, Halt::Forked { .. }) && self.may_have_forked {
            self.counts.forked += 1;
            self.members[place].existence = Existence::Gone;
            self.end_process(place);
            return true;
        }
        if self.disks[place].is_emptied() && matches!(halt, Halt::LogLost { .. } | Halt::Replaced) {
            self.counts.refused_disks += 1;
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

    /// Marks a copied disk as the member's own, once the core reports with `is_copied` that the member may vote again.
    pub(crate) fn settle_copy(&mut self, place: usize, is_copied: bool) {
        let disk = &mut self.disks[place];
        if !is_copied && disk.is_copied() {
            self.counts.settled_copies += 1;
            disk.mark_as_own();
            self.trace
                .line(self.now, || format!("m{} is up to date", place + 1));
        }
    }
}
