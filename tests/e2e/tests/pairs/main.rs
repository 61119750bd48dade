//! Replays the recorded answers of etcd 3.4.23 in order on a new member. A table contains every deliberate difference with its
//! reason. The test fails for a difference that is not in the table and for a row whose difference does not occur. A replay on
//! etcd itself verifies the actions that the record omits (see `script`).
//!
//! Reading order: this file → `pair` (the record) → `script` → `replay` → `compare`.

mod compare;
mod pair;
mod replay;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
};

use pair::{Answer, Pair};
use replay::{Replay, Watch};
use script::Act;
use witan_e2e::{Kind, Launch, wait};

/// A deliberate difference.
struct Difference {
    id: &'static str,
    reason: &'static str,
    /// Number of events that Witan's watch receives, if it differs.
    lines: Option<usize>,
}

const fn differs(id: &'static str, reason: &'static str) -> Difference {
    Difference { id, reason, lines: None }
}

const fn shows(id: &'static str, lines: usize, reason: &'static str) -> Difference {
    Difference { id, reason, lines: Some(lines) }
}

const CLEAN: &str = "an unclean path is served, not redirected: a redirect turns a PUT into a GET";
const V1: &str = "the v1 dialect of etcd 0.1 is served, too";
const SATURATES: &str =
    "a time to live beyond the clock lasts as long as the clock, not forever or not at all";
const ONCE: &str = "a stream shows each event once";
const COUNTS: &str = "failed operations are counted as failures, and own look-ups are not counted";
const LEVEL: &str = "the version is the level of our v3 API";
const REASON: &str = "health gives a reason, empty when healthy, since etcd 3.5";
const PROBES: &str = "etcd 3.6 serves this probe";

const DIFFERENCES: &[Difference] = &[
    differs("A028", CLEAN),
    differs("A029", CLEAN),
    differs("A030", CLEAN),
    differs("A051", V1),
    differs("D017", SATURATES),
    differs("D018", SATURATES),
    differs("D019", SATURATES),
    differs("D021", SATURATES),
    differs("D023", SATURATES),
    shows("D046", 2, ONCE),
    shows(
        "E013",
        4,
        "a stream that begins in the history goes on through it and then live",
    ),
    shows("E018", 0, "the delete of /w is no event of /wxyz"),
    shows(
        "E022",
        0,
        "hidden nodes stay hidden when the history is read",
    ),
    shows("F001", 1, ONCE),
    shows("F003", 1, ONCE),
    differs("F039", COUNTS),
    differs("F046", LEVEL),
    differs("F049", REASON),
    differs("F052", REASON),
    differs("F053", REASON),
    differs("F061", PROBES),
    differs("F062", PROBES),
];

/// Pairs that are not replayed.
const SKIPPED: &[(&str, &str)] = &[
    (
        "M001",
        "counters of a session that the record holds only in part",
    ),
    (
        "M006",
        "counters of a session that the record holds only in part",
    ),
    ("M008", "deletes what the record did not write"),
];

/// The found differences by pair.
type Found = BTreeMap<String, Vec<String>>;

/// One replay of the record.
struct Run<'a> {
    replay: Replay,
    pairs: BTreeMap<String, Pair>,
    meant: &'a [Difference],
    opened: BTreeMap<String, Watch>,
    pending: Vec<String>,
    asked: usize,
    found: Found,
}

impl Run<'_> {
    fn step(&mut self, id: &str) {
        let pair = self.pairs[id].clone();
        let around = script::around(id);
        around.before.iter().for_each(|act| self.act(*act));
        if !pair.is_watch() {
            let answer = self.ask(&pair);
            self.judge(&pair, &answer);
            return;
        }
        self.open(id);
        self.pending.push(id.to_owned());
        around.after.iter().for_each(|act| self.act(*act));
        if !around.joint {
            for id in std::mem::take(&mut self.pending) {
                self.settle(&id);
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Open(id) => self.open(id),
            Act::Send(..) | Act::Spam => self.replay.act(act),
        }
    }

    fn ask(&self, pair: &Pair) -> Answer {
        let mut answer = self.replay.ask(pair);
        let meant = self.meant.iter().any(|difference| difference.id == pair.id);
        if script::PATIENT.contains(&pair.id.as_str()) && !meant {
            wait::until_true(&format!("{} as recorded, not {answer:?}", pair.id), || {
                answer = self.replay.ask(pair);
                compare::differences(pair, &answer).is_empty()
            });
        }
        answer
    }

    fn open(&mut self, id: &str) {
        if !self.opened.contains_key(id) {
            let watch = self.replay.open(&self.pairs[id]);
            self.opened.insert(id.to_owned(), watch);
        }
    }

    fn settle(&mut self, id: &str) {
        let pair = self.pairs[id].clone();
        let meant = self.meant.iter().find(|difference| difference.id == id);
        let lines = meant.and_then(|difference| difference.lines);
        let lines = lines.unwrap_or(pair.answer.body.lines().count());
        let watch = self.opened.remove(id).expect("it was opened");
        let answer = self.replay.settle(&pair, watch, lines);
        self.judge(&pair, &answer);
    }

    fn judge(&mut self, pair: &Pair, answer: &Answer) {
        self.asked += 1;
        let found = compare::differences(pair, answer);
        if !found.is_empty() {
            self.found.insert(pair.id.clone(), found);
        }
    }
}

