//! One turn of one member: the simulated implementation of `Host`, which can lose power between any two calls.
//!
//! After a crash, the core continues to the end of its turn without effects and is then dropped. A crash therefore needs no
//! panic, and exactly the effects before it remain.

use witan_machine::{Reply, kv, lease, member::MemberId, view::View};
use witan_replica::{
    host::{
        Answer, Applied, Envelope, Host, LeaseAnswer, LeaseQuestion, LogBatch, Ticket, Unanswered,
    },
    lessor::Renewal,
    long_command::{ExecutedCommand, LongCommand},
    replica::MessageFault,
};

use crate::{
    inbox::Request,
    invariants::{Fact, Ident, fingerprint},
    net::Packet,
    oracle::{Ask, End},
    scenario::UNITS_PER_TICK,
    world::{Event, Phase, World},
};

/// Maximum duration of a long command. It exceeds an election timeout.
const LONG_COMMAND_TICKS_MAX: u64 = 15;

/// Probability in percent that a command takes up to [`LONG_COMMAND_TICKS_MAX`] ticks, if the host does not execute it
/// immediately. The other commands take one unit.
const LONG_COMMANDS_PERCENT: u64 = 5;

/// Percentage of commands that the host executes immediately.
const EXECUTED_AT_ONCE_PERCENT: u64 = 20;

/// Percentage of installations on real files that a power cut interrupts.
const INSTALL_CUT_PERCENT: u64 = 30;

/// A turn of the member at `place`.
pub(crate) struct Turn<'a> {
    world: &'a mut World,
    place: usize,
    crashed: bool,
    /// Time in units for which the disk has delayed the thread in this turn.
    stalled: u64,
}

