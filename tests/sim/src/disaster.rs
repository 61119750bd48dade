//! The loss of most members, in some seeds only. Their disks are lost permanently, and the operator starts a remaining member
//! (the survivor) with `--force-new-cluster`. The history of the cluster forks there: entries that the survivor lacks are no
//! longer part of it, and invariants forget their effects.
//!
//! Members of the old cluster that still run are outside the new cluster. Only their effects on the new cluster are checked.
//! This module has its own random generator.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use witan_machine::{
    member::{MemberId, MemberRegistry},
    record::CorruptRecord,
    revision::Revision,
};
use witan_replica::{
    host::{LogRecord, Recovered},
    replica::{Replica, Role},
};

use crate::{
    invariants::{Fact, Ident, Vote},
    member::Existence,
    operator::Operator,
    rng::Rng,
    world::{Event, Phase, Truth, World},
};

/// Percentage of runs in which the survivor is a member whose log has a membership change that is not known to be committed.
const UNDECIDED_PERCENT: u64 = 50;

/// Runs whose draw is at least `UNDECIDED_PERCENT` and below this number cut the survivor off before the loss.
const CUT_OFF_END_PERCENT: u64 = 85;

/// Longest time for which the survivor is cut off.
const CUT_OFF_UNITS: u64 = 400;

/// Units between two checks for a survivor.
const LOOK_UNITS: u64 = 2;

/// Percentage of runs in which members of the old cluster continue to run.
const RUN_ON_PERCENT: u64 = 60;

/// Percentage of the members that keep running in these runs.
const SPARED_PERCENT: u64 = 80;

/// Percentage of startups with `--force-new-cluster` that a power cut interrupts.
const CUT_PERCENT: u64 = 40;

/// Longest pause in units between two checks of the operator. It is short, so that new members are added soon.
const OPERATOR_PAUSE: u64 = 60;

/// First byte of a record that changes the membership (see `wire` in the core; the layout never changes).
const CHANGE: u8 = 1;

/// The fields of such a record after the first byte.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Change {
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(uint64, tag = "3")]
    member: u64,
}

impl Change {
    /// The `kind` of a removal.
    const REMOVES: i32 = 1;

    /// Decodes a membership change. Returns `None` for any other entry.
    fn read(record: &LogRecord) -> Option<Self> {
        let (kind, change) = record.payload.split_first()?;
        let change = (*kind == CHANGE).then(|| prost::Message::decode(change));
        change?.ok()
    }

    fn removes(self, member: u64) -> bool {
        (self.kind, self.member) == (Self::REMOVES, member)
    }
}

/// The loss of most members.
#[derive(Debug)]
pub(crate) struct Disaster {
    chance: Rng,
    prelude: Prelude,
    /// The member to start with the flag, until it runs.
    pub(crate) survivor: Option<u64>,
    /// The state on the survivor's disk before its first startup with the flag.
    found: Option<Found>,
    /// The registry that the survivor wrote last.
    members: Option<MemberRegistry>,
    /// Members that are not in the new cluster.
    outside: BTreeSet<u64>,
}

/// The state of a member before it continues alone.
#[derive(Debug)]
struct Found {
    checkpoint: u64,
    /// The entries above the checkpoint that must stay.
    log: BTreeMap<u64, Ident>,
    /// The later removal of the member itself. The log must not contain this removal.
    dropped: Option<(u64, Ident)>,
}

/// The phase before the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prelude {
    None,
    /// Waits until a member has a membership change that is not known to be committed.
    Undecided,
    /// A member will be cut off.
    CutOff,
    /// This member is cut off.
    IsCutOff(u64),
}

impl Disaster {
    pub(crate) fn new(mut chance: Rng) -> Self {
        let prelude = match chance.range(0, 99) {
            0..UNDECIDED_PERCENT => Prelude::Undecided,
            UNDECIDED_PERCENT..CUT_OFF_END_PERCENT => Prelude::CutOff,
            _ => Prelude::None,
        };
        Self {
            chance,
            prelude,
            survivor: None,
            found: None,
            members: None,
            outside: BTreeSet::new(),
        }
    }
}

impl Found {
    /// Derives which entries must stay if member `own` continues alone.
    fn of(recovered: &Recovered, own: u64) -> Result<Self, CorruptRecord> {
        let checkpoint = recovered.checkpoint.as_ref();
        let checkpoint = checkpoint.map_or(0, |view| view.position.index);
        let commit = vote(recovered.hard_state.as_ref())?.commit;
        let drops = |record: &&LogRecord| {
            record.index > commit && Change::read(record).is_some_and(|change| change.removes(own))
        };
        let dropped = recovered.records.iter().find(drops);
        let stays = |record: &&LogRecord| {
            record.index > checkpoint && dropped.is_none_or(|drop| record.index < drop.index)
        };
        let log = recovered.records.iter().filter(stays);
        Ok(Self {
            checkpoint,
            log: log
                .map(|record| (record.index, Ident::of(record)))
                .collect(),
            dropped: dropped.map(|record| (record.index, Ident::of(record))),
        })
    }
}

