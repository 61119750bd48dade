//! The requests of clients and the operator. They are queued in the inbox of a process, and the oracle records the results.

use witan_replica::host::LeaseQuestion;

use crate::{
    inbox::Request,
    member::Existence,
    oracle::{Ask, End},
    scenario::UNITS_PER_TICK,
    users,
    workload::{self, Hint, Read},
    world::{ANSWER_TICKS, Event, Phase, World},
};

impl World {
    /// Makes a client send a request to a random voter and schedules the next request. In the healing phase, only sends
    /// keep-alives.
    pub(crate) fn ask_something(&mut self) {
        let slow = self.climate.client_pause;
        let pause = match self.phase {
            Phase::Serving => self.climate.serving_pause.min(slow),
            Phase::Chaos | Phase::Healing => slow,
        };
        let pause = self.client_rng.range(1, pause);
        self.after(pause, Event::Client);
        let voters = self.current(|person| !person.learner);
        let member = *self.client_rng.pick(&voters);
        let place = (member - 1) as usize;
        let floor = self.oracle.floor();
        if let Some(lease) = workload::keep_alive(&mut self.client_rng, floor, self.climate.mix) {
            let asked = self.now;
            if self.scenario.has_lease_questions() {
                let question = LeaseQuestion::Remaining;
                self.request(place, Request::Lease { lease, question, asked });
            }
            let question = LeaseQuestion::Renew;
            return self.request(place, Request::Lease { lease, question, asked });
        }
        let hint = Hint {
            id: self.oracle.next_id(),
            now_ns: self.now_ns(place),
            floor: self.oracle.floor(),
            mix: self.climate.mix,
        };
        let drawn = workload::draw(&mut self.client_rng, member, &hint);
        let about_users = self
            .scenario
            .has_users()
            .then(|| users::draw(&mut self.callers));
        let drawn = about_users.flatten().map_or(drawn, Ask::Write);
        let ask = self.ask_of_releases(drawn);
        match self.phase {
            Phase::Chaos => {
                self.ask(place, ask, None);
            }
            Phase::Healing => {}
            Phase::Serving => {
                let serves = self.members[place].existence == Existence::Present;
                if serves && self.now < self.served() {
                    self.ask(place, ask, Some(self.now + ANSWER_TICKS * UNITS_PER_TICK));
                }
            }
        }
    }

    /// Sends a request to a member, which must answer it by `deadline` if it is given. Returns the number of the operation. The
    /// operation ends immediately if the member is down.
    pub(crate) fn ask(&mut self, place: usize, ask: Ask, deadline: Option<u64>) -> u64 {
        let member = place as u64 + 1;
        self.trace.line(self.now, || {
            let op = self.oracle.next_id();
            let ask = format!("{ask:?}");
            let ask = ask.get(..240).unwrap_or(&ask);
            format!("op{op} on m{member}: {ask}")
        });
        let runs = self.members[place].replica.is_some();
        // A client that reaches no process knows that the request was not executed.
        let end = if runs { End::Pending } else { End::Crashed };
        let op = self.oracle.invoke(member, self.now, ask, end);
        if let Some(deadline) = deadline {
            self.oracle.promise(op, deadline);
        }
        self.request(place, Request::Operation(op));
        op
    }

    /// Adds a request to the inbox of a running process.
    pub(crate) fn request(&mut self, place: usize, request: Request) {
        let member = &mut self.members[place];
        if member.replica.is_some() {
            member.inbox.ask(request);
            self.wake(place);
        }
    }

    /// Sends a read to every member of the cluster that has its disk. Each member must answer this read and all earlier reads
    /// by `deadline`.
    pub(crate) fn promise_reads(&mut self, deadline: u64) {
        let members = self.current(|_| true);
        for id in &members {
            let place = (*id - 1) as usize;
            if self.members[place].existence == Existence::Present {
                let key = bytes::Bytes::from_static(b"k0");
                self.ask(place, Ask::Read(Read { key }), Some(deadline));
            }
        }
        self.oracle.promise_reads(deadline, &members);
    }
}
