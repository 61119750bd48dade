//! Members of two releases, which differ in the cluster version that they support, in their feature level, or in both. The
//! leader decides the cluster's version and level from the answers of its members. An administrator upgrades members one by
//! one. Members return to the first level only during a downgrade.

use std::{sync::Arc, time::Duration};

use witan_machine::{
    alarm::AlarmCommand,
    command::{ClusterVersion, Command, Downgrade},
    levels::{self, Level},
    member::MemberRegistry,
    versions::{Release, next_cluster_version},
};
use witan_replica::{host::Ticket, input::Input};

use crate::{
    member::{Existence, Member},
    oracle::Ask,
    world::{Event, UNIT_NS, World},
};

/// The release without the newest command.
pub(crate) const OLD: Release = (3, 5);

/// The release with all commands.
pub(crate) const NEW: Release = (3, 6);

/// The level of members that run the release after the first one.
pub(crate) const NEXT_LEVEL: Level = levels::FIRST + 1;

/// The target of a downgrade to the release with the first level.
const FIRST_RELEASE: &str = levels::RELEASES[0].release;

/// Time for which all members must support a level before it rises.
const HOLD: Duration = Duration::from_secs(1);

/// The release and the level that a member reports, or `None` if the member cannot be reached.
pub(crate) type RunningMember = Option<(Release, Level)>;

/// Number of units after which leaders request the releases of the members again.
const ASK_UNITS: u64 = 40;

/// Maximum number of units from the answers to the decision.
const DECIDE_UNITS: u64 = 30;

/// Percentage of the operator's actions that concern releases.
const OPERATOR_PERCENT: u64 = 50;

/// Percentage of these actions that concern the level.
const LEVEL_PERCENT: u64 = 40;

/// Percentage of the initial members that have the first level.
const FIRST_LEVEL_PERCENT: u64 = 30;

/// Percentage of requests that are commands of the new release.
const NEW_COMMANDS_PERCENT: u64 = 4;

impl World {
    /// Returns whether the release of a member's process supports the command.
    pub(crate) fn has_command(&self, place: usize, command: &Command) -> bool {
        let Member { release, level, .. } = &self.members[place];
        command.since() <= Some(*release) && command.level() <= Some(*level)
    }

    /// Sets about half of the initial members to the old release, and some to the first level.
    pub(crate) fn mix_releases(&mut self) {
        for member in &mut self.members {
            if self.hand.chance(50) {
                member.release = OLD;
            }
            if self.hand.chance(FIRST_LEVEL_PERCENT) {
                member.level = levels::FIRST;
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
                self.members[place].level_hold.reset();
                continue;
            }
            let members = Arc::new(replica.view().machine.members.clone());
            let running: Vec<RunningMember> = members
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

    /// Returns the release and the level of a member, or `None` if the member cannot be reached.
    fn running(&self, from: u64, other: u64) -> RunningMember {
        let member = &self.members[(other - 1) as usize];
        let cut = self.net.cut.contains(&(from, other)) || self.net.cut.contains(&(other, from));
        let answers = member.replica.is_some() && !cut;
        answers.then_some((member.release, member.level))
    }

    /// Proposes the cluster's version and level or the end of a downgrade. [`next_cluster_version`] and [`levels::decide`]
    /// derive them from `members` and the answers `running`, which may be outdated. Proposes nothing if nothing changes.
    pub(crate) fn decide_version(
        &mut self,
        place: usize,
        members: &MemberRegistry,
        running: &[RunningMember],
    ) {
        let answers = running.iter();
        let (releases, known): (Vec<_>, Vec<_>) = answers
            .map(|answer| (answer.map(|(it, _)| it), answer.map(|(_, level)| level)))
            .unzip();
        let now = Duration::from_nanos(self.now * UNIT_NS as u64);
        let hold = &mut self.members[place].level_hold;
        hold.update(members, &known, now);
        let held = hold.time_left(Some(HOLD), now) == Some(Duration::ZERO);
        let level = levels::decide(members, &known, held).unwrap_or_default();
        let returns = levels::downgrade_target(members).is_some();
        let has_returned = returns && known.iter().all(|level| *level == Some(levels::FIRST));
        let version = next_cluster_version(members, &releases, false);
        let version =
            version.map_or_else(String::new, |(major, minor)| format!("{major}.{minor}.0"));
        let command = match has_returned {
            true => Command::Downgrade(Downgrade { target: String::new() }),
            false if version.is_empty() && level == 0 => return,
            false => Command::ClusterVersion(ClusterVersion { version, level }),
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

    /// As the operator, upgrades a member, changes its level, or starts or cancels a downgrade. Returns whether anything
    /// changed.
    pub(crate) fn roll(&mut self) -> bool {
        if !self.scenario.has_releases() || !self.hand.chance(OPERATOR_PERCENT) {
            return false;
        }
        if self.hand.chance(LEVEL_PERCENT) {
            return self.roll_level();
        }
        let old = self.current(|member| {
            let member = &self.members[(member.id - 1) as usize];
            member.existence == Existence::Present && member.release == OLD
        });
        if old.is_empty() {
            return false;
        }
        let id = *self.hand.pick(&old);
        self.restart(id, |member| member.release = NEW);
        true
    }

    /// As the operator, changes the level of a member, or starts or cancels a downgrade to the first level. Returns whether
    /// anything changed. Lowers the level of a member only after the cluster has recorded the downgrade, which keeps the level
    /// from rising. Cancels the downgrade only when no member has the first level.
    fn roll_level(&mut self) -> bool {
        let known = &self.truth.registry;
        let returns = levels::downgrade_target(known).is_some();
        let is_free = known.downgrade_target.is_empty();
        let has_risen = known.level() > levels::FIRST;
        let of = |level: Level| {
            self.current(|member| {
                let member = &self.members[(member.id - 1) as usize];
                member.existence == Existence::Present && member.level == level
            })
        };
        let (first, next) = (of(levels::FIRST), of(NEXT_LEVEL));
        match self.hand.range(0, 9) {
            0..=5 if returns && !has_risen && !next.is_empty() => {
                let id = *self.hand.pick(&next);
                self.restart(id, |member| member.level = levels::FIRST);
            }
            6 if is_free && !has_risen => self.ask_downgrade(FIRST_RELEASE.to_owned()),
            7 if returns && first.is_empty() => self.ask_downgrade(String::new()),
            0..=9 if !first.is_empty() => {
                let id = *self.hand.pick(&first);
                self.restart(id, |member| member.level = NEXT_LEVEL);
            }
            _ => return false,
        }
        true
    }

    fn ask_downgrade(&mut self, target: String) {
        self.ask_operator(Command::Downgrade(Downgrade { target }));
    }

    /// Restarts a member with another release or level.
    fn restart(&mut self, id: u64, change: impl FnOnce(&mut Member)) {
        let place = (id - 1) as usize;
        let member = &mut self.members[place];
        change(member);
        let Member { release, level, .. } = *member;
        self.trace.line(self.now, || {
            format!("m{id} goes to {release:?}, level {level}")
        });
        self.counts.releases += 1;
        self.crash(place);
    }

    /// Returns the request of a client in a run with releases. Replaces some requests with commands of the new release. Also
    /// replaces commands that set the cluster version, because only the leader decides it in such a run.
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