/// Decodes a hard state. Returns term 0 and no vote if there is no hard state.
fn vote(hard_state: Option<&Bytes>) -> Result<Vote, CorruptRecord> {
    let vote = hard_state.map_or(Ok(Vote::default()), Vote::read);
    vote.map_err(CorruptRecord::new)
}

impl World {
    /// Schedules the loss of most members, if the seed includes it. Excludes runs in which a member needs a snapshot to catch
    /// up, because the snapshot would have to come from the lost members.
    pub(crate) fn arrange_disaster(&mut self) {
        if !self.scenario.has_disaster() || self.climate.lags {
            return;
        }
        self.climate.stable_membership = false;
        self.climate.operator_pause = self.climate.operator_pause.min(OPERATOR_PAUSE);
        let chaos = self.climate.chaos_units;
        let delay = self.disaster.chance.range(chaos / 4, chaos / 2);
        self.after(delay, Event::LoseMost);
    }

    /// Destroys the disks of all members but one, or of so many members that no quorum remains. Tries again later while no
    /// member can survive, or if the survivor is cut off first. Does nothing after the faults have stopped.
    pub(crate) fn lose_most(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        let voters = self.current(|person| !person.learner);
        let all = self.current(|_| true);
        let mut survivors = all.clone();
        survivors.retain(|id| self.may_survive(*id));
        match self.disaster.prelude {
            Prelude::Undecided if self.now < self.climate.chaos_units / 3 * 2 => {
                survivors.retain(|id| self.disks[(*id - 1) as usize].has_undecided_change());
            }
            Prelude::IsCutOff(first) => survivors.retain(|id| *id == first),
            Prelude::None | Prelude::Undecided | Prelude::CutOff => {}
        }
        if voters.len() < 2 || survivors.is_empty() {
            return self.after(LOOK_UNITS, Event::LoseMost);
        }
        let survivor = *self.disaster.chance.pick(&survivors);
        if self.disaster.prelude == Prelude::CutOff {
            return self.cut_off(survivor);
        }
        let runs_on = self.disaster.chance.chance(RUN_ON_PERCENT);
        let mut spare = voters.len() / 2 - 1;
        let mut lost = Vec::new();
        for id in all.into_iter().filter(|id| *id != survivor) {
            let votes = usize::from(voters.contains(&id));
            if runs_on && votes <= spare && self.disaster.chance.chance(SPARED_PERCENT) {
                spare -= votes;
            } else {
                lost.push(id);
            }
        }
        self.trace.line(self.now, || {
            format!("the disks of {lost:?} are lost; m{survivor} will continue alone")
        });
        for id in lost {
            let place = (id - 1) as usize;
            self.crash(place);
            self.disks[place].abandon();
            self.members[place].existence = Existence::Gone;
        }
        self.disaster.survivor = Some(survivor);
        self.operator = Operator::default();
        let place = (survivor - 1) as usize;
        self.crash(place);
        self.members[place].left_behind = false;
    }

    /// Cuts off the future survivor, so that the others continue without it. Schedules the loss of the others.
    fn cut_off(&mut self, survivor: u64) {
        self.trace
            .line(self.now, || format!("m{survivor} is cut off"));
        let count = self.members.len() as u64;
        self.net.split(count, &BTreeSet::from([survivor]), false);
        self.disaster.prelude = Prelude::IsCutOff(survivor);
        let delay = self.disaster.chance.range(1, CUT_OFF_UNITS);
        self.after(delay, Event::LoseMost);
    }

    /// Returns whether a member is present and has a state. A new member has no state until it receives a snapshot.
    fn may_survive(&self, id: u64) -> bool {
        let place = (id - 1) as usize;
        let present = self.members[place].existence == Existence::Present;
        present && self.disks[place].oldest_checkpoint_index() > 0
    }

    /// Returns whether a member belongs to the old cluster only.
    pub(crate) fn is_outside(&self, id: u64) -> bool {
        self.disaster.outside.contains(&id)
    }

    /// Returns whether `to` refuses messages of `from`. A leader refuses a member of the old cluster that it does not know.
    pub(crate) fn refuses_unknown_sender(&self, from: u64, to: u64) -> bool {
        let receiver = &self.members[(to - 1) as usize];
        self.is_outside(from)
            && !self.is_outside(to)
            && receiver.status.role == Role::Leader
            && !receiver.registry.by_id.contains_key(&MemberId(from))
    }