/// The outcome of a host call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The call succeeds.
    Done,
    /// The power is cut during the call.
    Torn,
    /// The power is already off.
    Dark,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(world: &'a mut World, place: usize) -> Self {
        world.go_cold(place);
        Self { world, place, crashed: false, stalled: 0 }
    }

    /// Returns whether the member crashed in this turn.
    pub(crate) fn crashed(&self) -> bool {
        self.crashed
    }

    pub(crate) fn world(&mut self) -> &mut World {
        self.world
    }

    fn id(&self) -> u64 {
        self.place as u64 + 1
    }

    /// Counts a host call toward the moment at which this member crashes and returns the outcome of the call. `verb` names the
    /// call in the trace.
    fn step(&mut self, verb: &str) -> Step {
        if self.crashed {
            return Step::Dark;
        }
        let member = &mut self.world.members[self.place];
        match &mut member.verbs_left {
            Some(0) => {
                self.crashed = true;
                let (now, id) = (self.world.now, self.id());
                self.world
                    .trace
                    .line(now, || format!("m{id} loses power in {verb}"));
                Step::Torn
            }
            Some(left) => {
                *left -= 1;
                Step::Done
            }
            None => Step::Done,
        }
    }

    /// Makes a power cut during an installation on real files likely, because such an installation takes several steps.
    fn arm_install(&mut self) {
        let world = &mut *self.world;
        let on_files = world.directories.0.is_some() && world.phase == Phase::Chaos;
        if on_files && world.chance.chance(INSTALL_CUT_PERCENT) {
            world.members[self.place].verbs_left = Some(0);
        }
    }

    fn trace(&mut self, make: impl FnOnce(u64) -> String) {
        let (now, id) = (self.world.now, self.id());
        self.world.trace.line(now, || make(id));
    }

    /// Counts the leases that expired in these entries.
    fn count_expired(&mut self, batch: &[Applied]) {
        for applied in batch {
            if let Reply::Lease(Ok(lease::LeaseReply::Expired { ids })) = &applied.outcome.reply {
                self.world.counts.expired += ids.len() as u64;
            }
        }
    }

    /// Reports the membership changes and the progress of these entries to the transport and the world.
    fn follow(&mut self, batch: &[Applied], view: &View) {
        for applied in batch {
            if let Some(registry) = &applied.members {
                self.world.members[self.place].follow(registry);
            }
            self.world.learn(self.place, applied, view.position.term);
        }
    }

    /// At random, delays the thread by a slow disk, at most until the faults stop. A leader that still waited after the members
    /// seem to have settled would be replaced.
    fn stall(&mut self) {
        let climate = &self.world.climate;
        let (percent, longest) = (climate.stall_percent, climate.stall);
        let left = climate
            .chaos_units
            .saturating_sub(self.world.now + self.stalled);
        if self.world.phase == Phase::Chaos && self.world.chance.chance(percent) {
            let stall = self.world.chance.range(1, longest).min(left);
            self.stalled += stall;
            self.world.counts.stalls += 1;
            let member = &mut self.world.members[self.place];
            member.paused_until = self.world.now + self.stalled;
            self.trace(|id| format!("the disk of m{id} is slow: {stall}"));
        }
    }

    /// Handles a failed sync by ending the process. The written data survives as in a power cut, because it is unknown how much
    /// is on disk.
    fn failed_sync(&mut self) {
        self.world.counts.failed_syncs += 1;
        self.trace(|id| format!("the disk of m{id} fails to sync"));
        self.crashed = true;
    }

    /// Delivers the answers of applied entries to their clients and reports them to the invariants.
    fn acknowledge(&mut self, batch: &[Applied]) {
        for applied in batch {
            let Some(ticket) = applied.ticket else {
                continue;
            };
            let waiting = &mut self.world.members[self.place].waiting;
            let Some(op) = waiting.remove(&ticket) else {
                continue;
            };
            let member = &mut self.world.members[self.place];
            if let Some((lease, asked)) = member.remaining_ttl_clears.remove(&op) {
                let question = LeaseQuestion::Renew;
                member.inbox.ask(Request::Lease { lease, question, asked });
            }
            self.world.oracle.acknowledge(op, self.world.now, applied);
            self.world.counts.acknowledged += 1;
            let denied = matches!(
                applied.outcome.reply,
                Reply::Kv(Err(kv::KvError::Denied(_)))
            );
            self.world.counts.denied += u64::from(denied);
            self.trace(|id| format!("m{id} answers op{op} at entry {}", applied.index));
            if let Some(op) = self.world.oracle.op(op).cloned() {
                self.world.judge(&Fact::Acknowledged { op: &op });
            }
        }
    }

    /// Delivers the answer to a read from `view` and reports it to the invariants.
    fn answer(&mut self, ticket: Ticket, view: &View) {
        let Some(id) = self.world.members[self.place].waiting.remove(&ticket) else {
            return;
        };
        let Some(op) = self.world.oracle.op(id).cloned() else {
            return;
        };
        self.world.go_cold(self.place);
        self.world.judge(&Fact::Answered { op: &op, view });
        let mut key_revision = None;
        if let Ask::Read(read) = &op.ask {
            let range = kv::Range { key: read.key.clone(), ..kv::Range::default() };
            let reply = view.machine.kv.range(&range, kv::ValueSource::Disk);
            let reply = reply.unwrap_or_default();
            key_revision = reply.kvs.first().map(|kv| kv.mod_revision);
        }
        let seen = (
            view.machine.kv.revision(),
            view.machine.tree.index(),
            key_revision,
        );
        self.trace(|member| format!("m{member} answers read op{id} with {seen:?}"));
        self.world.oracle.answer(id, self.world.now, seen);
        self.world.counts.reads += 1;
    }
}

