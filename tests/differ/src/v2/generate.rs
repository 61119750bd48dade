//! Draws the sequence of steps for a seed, as a pure function. There are few names, so that requests affect the same nodes.
//! Each refusal of the parser is drawn in turn for each action, so that no run misses one.

use std::collections::VecDeque;

use super::{
    action,
    paths::{self, Plainness},
    step::{How, Request, Step},
    words::{FALSE, FAULTS, FAULTY, KINDS, Kind, MEDIA, TRUE, conditions, flag, value, wait_index},
};
use crate::rng::Rng;

/// Extra parameters that matter to some requests, with weights. A parameter without a value gets a random value.
const EXTRAS: [(u64, &str); 10] = [
    (30, "ttl"),
    (6, "dir"),
    (6, "recursive"),
    (4, "sorted"),
    (10, "noValueOnSuccess"),
    (8, "refresh=true&ttl=900&value="),
    (4, "prevIndex=0"),
    (4, "waitIndex=0"),
    (4, "unknown=1&Value=2&&="),
    (3, "value=2"),
];

/// Number of writes in a burst. They exceed the history.
const BURST: std::ops::Range<u64> = 1010..1200;

/// Percentage of steps that the parser must refuse.
const FAULT_PERCENT: u64 = 11;
const WATCHES_MAX: usize = 10;
/// One step in this many starts a group of writes with a short TTL, whose expiration the run awaits.
const SHORT_ONE_IN: u64 = 250;
/// Number of steps after the first step of such a group. Some of them also write with a short TTL.
const SHORT_MORE: usize = 6;

/// Maximum number of remembered writes.
const RECENT_MAX: usize = 8;

/// Returns the sequence of steps for a seed.
pub(super) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut maker = Maker {
        rng: Rng::new(seed),
        faults: 0,
        watches: Vec::new(),
        opened: 0,
        short_left: 0,
        recent: Vec::new(),
        next: walk().collect(),
    };
    // Start at a random fault, so that the last one varies.
    maker.faults = maker.rng.below(FAULTS.len() * FAULTY.len());
    let burst_at = count * 2 / 3;
    (0..count)
        .map(|at| {
            if at == burst_at {
                maker.past();
            }
            if at == count / 3 || at == count - 1 {
                maker.next.push_back(Step::Restart);
            }
            maker.step()
        })
        .collect()
}

/// Returns steps for answers that random steps rarely reach. A run starts with them.
fn walk() -> impl Iterator<Item = Step> {
    let lines = include_str!("walk.steps").lines();
    lines.map(|line| Step::parse(line).expect("the walk has valid steps"))
}

struct Maker {
    rng: Rng,
    faults: usize,
    watches: Vec<u32>,
    opened: u32,
    short_left: usize,
    /// Path and value of recent writes.
    recent: Vec<(String, String)>,
    /// Steps to return before the next random step.
    next: VecDeque<Step>,
}

