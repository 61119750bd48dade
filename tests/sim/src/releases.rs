//! Members of two releases. The leader decides the cluster version from the releases of its members. An administrator upgrades
//! and downgrades members one by one, as etcd's documentation describes.

use std::sync::Arc;

use witan_machine::{
    alarm::AlarmCommand,
    command::{ClusterVersion, Command, Downgrade},
    member::MemberRegistry,
    versions::{Decision, Release, decide, release},
};
use witan_replica::{host::Ticket, input::Input};

use crate::{
    member::Existence,
    oracle::Ask,
    world::{Event, World},
};

/// The release without the newest command.
pub(crate) const OLD: Release = (3, 5);

/// The release with all commands.
pub(crate) const NEW: Release = (3, 6);

/// Number of units after which leaders request the releases of the members again.
const ASK_UNITS: u64 = 40;

/// Maximum number of units from the answers to the decision.
const DECIDE_UNITS: u64 = 30;

/// Percentage of the operator's actions that concern releases.
const OPERATOR_PERCENT: u64 = 50;

/// Percentage of requests that are commands of the new release.
const NEW_COMMANDS_PERCENT: u64 = 4;

impl World {
    /// Returns whether the release of a member's process supports the command.
    pub(crate) fn has_command(&self, place: usize, command: &Command) -> bool {
        command.since() <= Some(self.members[place].release)
    }

    /// Sets about half of the initial members to the old release.
    pub(crate) fn mix_releases(&mut self) {
        for member in &mut self.members {
            if self.hand.chance(50) {
                member.release = OLD;
            }
        }
    }

    /// Makes every leader request the releases of the members that it knows.
    pub(crate) fn ask_releases(&mut self) {
        self.after(ASK_UNITS, Event::AskReleases);
        for place in 0..self.members.len() {
            let id = place as u64 + 1;
            let Some(replica) = &self.members[place].replica else {
                continue;
            };
            if replica.status().leader.0 != id {
                continue;
            }
            let members = Arc::new(replica.view().machine.members.clone());
            let running: Vec<Option<Release>> = members
                .by_id
                .keys()
                .map(|other| self.running(id, other.0))
                .collect();
            let delay = self.hand.range(1, DECIDE_UNITS);
            let incarnation = self.members[place].incarnation;
            self.after(
                delay,
                Event::DecideVersion { place, incarnation, members, running },
            );
        }
    }

    /// Returns the release of a member, or `None` if it cannot be reached.
    fn running(&self, from: u64, other: u64) -> Option<Release> {
        let member = &self.members[(other - 1) as usize];
        let cut = self.net.cut.contains(&(from, other)) || self.net.cut.contains(&(other, from));
        let answers = member.replica.is_some() && !cut;
        answers.then_some(member.release)
    }

    /// Proposes the cluster version or the end of a downgrade, as [`decide`] derives it from `members` and the releases
    /// `running`, both of which may be outdated.
    pub(crate) fn decide_version(
        &mut self,
        place: usize,
        members: &MemberRegistry,
        running: &[Option<Release>],
    ) {
        let command = match decide(members, running, false, true) {
            Decision::Keep => return,
            Decision::Set((major, minor)) => {
                Command::ClusterVersion(ClusterVersion::of(format!("{major}.{minor}.0")))
            }
            Decision::EndDowngrade => Command::Downgrade(Downgrade { target: String::new() }),
        };
        let now_ns = self.now_ns(place);
        self.trace
            .line(self.now, || format!("m{} decides {command:?}", place + 1));
        let member = &mut self.members[place];
        if let Some(replica) = &mut member.replica {
            member.tickets += 1;
            replica.take(Input::Decide {
                ticket: Ticket(member.tickets),
                members: Arc::new(members.clone()),
                now_ns,
                command: Box::new(command),
            });
            self.wake(place);
        }
    }

    /// As the operator, changes the release of a member, or starts or cancels a downgrade. Returns whether it did so.
    pub(crate) fn roll(&mut self) -> bool {
        if !self.scenario.has_releases() || !self.hand.chance(OPERATOR_PERCENT) {
            return false;
        }
        let known = &self.truth.registry;
        let version = release(&known.cluster_version);
        let downgrades = !known.downgrade_target.is_empty();
        let of = |release: Release| {
            self.current(|member| {
                let member = &self.members[(member.id - 1) as usize];
                member.existence == Existence::Present && member.release == release
            })
        };
        let (old, mut new) = (of(OLD), of(NEW));
        new.retain(|id| self.may_downgrade(*id));
        match self.hand.range(0, 9) {
            0 if downgrades => self.ask_downgrade(String::new()),
            0..=6 if downgrades && version == Some(OLD) && !new.is_empty() => {
                let id = *self.hand.pick(&new);
                self.restart(id, OLD);
            }
            0..=2 if version == Some(NEW) && !downgrades => {
                let (major, minor) = OLD;
                self.ask_downgrade(format!("{major}.{minor}.0"));
            }
            3..=9 if !downgrades && !old.is_empty() => {
                let id = *self.hand.pick(&old);
                self.restart(id, NEW);
            }
            _ => return false,
        }
        true
    }

    /// Returns whether a member's startup reads no entry from before the cluster version was last lowered.
    fn may_downgrade(&self, id: u64) -> bool {
        self.disks[(id - 1) as usize].oldest_checkpoint_index() >= self.truth.lowered
    }

    fn ask_downgrade(&mut self, target: String) {
        self.ask_operator(Command::Downgrade(Downgrade { target }));
    }

    /// Restarts a member with another release.
    fn restart(&mut self, id: u64, release: Release) {
        let place = (id - 1) as usize;
        self.trace
            .line(self.now, || format!("m{id} goes to {release:?}"));
        self.counts.releases += 1;
        self.members[place].release = release;
        self.crash(place);
    }

    /// Returns the request of a client in a run with releases. Replaces some requests by commands of the new release, and every
    /// command that sets the cluster version, because only the leader decides it in such a run.
    pub(crate) fn ask_of_releases(&mut self, drawn: Ask) -> Ask {
        if !self.scenario.has_releases() {
            return drawn;
        }
        let is_version = matches!(drawn, Ask::Write(Command::ClusterVersion(_)));
        match self.callers.chance(NEW_COMMANDS_PERCENT) || is_version {
            true => Ask::Write(Command::Alarm(AlarmCommand::hash_state())),
            false => drawn,
        }
    }
}
