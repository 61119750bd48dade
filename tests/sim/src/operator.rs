//! The operator changes the membership: it adds learners and voters, promotes and removes members, replaces a member that lost
//! its disk, and transfers leadership. It makes one change at a time, in a single step.
//!
//! The operator obeys the checks of the dialects. A disk is lost only while all other voters have their disks and no change is
//! pending or uncertain. The member that lost its disk is removed before any other change.

use witan_machine::{
    command::{ChangeMembers, Command, UpdatePeerUrls},
    member::{Member as Person, MemberId, MemberRegistry},
    view::View,
};
use witan_replica::replica::Role;

use crate::{
    disk::Disk,
    inbox::Request,
    member::{Existence, Member},
    oracle::{Ask, End},
    world::{Event, Phase, World},
};

/// Largest number of members of a cluster.
const MEMBERS_MAX: usize = 7;

/// Largest number of learners of a cluster.
const LEARNERS_MAX: u32 = 2;

/// Number of units after which the operator stops waiting for an answer.
const PATIENCE: u64 = 400;

#[derive(Debug, Default)]
pub(crate) struct Operator {
    /// The operation number and the request time of the pending change.
    change: Option<(u64, u64)>,
    /// Changes that the operator no longer waits for, but that their member may still propose.
    given_up: Vec<u64>,
    /// The highest term when a change ended without an answer. The change may still be applied until a later term's entry is
    /// executed.
    unknown: Option<u64>,
    /// The member whose disk was lost, until it is removed.
    lost: Option<u64>,
}

impl World {
    /// Makes the operator act and schedules its next action.
    pub(crate) fn operate(&mut self) {
        let pause = self.hand.range(1, self.climate.operator_pause);
        self.after(pause, Event::Operate);
        if self.phase != Phase::Chaos || self.disaster.survivor.is_some() || self.awaits_change() {
            return;
        }
        if let Some(lost) = self.operator.lost {
            if self.truth.registry.by_id.contains_key(&MemberId(lost)) {
                return self.change(ChangeMembers { remove: lost, ..ChangeMembers::default() });
            }
            self.operator.lost = None;
        }
        if self.roll() {
            return;
        }
        let learners: Vec<u64> = self.current(|person| person.learner);
        let voters: Vec<u64> = self.current(|person| !person.learner);
        let is_copied = |id: &u64| self.disks[(*id - 1) as usize].is_copied();
        if self.scenario.has_moves_only() && voters.iter().any(is_copied) {
            // If a leader ended after its own removal, the copies would wait for it.
            return;
        }
        match self.hand.range(0, 99) {
            0..=24 => self.add(true),
            25..=31 => self.add(false),
            32..=49 if !learners.is_empty() => {
                let promote = *self.hand.pick(&learners);
                self.change(ChangeMembers { promote, ..ChangeMembers::default() });
            }
            50..=53 if !learners.is_empty() => {
                let remove = *self.hand.pick(&learners);
                self.change(ChangeMembers { remove, ..ChangeMembers::default() });
            }
            54..=66 => self.remove_voter(&voters),
            67..=76 => self.lose_disk(&voters),
            77..=89 => self.transfer(&voters),
            90..=93 => self.move_member(),
            _ => {}
        }
    }

    /// Returns whether a change is pending. A change without an answer after `PATIENCE`, or one that ended without an answer,
    /// becomes uncertain.
    fn awaits_change(&mut self) -> bool {
        let Some((op, since)) = self.operator.change else {
            return false;
        };
        let end = self.oracle.op(op).map(|op| op.end.clone());
        match end {
            Some(End::Pending) if self.now < since + PATIENCE => return true,
            Some(End::Pending | End::Crashed) => self.operator.given_up.push(op),
            Some(
                End::Refused(_)
                | End::NoSpace
                | End::Removed
                | End::Applied { .. }
                | End::Answered { .. },
            )
            | None => {}
        }
        self.operator.change = None;
        false
    }

    /// Returns whether no uncertain change can still be applied.
    fn is_certain(&mut self) -> bool {
        let oracle = &self.oracle;
        let end = |op: &u64| oracle.op(*op).map(|op| &op.end);
        let given_up = std::mem::take(&mut self.operator.given_up);
        let lost = given_up.iter().any(|op| end(op) == Some(&End::Crashed));
        let pending = given_up
            .into_iter()
            .filter(|op| end(op) == Some(&End::Pending));
        self.operator.given_up = pending.collect();
        if lost {
            let terms = self.members.iter().map(|member| member.status.term);
            self.operator.unknown = terms.max();
        }
        let term = self.truth.term;
        self.operator.given_up.is_empty()
            && self.operator.unknown.is_none_or(|unknown| term > unknown)
    }

    /// Returns the ids of the cluster's members for which `is` is true.
    pub(crate) fn current(&self, is: impl Fn(&Person) -> bool) -> Vec<u64> {
        let people = self.truth.registry.by_id.values();
        people.filter(|person| is(person)).map(|p| p.id).collect()
    }

    /// Requests a membership change.
    fn change(&mut self, change: ChangeMembers) {
        let command =
            Command::Members(ChangeMembers { learners_max: LEARNERS_MAX, voters: true, ..change });
        self.ask_operator(command);
    }