impl Maker {
    /// Returns the next queued step, or draws one. An open watch is collected at random, and always if there are
    /// [`WATCHES_MAX`].
    fn step(&mut self) -> Step {
        if let Some(next) = self.next.pop_front() {
            return next;
        }
        if !self.watches.is_empty() {
            let full = self.watches.len() >= WATCHES_MAX;
            if full || self.rng.chance(6) {
                // Mostly collect the oldest watch, which has most likely received events.
                let at = match self.rng.chance(70) {
                    true => 0,
                    false => self.rng.below(self.watches.len()),
                };
                return Step::Reap(self.watches.remove(at));
            }
        }
        if self.rng.chance(FAULT_PERCENT) {
            return self.fault();
        }
        if self.rng.chance(1) {
            return self.faults();
        }
        if self.rng.range(1, SHORT_ONE_IN) == 1 {
            self.short_left = SHORT_MORE;
            return self.short();
        }
        if self.short_left > 0 {
            self.short_left -= 1;
            if self.rng.chance(50) {
                return self.short();
            }
        }
        let kind = self.rng.weighted(&KINDS);
        let mut parameters = self.parameters(kind);
        self.noise(kind, &mut parameters);
        let plainness = if self.rng.chance(20) {
            Plainness::Any
        } else if matches!(kind, Kind::Watch | Kind::Stream) {
            Plainness::Watched
        } else if matches!(kind, Kind::Swap | Kind::DeleteIf) {
            // A missing key cannot be compared.
            Plainness::Plain
        } else {
            Plainness::Any
        };
        let mut path = paths::path(&mut self.rng, plainness);
        if matches!(kind, Kind::Swap | Kind::DeleteIf | Kind::Update)
            && !self.recent.is_empty()
            && self.rng.chance(60)
        {
            let (lately, value) = self.rng.pick(&self.recent).clone();
            path = lately;
            let knows = self.rng.chance(60);
            for pair in parameters.iter_mut().filter(|_| knows) {
                if pair.starts_with("prevValue=") && !value.is_empty() {
                    *pair = format!("prevValue={value}");
                }
            }
        }
        self.request(kind, path, parameters)
    }

    /// Returns the next of the faulty requests, which take turns.
    fn fault(&mut self) -> Step {
        let cell = self.faults;
        self.faults += 1;
        let kind = FAULTY[cell % FAULTY.len()];
        let fault = *self.rng.pick(FAULTS[cell / FAULTY.len() % FAULTS.len()]);
        let mut parameters: Vec<String> = match kind {
            Kind::QuorumGet => vec!["quorum=true".into()],
            Kind::Watch => vec!["wait=true".into()],
            Kind::Stream => vec!["wait=true".into(), "stream=true".into()],
            Kind::Create => vec!["prevExist=false".into()],
            Kind::Update => vec!["prevExist=true".into()],
            // With a fault in one condition, the other condition still determines the action.
            Kind::Swap | Kind::DeleteIf if fault.starts_with("prevIndex") => {
                vec!["prevValue=1".into()]
            }
            Kind::Swap | Kind::DeleteIf => vec!["prevIndex=7".into()],
            Kind::Get | Kind::Head | Kind::Set | Kind::Delete | Kind::Post | Kind::Other => {
                Vec::new()
            }
        };
        let at = self.rng.below(parameters.len() + 1);
        parameters.insert(at, fault.into());
        let path = paths::path(&mut self.rng, Plainness::Plain);
        self.request(kind, path, parameters)
    }

    /// Returns a request with two faults. A server reports only one of them.
    fn faults(&mut self) -> Step {
        let parameters: Vec<String> = (0..2)
            .map(|_| {
                let ways = FAULTS[self.rng.below(FAULTS.len())];
                (*self.rng.pick(ways)).into()
            })
            .collect();
        let kind = *self.rng.pick(&FAULTY);
        let path = paths::path(&mut self.rng, Plainness::Any);
        self.request(kind, path, parameters)
    }

    /// Queues enough events that the history drops the first ones, and watches before and after the oldest kept index.
    fn past(&mut self) {
        // etcd closes a stream that lags by a hundred events.
        let open = std::mem::take(&mut self.watches);
        self.next.extend(open.into_iter().map(Step::Reap));
        let long = self.rng.range(BURST.start, BURST.end);
        let long = u32::try_from(long).expect("a short range");
        let burst = Step::Burst(long, "/v2/keys/noise".into());
        self.next.push_back(burst);
        for (index, stream) in [("1", true), ("1", false), ("{now-1000}", false)] {
            self.wait(&format!("wait=true&stream={stream}&waitIndex={index}"));
        }
        for back in 998..1000 {
            self.wait(&format!(
                "wait=true&recursive=true&waitIndex={{now-{back}}}"
            ));
        }
    }