/// Replays the record on a server of this kind.
fn run(kind: Kind, meant: &[Difference]) -> (usize, Found) {
    let replay = Replay::new(Launch::new(kind).start());
    let pairs = pair::read();
    let order: Vec<String> = pairs.iter().map(|pair| pair.id.clone()).collect();
    let mut run = Run {
        replay,
        pairs: pairs
            .into_iter()
            .map(|pair| (pair.id.clone(), pair))
            .collect(),
        meant,
        opened: BTreeMap::new(),
        pending: Vec::new(),
        asked: 0,
        found: Found::new(),
    };
    let ours = kind == Kind::Witan;
    for id in order
        .iter()
        .filter(|id| !SKIPPED.iter().any(|(skipped, _)| skipped == id))
    {
        match id.as_str() {
            // This pair writes on Witan, which would shift every later index.
            "A028" if ours => continue,
            // Delete the key that etcd considered expired.
            "D021" if ours => run.replay.act(Act::Send("DELETE", "/ttl/big3", "")),
            "M002" => {
                if ours {
                    run.step("A028");
                }
                begin_restart(&mut run.replay);
            }
            "M003" => {
                run.replay.server.kill9();
                run.replay.server.start_again();
            }
            _ => {}
        }
        run.step(id);
    }
    (run.asked, run.found)
}

/// Writes the data that section M reads and determines the shift of its indexes.
fn begin_restart(replay: &mut Replay) {
    const RECORDED_INDEX: i64 = 1263;
    let first = replay.server.http("PUT", "/v2/keys/rs/a", "value=1");
    let index = first.json()["node"]["modifiedIndex"]
        .as_i64()
        .expect("an index");
    replay.act(Act::Send("PUT", "/rs/t", "value=1&ttl=3"));
    replay.shift = RECORDED_INDEX - index;
}

/// Replays the record. Returns the number of equal pairs. Fails with unexpected differences and with expected differences that
/// do not occur.
fn check(kind: Kind, meant: &[Difference]) -> Result<String, String> {
    let (asked, found) = run(kind, meant);
    let is_meant = |id: &str| meant.iter().any(|difference| difference.id == id);
    let mut faults = Vec::new();
    for (id, lines) in found.iter().filter(|(id, _)| !is_meant(id)) {
        faults.push(format!("{id}\n  {}", lines.join("\n  ")));
    }
    let occurred: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    for Difference { id, reason, .. } in meant.iter().filter(|d| !occurred.contains(d.id)) {
        faults.push(format!(
            "{id} answers as recorded, though it should not: {reason}"
        ));
    }
    let equal = format!(
        "{}: {} of {asked} pairs equal",
        kind.name(),
        asked - found.len()
    );
    if !faults.is_empty() {
        return Err(format!(
            "{equal}, {} faults:\n{}",
            faults.len(),
            faults.join("\n")
        ));
    }
    Ok(format!("{equal}, {} differ as meant", found.len()))
}

/// Repeats the replay on a new member if the responses differ, because a member that stalls while a TTL ends answers differently.
fn answers_as_recorded(kind: Kind, meant: &[Difference]) {
    wait::undisturbed(|| {
        let equal = check(kind, meant)?;
        let _ = writeln!(io::stderr(), "{equal}");
        Ok(())
    });
}

#[test]
fn witan_answers_as_recorded() {
    answers_as_recorded(Kind::Witan, DIFFERENCES);
}

/// Verifies the script against etcd.
#[test]
fn etcd_answers_as_recorded() {
    let meant = [differs("F039", "the replay asks some reads more than once")];
    answers_as_recorded(Kind::Etcd34, &meant);
}