impl Host for Turn<'_> {
    fn install(&mut self, snapshot: &View) {
        self.arm_install();
        let step = self.step("install");
        let disk = &mut self.world.disks[self.place];
        match step {
            Step::Dark => return,
            Step::Torn => return disk.tear_install(snapshot, &mut self.world.chance),
            Step::Done => disk.install(snapshot),
        }
        self.trace(|id| format!("m{id} installs a snapshot at {}", snapshot.position.index));
        let member = &mut self.world.members[self.place];
        member.base = snapshot.clone();
        member.checkpoint = None;
        member.rebuilds = false;
        member.follow(&snapshot.machine.members);
        // The replica's log in memory starts from the installed snapshot.
        member.log_begins = 0;
        self.world.counts.installs += 1;
        let fact = Fact::Restored {
            member: self.id(),
            starts: false,
            view: snapshot,
            fingerprint: fingerprint(snapshot),
        };
        self.world.judge(&fact);
    }

    fn persist(&mut self, batch: &LogBatch) {
        let step = self.step("persist");
        if step == Step::Dark || (step == Step::Torn && self.world.chance.chance(30)) {
            return;
        }
        self.world.disks[self.place].write(batch);
        self.trace(|id| {
            let ends = batch.records.first().zip(batch.records.last());
            let span = ends.map_or(String::from("no entries"), |(first, last)| {
                format!(
                    "entries {}..={} of term {}",
                    first.index, last.index, last.term
                )
            });
            let hard = batch.hard_state.as_ref().map_or(0, |bytes| bytes.len());
            format!(
                "m{id} writes {span}, hard state {hard} B, sync {}",
                batch.must_sync
            )
        });
        if step == Step::Torn {
            return;
        }
        if batch.must_sync {
            if self.sync_fails() {
                return self.failed_sync();
            }
            self.world.disks[self.place].sync();
            self.stall();
        }
        let fact = Fact::Written {
            member: self.id(),
            records: &batch.records,
            hard_state: batch.hard_state.as_ref(),
        };
        self.world.judge(&fact);
    }

    fn send(&mut self, envelopes: Vec<Envelope>) {
        let count = match self.step("send") {
            Step::Done => envelopes.len(),
            Step::Torn => self.world.chance.below(envelopes.len() + 1),
            Step::Dark => 0,
        };
        for envelope in envelopes.into_iter().take(count) {
            self.world.post(Packet::new(envelope), self.stalled);
        }
        if !self.crashed && self.world.crashes_after_send() {
            self.crashed = true;
            self.trace(|id| format!("m{id} loses power after a send"));
        }
    }

    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        if self.crashed {
            return None;
        }
        if self.world.chance.chance(EXECUTED_AT_ONCE_PERCENT) {
            self.trace(|id| format!("m{id} executes a long command at once"));
            self.world.go_cold(self.place);
            return Some(Box::new(command.execute()));
        }
        let long =
            self.world.phase == Phase::Chaos && self.world.chance.chance(LONG_COMMANDS_PERCENT);
        let delay = match long {
            true => self
                .world
                .chance
                .range(1, LONG_COMMAND_TICKS_MAX * UNITS_PER_TICK),
            false => 1,
        };
        self.trace(|id| format!("m{id} executes a long command for {delay}"));
        let (place, incarnation) = (self.place, self.world.members[self.place].incarnation);
        let executed = Event::Executed { place, incarnation, command };
        self.world.after(delay, executed);
        None
    }

    fn applied(&mut self, batch: Vec<Applied>, view: &View) {
        if self.step("applied") != Step::Done {
            return;
        }
        self.world.go_cold(self.place);
        let fingerprint = fingerprint(view);
        self.trace(|id| {
            let ends = batch.first().zip(batch.last());
            let (first, last) = ends.map_or((0, 0), |(first, last)| (first.index, last.index));
            format!("m{id} executes {first}..={last}, state {fingerprint:016x}")
        });
        self.follow(&batch, view);
        let release = self.world.members[self.place].release;
        let fact = Fact::Executed { member: self.id(), release, batch: &batch, view, fingerprint };
        // The fingerprint has read all values.
        self.world.go_cold(self.place);
        self.world.judge(&fact);
        self.count_expired(&batch);
        self.acknowledge(&batch);
    }

    fn readable(&mut self, tickets: &[Ticket], view: &View) {
        if self.step("readable") != Step::Done {
            return;
        }
        for ticket in tickets {
            self.answer(*ticket, view);
        }
    }

    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        if self.step("answered") != Step::Done {
            return;
        }
        for (ticket, answer) in answers {
            match answer {
                Answer::Lease(answer) => self.answer_about_lease(ticket, answer),
                Answer::Unanswered(reason) => self.end_unanswered(ticket, reason),
                Answer::Transfer(taken) => {
                    self.world.counts.transfers += u64::from(taken.is_ok());
                    self.trace(|id| format!("m{id} answers a transfer: {taken:?}"));
                }
                Answer::Decided(proposed) => {
                    self.trace(|id| format!("m{id} proposes its decision: {proposed}"));
                }
            }
        }
    }

    fn cut_log(&mut self, below: u64) {
        if !self.crashed {
            self.trace(|id| format!("m{id} cuts at {below}"));
            self.world.disks[self.place].cut(below);
        }
    }

    fn message_dropped(&mut self, _from: MemberId, fault: MessageFault) {
        self.trace(|id| format!("m{id} dropped a message: {fault}"));
    }
}