    /// Sends a command of the operator to a random running member.
    pub(crate) fn ask_operator(&mut self, command: Command) {
        let running: Vec<usize> = self
            .current(|_| true)
            .iter()
            .map(|id| (*id - 1) as usize)
            .filter(|place| self.members[*place].replica.is_some())
            .collect();
        if running.is_empty() {
            return;
        }
        let place = *self.hand.pick(&running);
        let op = self.ask(place, Ask::Write(command), None);
        self.operator.change = Some((op, self.now));
    }

    /// Requests the addition of a new member, unless the cluster is full or its membership is stable.
    fn add(&mut self, learner: bool) {
        if self.truth.registry.by_id.len() >= MEMBERS_MAX || self.climate.stable_membership {
            return;
        }
        let id = self.members.len() as u64 + 1;
        let member = Member::new(Existence::Awaited, &mut self.chance);
        self.members.push(member);
        self.disks.push(Disk::new(&View::default()));
        self.change(ChangeMembers {
            add: Some(Person { learner, ..member_entry(id, 0) }),
            ..ChangeMembers::default()
        });
    }

    /// Removes a voter, often the leader.
    fn remove_voter(&mut self, voters: &[u64]) {
        if voters.len() < 2 || self.climate.stable_membership {
            return;
        }
        let leader = self.leader().filter(|id| voters.contains(id));
        let remove = match leader.filter(|_| self.hand.chance(40)) {
            Some(leader) => leader,
            None => *self.hand.pick(voters),
        };
        self.change(ChangeMembers { remove, ..ChangeMembers::default() });
    }

    /// Crashes a random voter and flips a bit of its disk. If the member cannot start from the disk, it must be removed, and a
    /// new member may be added. Does nothing if a lost disk could break the quorum.
    fn lose_disk(&mut self, voters: &[u64]) {
        // Together with copied disks, a lost disk could break the quorum.
        let is_stable = self.climate.stable_membership || self.scenario.has_copies();
        if voters.len() < 3 || is_stable || !self.is_certain() {
            return;
        }
        let lost = *self.hand.pick(voters);
        let place = (lost - 1) as usize;
        if self.members[place].existence != Existence::Present
            || !self.is_change_known_without(lost, voters)
        {
            return;
        }
        self.crash(place);
        let refused = self.disks[place].flip_bit(&mut self.chance);
        if refused == Ok(false) {
            self.counts.survived_flips += 1;
            self.trace
                .line(self.now, || format!("m{lost} survives a flipped bit"));
            return;
        }
        self.trace
            .line(self.now, || format!("the disk of m{lost} is lost"));
        self.disks[place].abandon();
        self.operator.lost = Some(lost);
        self.counts.lost_disks += 1;
        self.members[place].existence = Existence::Gone;
        self.judge_files(place, refused.map(|_| ()));
    }

    /// Returns whether a quorum without the voter `lost` knows the last membership change. A leader that committed its own
    /// removal may stop before the others know of it. Until they do, they need a quorum of the previous voters.
    fn is_change_known_without(&self, lost: u64, voters: &[u64]) -> bool {
        let others = voters.iter().filter(|id| **id != lost);
        others.filter(|id| self.knows_last_change(**id)).count() > voters.len() / 2
    }

    /// Returns whether a member runs and has applied the last membership change.
    fn knows_last_change(&self, id: u64) -> bool {
        let members = |registry: &MemberRegistry| -> Vec<(u64, bool)> {
            let people = registry.by_id.values();
            people.map(|person| (person.id, person.learner)).collect()
        };
        let replica = self.members[(id - 1) as usize].replica.as_ref();
        replica.is_some_and(|replica| {
            members(&replica.view().machine.members) == members(&self.truth.registry)
        })
    }

    /// Returns whether all members know the last change and no change is pending.
    pub(crate) fn has_settled_membership(&mut self) -> bool {
        let is_settled = !self.awaits_change() && self.is_certain();
        let members = self.current(|_| true);
        is_settled && members.iter().all(|id| self.knows_last_change(*id))
    }

    /// Requests a leadership transfer from the leader to a certain voter, or to any member that the leader chooses.
    fn transfer(&mut self, voters: &[u64]) {
        let Some(leader) = self.leader() else { return };
        let to = self.hand.chance(70).then(|| *self.hand.pick(voters));
        self.request((leader - 1) as usize, Request::Transfer(to));
    }

    /// Changes the peer URLs of a member.
    fn move_member(&mut self) {
        let all = self.current(|_| true);
        let id = *self.hand.pick(&all);
        let peer_urls = member_entry(id, self.now).peer_urls;
        self.ask_operator(Command::PeerUrls(UpdatePeerUrls { id, peer_urls }));
    }

    /// Returns the running leader of the highest term, if any.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |member: &&Member| member.status.role == Role::Leader;
        let leaders = self
            .members
            .iter()
            .filter(|m| m.replica.is_some() && !self.is_outside(m.status.id.0));
        let last = leaders.filter(leads).max_by_key(|m| m.status.term);
        last.map(|member| member.status.id.0)
    }
}

/// Creates the registry's entry for a new member. `at` determines its peer URL.
pub(crate) fn member_entry(id: u64, at: u64) -> Person {
    Person {
        id,
        name: format!("m{id}"),
        peer_urls: vec![format!("http://m{id}:{}", 2380 + at)],
        ..Person::default()
    }
}
