//! Executes the same steps on etcd and on Witan until they differ.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use witan_e2e::Kind;

use super::{
    action::{self, Parameters},
    answer::Answer,
    excuse::Excuse,
    side::{GRACE, LATE, Side, Watch},
    step::{Request, Step},
};
use crate::report::{Report, Stop};

/// Maximum number of steps after a write with a short TTL, before the run waits for its expiration. It is not a time, so that a
/// shortened sequence has the same effect.
const SHORT_STEPS: usize = 7;

/// If these steps take longer, a node may have expired during them, because the shortest TTL is 2 s. The run then proves
/// nothing.
const SHORT_TIME: Duration = Duration::from_millis(1800);

/// Number of steps between two comparisons of the entire store.
const AUDIT_STEPS: usize = 250;

/// Both servers.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    etcd: Side,
    witan: Side,
    /// The request of each watch, and the index at which the watch started.
    opened: BTreeMap<u32, (Request, u64)>,
    short_since: Option<(Instant, usize)>,
    /// The index at the last restart.
    restarted: u64,
    report: &'a mut Report,
}

impl<'a> Pair<'a> {
    /// Starts both servers on empty directories.
    pub(super) fn start(report: &'a mut Report) -> Self {
        let etcd = thread::spawn(|| Side::start(Kind::Etcd34));
        let witan = Side::start(Kind::Witan);
        Self {
            etcd: etcd.join().expect("etcd starts"),
            witan,
            opened: BTreeMap::new(),
            short_since: None,
            restarted: 0,
            report,
        }
    }

    /// Executes all steps. Fails at the first difference, or if the machine is too slow.
    pub(super) fn run(mut self, steps: &[Step]) -> Result<(), Stop> {
        for excuse in Excuse::ALL {
            self.report.excuse(excuse.reason(), 0);
        }
        self.audit(0)?;
        for (at, step) in steps.iter().enumerate() {
            self.settle_if_due(at, step)?;
            self.step(at, step)?;
            if (at + 1) % AUDIT_STEPS == 0 {
                self.settle(at)?;
                self.audit(at)?;
            }
        }
        let end = steps.len();
        self.settle(end)?;
        let open: Vec<u32> = self.opened.keys().copied().collect();
        for id in open {
            self.step(end, &Step::Reap(id))?;
        }
        self.audit(end)?;
        let redirects = self.etcd.redirected;
        self.report.excuse(Excuse::Redirect.reason(), redirects);
        Ok(())
    }