    /// Reads the state of a starting member and the members that it connects to. Returns `None` if the member loses power.
    pub(crate) fn recover(
        &mut self,
        place: usize,
    ) -> Result<Option<(Recovered, MemberRegistry)>, CorruptRecord> {
        let mut recovered = self.disks[place].recover()?;
        if self.disaster.survivor != Some(place as u64 + 1) {
            let view = recovered.checkpoint.as_ref();
            let members = view.map(|view| view.machine.members.clone());
            return Ok(Some((recovered, members.unwrap_or_default())));
        }
        let forced = self.force(place, &mut recovered)?;
        Ok(forced.map(|members| (recovered, members)))
    }

    /// Starts a member with `--force-new-cluster`. Returns `None` if the power is cut first, with or without the new entries on
    /// the disk. Fails if there is no member to remove.
    fn force(
        &mut self,
        place: usize,
        recovered: &mut Recovered,
    ) -> Result<Option<MemberRegistry>, CorruptRecord> {
        let id = place as u64 + 1;
        if self.disaster.found.is_none() {
            self.disaster.found = Some(Found::of(recovered, id)?);
        }
        let level = self.members[place].level;
        let forced = Replica::force_new_cluster(recovered, MemberId(id), level)
            .map_err(|error| CorruptRecord::new(error.to_string()))?;
        if let Some(forced) = forced {
            self.disaster.members = Some(forced.members);
            let chance = &mut self.disaster.chance;
            let cut = self.phase == Phase::Chaos && chance.chance(CUT_PERCENT);
            let steps = if cut { chance.range(0, 2) } else { 2 };
            if steps > 0 {
                self.disks[place].write(&forced.batch);
            }
            if steps > 1 {
                self.disks[place].sync();
            }
            if cut {
                self.counts.forced_interrupted += 1;
                self.trace.line(self.now, || {
                    format!("m{id} loses power as it continues alone")
                });
                self.power_lost(place);
                return Ok(None);
            }
        }
        let Some(members) = self.disaster.members.take() else {
            return Err(CorruptRecord::new(
                "--force-new-cluster finds no member to remove",
            ));
        };
        self.fork(id, recovered, &members)?;
        Ok(Some(members))
    }

    /// Forks the history, which continues from the survivor's part without the other members.
    fn fork(
        &mut self,
        survivor: u64,
        recovered: &Recovered,
        members: &MemberRegistry,
    ) -> Result<(), CorruptRecord> {
        let Some(Found { checkpoint, log, dropped }) = self.disaster.found.take() else {
            return Ok(());
        };
        let executed = &self.truth.executed;
        let same = |(index, ident): &(&u64, &Ident)| {
            executed
                .get(*index)
                .is_some_and(|(first, _)| first == *ident)
        };
        let kept = log.iter().take_while(same).last();
        let kept = kept.map_or(checkpoint, |(index, _)| *index);
        let revision = executed
            .get(&kept)
            .map_or(Revision::EMPTY, |(_, revision)| *revision);
        let lost = self.truth.index.saturating_sub(kept);
        let end = recovered.records.last().map_or(0, |record| record.index);
        self.truth.fork(kept, end, survivor, members);
        self.truth.term = vote(recovered.hard_state.as_ref())?.term;
        self.oracle.fork(kept);
        self.disaster.survivor = None;
        self.disaster.outside = (1..=self.members.len() as u64)
            .filter(|id| *id != survivor)
            .collect();
        for (member, _) in self
            .members
            .iter_mut()
            .zip(1..)
            .filter(|(_, id)| *id != survivor)
        {
            member.forget_clients();
            member.rebuilds = false;
        }
        self.counts.forced += 1;
        self.counts.forced_lost += lost;
        self.trace.line(self.now, || {
            format!("m{survivor} continues alone after {kept} at {end}; {lost} entries are lost")
        });
        let fact = Fact::Forced {
            member: survivor,
            kept,
            revision,
            lost,
            log: &log,
            dropped,
            outside: &self.disaster.outside.clone(),
        };
        self.judge(&fact);
        let records: Vec<LogRecord> = recovered
            .records
            .iter()
            .filter(|record| record.index > kept)
            .cloned()
            .collect();
        self.judge(&Fact::Written { member: survivor, records: &records, hard_state: None });
        Ok(())
    }
}

impl Truth {
    /// Continues after the entry at `kept` with one member, whose log ends at `end`.
    fn fork(&mut self, kept: u64, end: u64, survivor: u64, members: &MemberRegistry) {
        self.executed.split_off(&(kept + 1));
        self.voters.split_off(&kept);
        self.voters.insert(kept, vec![survivor]);
        self.registry.clone_from(members);
        self.index = end;
    }
}

impl crate::disk::Disk {
    /// Returns whether the log has a membership change that is not known to be committed.
    fn has_undecided_change(&self) -> bool {
        let (mut records, hard_state) = self.log();
        let commit = vote(hard_state).map_or(0, |vote| vote.commit);
        records.any(|record| record.index > commit && Change::read(record).is_some())
    }
}