impl Turn<'_> {
    /// Ends a request that gets no reply.
    fn end_unanswered(&mut self, ticket: Ticket, reason: Unanswered) {
        let member = &mut self.world.members[self.place];
        member.lease_questions.remove(&ticket);
        let Some(op) = member.waiting.remove(&ticket) else {
            return;
        };
        self.trace(|id| format!("m{id} has no reply to op{op}: {reason:?}"));
        match reason {
            Unanswered::Refused(refusal) => self.world.refused(op, End::Refused(refusal)),
            Unanswered::Removed => self.world.refused(op, End::Removed),
            Unanswered::Expired | Unanswered::LeaderChanged => {
                self.world.oracle.unanswered(op, End::Crashed);
            }
        }
    }

    /// Delivers an answer about a lease and reports it to the invariants.
    fn answer_about_lease(&mut self, ticket: Ticket, answer: LeaseAnswer) {
        let member = &mut self.world.members[self.place];
        let Some((lease, asked)) = member.lease_questions.remove(&ticket) else {
            return;
        };
        self.trace(|id| format!("m{id} on lease {}: {answer:?}", lease.0));
        match answer {
            LeaseAnswer::Renewal(Renewal::Renewed { .. }) => self.world.counts.renewed += 1,
            LeaseAnswer::Renewal(Renewal::NeedsCheckpoint) => {
                self.world.members[self.place].noted.push((lease, asked));
            }
            LeaseAnswer::Renewal(Renewal::Unknown | Renewal::Expiring) => {}
            LeaseAnswer::Remaining(_) => self.world.counts.lease_times += 1,
        }
        self.world
            .judge(&Fact::LeaseAnswered { lease, answer, asked });
    }
}

impl World {
    /// Sends a packet after `held` units, if the sender has a stream and the network delivers it. For a snapshot, begins a
    /// transfer immediately.
    pub(crate) fn post(&mut self, packet: Packet, held: u64) {
        let sender = &self.members[(packet.from - 1) as usize];
        if !sender.reaches(packet.to) {
            return;
        }
        if packet.snapshot.is_some() {
            return self.begin_transfer(packet);
        }
        let routes = self.net.route(&packet, &mut self.chance);
        if routes.is_empty() {
            self.counts.dropped += 1;
            let text = |p: &Packet| format!("lost m{}->m{} {}", p.from, p.to, p.text());
            self.trace.line(self.now, || text(&packet));
        }
        for delay in routes {
            self.after(held + delay, Event::Deliver(Box::new(packet.clone())));
        }
    }

    /// Records an entry that a member of the cluster executes for the first time. Starts the members that the entry adds.
    fn learn(&mut self, place: usize, applied: &Applied, term: u64) {
        let index = applied.index;
        if index <= self.truth.index || self.is_outside(place as u64 + 1) {
            return;
        }
        self.truth.index = index;
        self.truth.term = self.truth.term.max(term);
        if let Some(record) = self.disks[place].entry(index) {
            let executed = (Ident::of(record), applied.outcome.revision);
            self.truth.executed.insert(index, executed);
        }
        let Some(registry) = &applied.members else {
            return;
        };
        let before = std::mem::replace(&mut self.truth.registry, registry.clone());
        self.counts.raised += u64::from(registry.level() > before.level());
        let (before, now) = (&before.by_id, &registry.by_id);
        let added: Vec<u64> = now
            .keys()
            .filter(|id| !before.contains_key(*id))
            .map(|id| id.0)
            .collect();
        let promoted = now.values().filter(|m| !m.learner);
        let promoted =
            promoted.filter(|m| before.get(&m.member_id()).is_some_and(|then| then.learner));
        self.counts.promoted += promoted.count() as u64;
        self.counts.added += added.len() as u64;
        self.counts.removed += before.keys().filter(|id| !now.contains_key(*id)).count() as u64;
        let voters = now.values().filter(|m| !m.learner).map(|m| m.id);
        let voters: Vec<u64> = voters.collect();
        if self.truth.voters.values().next_back() != Some(&voters) {
            self.truth.voters.insert(index, voters);
        }
        for id in added {
            self.join((id - 1) as usize);
        }
    }
}