    /// Queues a watch on the root.
    fn wait(&mut self, query: &str) {
        let watch = self.watch(format!("/v2/keys?{query}"));
        self.next.push_back(watch);
    }

    /// Returns a step that opens a watch.
    fn watch(&mut self, target: String) -> Step {
        self.opened += 1;
        self.watches.push(self.opened);
        Step::Watch(self.opened, target)
    }

    /// Returns a write that expires while the run waits for it.
    fn short(&mut self) -> Step {
        let kind = *self.rng.pick(&[
            Kind::Set,
            Kind::Set,
            Kind::Create,
            Kind::Update,
            Kind::Swap,
            Kind::Post,
        ]);
        let ttl = self.rng.weighted(&[(8, "2"), (4, "3"), (1, "0")]);
        let mut parameters: Vec<String> = self.parameters(kind);
        parameters.retain(|pair| !pair.starts_with("ttl=") && !pair.starts_with("noValue"));
        if self.rng.chance(25) {
            parameters.push("dir=true".into());
        }
        if self.rng.chance(20) {
            parameters.retain(|pair| !pair.starts_with("value="));
            parameters.push("refresh=true".into());
        }
        parameters.push(format!("ttl={ttl}"));
        let path = paths::path(&mut self.rng, Plainness::Plain);
        if self.rng.chance(50) && self.watches.len() < WATCHES_MAX {
            let (recursive, stream) = (flag(&mut self.rng), flag(&mut self.rng));
            let target = format!("{path}?wait=true&recursive={recursive}&stream={stream}");
            let watch = self.watch(target);
            self.next.push_back(watch);
        }
        self.request(kind, path, parameters)
    }

    /// Remembers the path and the value of a write that may have set a node.
    fn remember(&mut self, kind: Kind, path: &str, parameters: &[String]) {
        let value = parameters
            .iter()
            .find_map(|pair| pair.strip_prefix("value="));
        if let (Kind::Set | Kind::Create | Kind::Swap, Some(value)) = (kind, value) {
            if self.recent.len() >= RECENT_MAX {
                self.recent.remove(0);
            }
            self.recent.push((path.into(), value.into()));
        }
    }

    fn parameters(&mut self, kind: Kind) -> Vec<String> {
        let rng = &mut self.rng;
        let mut parameters = Vec::new();
        let mut give = |rng: &mut Rng, percent: u64, text: String| {
            if rng.chance(percent) {
                parameters.push(text);
            }
        };
        let value = value(rng);
        match kind {
            Kind::Get | Kind::QuorumGet | Kind::Head => {
                let (recursive, sorted) = (flag(rng), flag(rng));
                give(rng, 40, format!("recursive={recursive}"));
                give(rng, 30, format!("sorted={sorted}"));
                if kind == Kind::QuorumGet {
                    give(rng, 100, format!("quorum={}", TRUE[0]));
                    give(rng, 20, "wait=true".into());
                }
            }
            Kind::Watch | Kind::Stream => {
                give(rng, 100, "wait=true".into());
                give(rng, 60, "recursive=true".into());
                if kind == Kind::Stream {
                    give(rng, 100, "stream=true".into());
                }
                let index = wait_index(rng);
                give(rng, 50, format!("waitIndex={index}"));
            }
            Kind::Set | Kind::Post => {
                give(rng, 92, format!("value={value}"));
                give(rng, 15, "dir=true".into());
            }
            Kind::Create => {
                give(rng, 92, format!("value={value}"));
                let no = *rng.pick(&FALSE);
                give(rng, 100, format!("prevExist={no}"));
                give(rng, 20, "dir=true".into());
            }
            Kind::Update => {
                give(rng, 60, format!("value={value}"));
                let yes = *rng.pick(&TRUE);
                give(rng, 100, format!("prevExist={yes}"));
                give(rng, 20, "dir=true".into());
            }
            Kind::Swap => {
                give(rng, 92, format!("value={value}"));
                conditions(rng, &mut parameters);
            }
            Kind::DeleteIf => conditions(rng, &mut parameters),
            Kind::Delete => {
                give(rng, 40, "recursive=true".into());
                give(rng, 25, "dir=true".into());
            }
            Kind::Other => {}
        }
        parameters
    }