    fn step(&mut self, at: usize, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Ask(request) => {
                let request = self.etcd.resolved(request);
                self.ask(at, &request)
            }
            Step::Watch(id, target) => {
                let request = self.etcd.resolved(&Request::get(target));
                self.watch(at, *id, request)
            }
            Step::Reap(id) => self.reap(at, *id),
            Step::Burst(count, target) => {
                let (etcd, witan) = self.both(|side| side.burst(*count, target));
                compare(at, &step.to_string(), &etcd, &witan)
            }
            Step::Settle => self.settle(at),
            Step::Restart => {
                self.opened.clear();
                let (etcd, witan) = self.both(Side::restart);
                compare(at, "RESTART", &etcd, &witan)?;
                self.restarted = self.etcd.now;
                self.audit(at)
            }
        }
    }

    /// Executes the same action on both servers at the same time. Returns etcd's answer first.
    fn both(&mut self, act: impl Fn(&mut Side) -> Answer + Sync) -> (Answer, Answer) {
        let (etcd, witan) = (&mut self.etcd, &mut self.witan);
        thread::scope(|scope| {
            let etcd = scope.spawn(|| act(etcd));
            let witan = act(witan);
            (etcd.join().expect("etcd does not fail"), witan)
        })
    }

    /// Compares the answers and records the code. Settles immediately if a key must expire.
    fn ask(&mut self, at: usize, request: &Request) -> Result<(), Stop> {
        let line = Step::Ask(request.clone()).to_string();
        let begun = Instant::now();
        for side in [&mut self.etcd, &mut self.witan] {
            side.send(request).expect("the server lives");
        }
        let etcd = self.etcd.receive(request);
        let witan = self.witan.receive(request);
        if etcd.length != witan.length && !self.lengths_hold_times(request) {
            let say = |answer: &Answer| format!("{} length {:?}", answer.line, answer.length);
            return Err(Stop::differs(at, &line, &say(&etcd), &say(&witan)));
        }
        compare(at, &line, &etcd, &witan)?;
        let action = action::action(request);
        let code = action::code(action, &etcd);
        self.report.coverage.hit(action, &code);
        if !self.etcd.short.is_empty() && self.short_since.is_none() {
            self.short_since = Some((begun, at));
        }
        if self.etcd.urgent {
            self.settle(at)?;
        }
        Ok(())
    }

    /// Returns whether the body that a HEAD omits contains a time, whose fraction varies in length.
    fn lengths_hold_times(&mut self, request: &Request) -> bool {
        let request = Request { method: "GET".into(), ..request.clone() };
        self.etcd.send(&request).expect("the server lives");
        self.etcd.receive(&request).body.contains("\"expiration\":")
    }

    fn watch(&mut self, at: usize, id: u32, request: Request) -> Result<(), Stop> {
        let line = Step::Watch(id, request.target.clone()).to_string();
        let etcd = self.etcd.watch(id, &request.target);
        let witan = self.witan.watch(id, &request.target);
        compare(at, &line, &etcd, &witan)?;
        let action = action::action(&request);
        self.report
            .coverage
            .hit(action, &action::code(action, &etcd));
        if etcd.status == 200 {
            self.opened.insert(id, (request, self.etcd.now));
        }
        Ok(())
    }

    /// Compares the events of a watch and closes it. Does nothing if the watch is not open.
    fn reap(&mut self, at: usize, id: u32) -> Result<(), Stop> {
        let (Some((request, began)), Some(mut etcd), Some(mut witan)) = (
            self.opened.remove(&id),
            self.etcd.unwatch(id),
            self.witan.unwatch(id),
        ) else {
            // The watch was refused, or its step was removed.
            return Ok(());
        };
        let excuse = |received: &[Answer]| {
            received
                .first()
                .and_then(|first| Excuse::of(&request, began, first))
        };
        collect(&mut etcd, &mut witan, |received| {
            excuse(received).map(Excuse::events_kept)
        });
        let (mut theirs, mut ours) = (etcd.lines(true), witan.lines(false));
        let mut ends = (etcd.ended, witan.ended);
        if let Some(excuse) = excuse(&theirs) {
            self.report.excuse(excuse.reason(), 1);
            let kept = excuse.events_kept();
            theirs.truncate(kept);
            ours.truncate(kept);
            ends = (false, false);
        }
        let same_event = |a: &Answer, b: &Answer| {
            if a.modified().is_some_and(|index| index <= self.restarted) {
                a.without_ttl().same(&b.without_ttl())
            } else {
                a.same(b)
            }
        };
        let same = theirs.len() == ours.len()
            && ends.0 == ends.1
            && theirs.iter().zip(&ours).all(|(a, b)| same_event(a, b));
        if !same {
            let line = format!("REAP {id} of GET {}", request.target);
            let say = |lines: &[Answer], ended: bool| {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                format!("ended: {ended}, received:\n    {}", lines.join("\n    "))
            };
            return Err(Stop::differs(
                at,
                &line,
                &say(&theirs, ends.0),
                &say(&ours, ends.1),
            ));
        }
        let row = if Parameters::of(&request).is("stream") {
            "stream event"
        } else {
            "watch event"
        };
        if theirs.is_empty() {
            self.report.coverage.hit(row, "none");
        }
        for event in &theirs {
            let json = event.json().unwrap_or(Value::Null);
            self.report
                .coverage
                .hit(row, json["action"].as_str().unwrap_or("no event"));
        }
        Ok(())
    }

    fn settle_if_due(&mut self, at: usize, step: &Step) -> Result<(), Stop> {
        match self.short_since {
            Some((_, since))
                if at > since + SHORT_STEPS || matches!(step, Step::Burst(..) | Step::Restart) =>
            {
                self.settle(at)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Waits until keys with a short TTL have expired. Fails with [`Stop::Slow`] if the steps before took too long.
    fn settle(&mut self, at: usize) -> Result<(), Stop> {
        let waits = !self.etcd.short.is_empty();
        let took = self
            .short_since
            .take()
            .map_or(Duration::ZERO, |(since, _)| since.elapsed());
        if took > SHORT_TIME {
            return Err(Stop::Slow(took));
        }
        let (etcd, witan) = (self.etcd.settle(), self.witan.settle());
        compare(at, "SETTLE", &etcd, &witan)?;
        if waits {
            self.report.coverage.hit("settled", "expired");
        }
        Ok(())
    }

    /// Compares the entire store.
    fn audit(&mut self, at: usize) -> Result<(), Stop> {
        self.ask(at, &Request::get("/v2/keys/?recursive=true"))
    }
}

/// Reads both watches until they have received the same number of events and fall silent. Gives up after [`LATE`]. `excused`
/// returns the number of events to compare for etcd's answers, if an excuse applies.
fn collect(etcd: &mut Watch, witan: &mut Watch, excused: impl Fn(&[Answer]) -> Option<usize>) {
    let begun = Instant::now();
    let mut known = (usize::MAX, usize::MAX);
    loop {
        etcd.pump(GRACE / 2);
        witan.pump(GRACE / 2);
        let now = (etcd.received.len(), witan.received.len());
        let (theirs, ours) = (etcd.lines(true), witan.lines(false));
        let even = match excused(&theirs) {
            Some(kept) => theirs.len() >= kept && ours.len() >= kept,
            None => theirs.len() == ours.len() && etcd.ended == witan.ended,
        };
        let quiet = now == known || (etcd.ended && witan.ended);
        if quiet && (even || begun.elapsed() > LATE) {
            return;
        }
        // No further event can reduce the difference.
        if quiet && etcd.ended && witan.ended {
            return;
        }
        known = now;
    }
}

fn compare(at: usize, line: &str, etcd: &Answer, witan: &Answer) -> Result<(), Stop> {
    if etcd.same(witan) {
        return Ok(());
    }
    Err(Stop::differs(at, &line, etcd, witan))
}