    /// Adds valid parameters that may have no effect.
    fn noise(&mut self, kind: Kind, parameters: &mut Vec<String>) {
        let rng = &mut self.rng;
        if kind == Kind::Other || !rng.chance(45) {
            return;
        }
        let ttl = *rng.pick(&["1000", "500", "77", "", "100000"]);
        for _ in 0..rng.range(1, 2) {
            let flag = flag(rng);
            let extra = match rng.weighted(&EXTRAS) {
                "ttl" => format!("ttl={ttl}"),
                flagged if !flagged.contains('=') => format!("{flagged}={flag}"),
                extra => extra.into(),
            };
            let at = rng.below(parameters.len() + 1);
            parameters.insert(at, extra);
        }
        if kind == Kind::Set && rng.chance(20) {
            parameters.push("stream=true".into());
        }
    }

    /// Returns the request of a kind with its parameters spread over query and form, or a step that opens a watch.
    fn request(&mut self, kind: Kind, path: String, parameters: Vec<String>) -> Step {
        self.remember(kind, &path, &parameters);
        let rng = &mut self.rng;
        let method = match kind {
            Kind::Get | Kind::QuorumGet | Kind::Watch | Kind::Stream => "GET",
            Kind::Head => "HEAD",
            Kind::Set | Kind::Create | Kind::Update | Kind::Swap => "PUT",
            Kind::Delete | Kind::DeleteIf => "DELETE",
            Kind::Post => "POST",
            Kind::Other => rng.pick(&["PATCH", "TRACE", "OPTIONS", "FOO", "get"]),
        };
        let writes = matches!(method, "PUT" | "POST");
        let (mut query, mut form) = (Vec::new(), Vec::new());
        for pair in parameters {
            let in_form = writes && rng.chance(if pair.starts_with("value") { 85 } else { 35 });
            let both = writes && rng.chance(3);
            if in_form || both {
                form.push(pair.clone());
            }
            if !in_form || both {
                query.push(pair);
            }
        }
        let mut target = path;
        if !query.is_empty() || rng.chance(1) {
            target.push('?');
            // A raw space ends the target.
            target.push_str(&query.join("&").replace(' ', "%20"));
        }
        let bodied = writes || rng.chance(5) && method != "TRACE";
        if bodied && !writes {
            form.push("value=9&prevValue=none&recursive=true".into());
        }
        let mut request = Request {
            method: method.into(),
            body: (bodied && !form.is_empty()).then(|| form.join("&")),
            ..Request::get(&target)
        };
        if request.body.is_some() && rng.chance(4) {
            request.media = Some((*rng.pick(&MEDIA)).into());
        }
        if rng.chance(5) {
            request.how = *rng.pick(&How::ODD);
        }
        // See `excuse::NOT_SENT`.
        let is_key = action::key(&request.target).is_some();
        let read = writes && is_key && request.media.is_none() && request.body.is_some();
        let supported = match request.how {
            How::Expecting => read,
            How::Old => is_key,
            How::Plain | How::Chunked | How::Absolute | How::Lower => true,
        };
        if !supported {
            request.how = How::Plain;
        }
        // Open a watch instead of a GET that waits, because the GET might not be answered.
        if matches!(action::action(&request), "watch" | "stream") {
            return self.watch(request.target);
        }
        Step::Ask(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_a_sequence_whose_lines_parse() {
        let some = steps(5, 2000);
        assert_eq!(some, steps(5, 2000));
        assert_ne!(some, steps(6, 2000));
        for step in some {
            let line = step.to_string();
            assert_eq!(Step::parse(&line), Ok(step), "{line}");
        }
    }
}
