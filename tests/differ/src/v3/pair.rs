//! A sequence against two servers: what is asked, whether the answers agree, and the shortest
//! sequence that still shows a difference.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use witan_e2e::Kind;

use super::{
    Era, body, cells,
    draw::{Draw, Drawn, refer},
    known,
    side::{Answer, REQUEST_BYTES_MAX, Side},
    step::{self, Ask, Now, Step},
    table,
};
use crate::{coverage::Coverage, rng::Rng, script::Script, shrink::shrink};

/// Sequences that are tried to make a failing one shorter; each starts two servers.
const SHRINK_ATTEMPTS: usize = 150;
/// Bytes of an answer that a report shows.
const SHOWN_BYTES_MAX: usize = 1500;

/// The part of a sequence before its first compaction, as a divisor.
const BEFORE_COMPACTION: usize = 20;
/// The first compaction, of revisions that are there.
const FIRST_COMPACTION: [&str; 3] = [
    r#"grpc put {"key":"YQ=="}"#,
    r#"grpc put {"key":"YQ=="}"#,
    r#"grpc compact {"revision":"@"}"#,
];

/// What one sequence came to.
#[derive(Debug)]
pub struct Outcome {
    /// Requests that were sent to each.
    pub asked: usize,
    /// What was reached.
    pub coverage: Coverage,
    /// Differences that are meant, by reason.
    pub known: BTreeMap<&'static str, u64>,
    /// The first that is not.
    pub difference: Option<Difference>,
}

/// A fresh cluster.
const START: Now = Now {
    revision: 1,
    compacted: 0,
};

/// A request that was answered differently, and all before it.
#[derive(Debug)]
pub struct Difference {
    era: Era,
    seed: u64,
    lines: Vec<String>,
    ours: String,
    theirs: String,
}

/// Two servers in the same state.
struct Pair {
    ours: Side,
    theirs: Side,
    now: Now,
}

/// A request and both answers.
struct Exchange {
    ask: Ask,
    ours: Answer,
    theirs: Answer,
}

impl Exchange {
    fn differs(&self, era: Era) -> bool {
        self.ours != self.theirs
            && known::reason(era, &self.ask, &self.ours.line, &self.theirs.line).is_none()
    }
}

impl Pair {
    async fn start(era: Era) -> Self {
        Self {
            ours: Side::start(Kind::Witan).await,
            theirs: Side::start(etcd(era)).await,
            now: START,
        }
    }

    async fn exchange(&mut self, line: &str) -> Exchange {
        let ask = step::parse(line, self.now).expect("a line of a sequence is a request");
        let ours = self.ours.ask(&ask).await;
        let theirs = self.theirs.ask(&ask).await;
        follow(&mut self.now, &ask, &theirs);
        Exchange { ask, ours, theirs }
    }
}

fn etcd(era: Era) -> Kind {
    match era {
        Era::Present => Kind::Etcd36,
        Era::Former => Kind::Etcd34,
    }
}

/// What a request has changed, as far as later ones refer to it.
fn follow(now: &mut Now, ask: &Ask, answer: &Answer) {
    if let Some(revision) = answer.revision {
        now.revision = now.revision.max(revision);
        if let Some(compacted) = cells::compacted(ask) {
            now.compacted = now.compacted.max(compacted);
        }
    }
}

/// One seeded sequence.
pub(crate) async fn run(era: Era, seed: u64, steps: usize) -> Outcome {
    let steps = sequence(era, seed, steps);
    let mut pair = Pair::start(era).await;
    let mut outcome = Outcome {
        asked: 0,
        coverage: table::coverage(era),
        known: BTreeMap::new(),
        difference: None,
    };
    for (at, step) in steps.iter().enumerate() {
        let exchange = pair.exchange(&step.line).await;
        outcome.asked += 1;
        if exchange.differs(era) {
            let lines = steps[..=at].iter().map(|step| step.line.clone());
            outcome.difference = Some(Difference {
                era,
                seed,
                lines: lines.collect(),
                ours: exchange.ours.line,
                theirs: exchange.theirs.line,
            });
            break;
        }
        if exchange.ours != exchange.theirs
            && let Some(reason) = known::reason(
                era,
                &exchange.ask,
                &exchange.ours.line,
                &exchange.theirs.line,
            )
        {
            *outcome.known.entry(reason).or_default() += 1;
        }
        cells::hit(
            &mut outcome.coverage,
            era,
            step,
            &exchange.ask,
            &exchange.ours.line,
        );
    }
    outcome
}

/// One server alone, for kept scripts.
pub(crate) struct Replay {
    era: Era,
    side: Side,
    now: Now,
}

/// What it answered.
pub(crate) struct Replayed {
    era: Era,
    ask: Ask,
    answer: Answer,
}

impl Replay {
    pub(crate) async fn start(era: Era, ours: bool) -> Self {
        let kind = if ours { Kind::Witan } else { etcd(era) };
        Self {
            era,
            side: Side::start(kind).await,
            now: START,
        }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> Replayed {
        let ask = step::parse(line, self.now).unwrap_or_else(|problem| panic!("{problem}"));
        let answer = self.side.ask(&ask).await;
        follow(&mut self.now, &ask, &answer);
        Replayed {
            era: self.era,
            ask,
            answer,
        }
    }
}

impl Replayed {
    pub(crate) fn line(&self) -> &str {
        &self.answer.line
    }

    /// Whether etcd's answer is the same, or may be another.
    pub(crate) fn agrees(&self, theirs: &str) -> bool {
        self.line() == theirs || known::reason(self.era, &self.ask, self.line(), theirs).is_some()
    }
}

/// The requests of a seed.
fn sequence(era: Era, seed: u64, count: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let many = rng.chance(25);
    let mut groups: Vec<Vec<Step>> = (0..count)
        .map(|_| {
            vec![match rng.weighted(&[(60, 0), (36, 1), (4, 2)]) {
                0 => plain(&Draw::new(&mut rng, many, era).any()),
                1 => gateway(&mut rng, many, era),
                _ => raw(&mut rng, many, era),
            }]
        })
        .collect();
    // a short time without a compacted revision, then there is always one
    let first = count / BEFORE_COMPACTION;
    for group in every(&mut rng, many, era) {
        let at = first + rng.below(groups.len() - first + 1);
        groups.insert(at, group);
    }
    groups.insert(
        first,
        FIRST_COMPACTION.map(|line| Step::new(line.into())).to_vec(),
    );
    groups.concat()
}

fn plain(drawn: &Drawn) -> Step {
    let json = refer(&drawn.json().to_string());
    Step::new(format!("grpc {} {json}", drawn.verb()))
}

/// What chance alone reaches too seldom, in groups that belong together.
fn every(rng: &mut Rng, many: bool, era: Era) -> Vec<Vec<Step>> {
    let mut draw = Draw::new(rng, many, era);
    let refusals = draw.refusals();
    let mut groups: Vec<Vec<Step>> = refusals.iter().map(|drawn| vec![plain(drawn)]).collect();
    groups.push(Draw::comparisons().iter().map(plain).collect());
    let puts = refusals
        .into_iter()
        .filter(|drawn| matches!(drawn, Drawn::Put(_)));
    for drawn in puts.chain(draw.refused_txns()).chain(Draw::compactions()) {
        let body = body::plain(draw.rng(), era, &drawn);
        groups.push(vec![plain(&drawn)]);
        groups.push(vec![bodied(draw.rng(), era, &drawn, &body)]);
    }
    let odd = body::every(rng, era, |rng| Draw::new(rng, many, era).any());
    for (drawn, body, oddity) in odd {
        let mut step = bodied(rng, era, &drawn, &body);
        step.oddity = Some(oddity);
        groups.push(vec![step]);
    }
    groups.extend(large(rng, era).map(Vec::from));
    groups
}

fn bodied(rng: &mut Rng, era: Era, drawn: &Drawn, body: &str) -> Step {
    Step::new(format!("json {} {} {body}", prefix(rng, era), path(drawn)))
}

fn prefix(rng: &mut Rng, era: Era) -> &'static str {
    match era {
        Era::Present => "v3",
        Era::Former if rng.chance(50) => "v3beta",
        Era::Former => "v3alpha",
    }
}

fn path(drawn: &Drawn) -> &'static str {
    match drawn {
        Drawn::Put(_) => "kv/put",
        Drawn::Range(_) => "kv/range",
        Drawn::Delete(_) => "kv/deleterange",
        Drawn::Txn(_) => "kv/txn",
        Drawn::Compact(_) => "kv/compaction",
    }
}

fn gateway(rng: &mut Rng, many: bool, era: Era) -> Step {
    let drawn = Draw::new(rng, many, era).any();
    let (body, oddity) = body::draw(rng, era, &drawn.json(), drawn.puts());
    let step = bodied(rng, era, &drawn, &body);
    Step { oddity, ..step }
}

/// A message's bytes, cut, damaged or with a field that nobody knows.
fn raw(rng: &mut Rng, many: bool, era: Era) -> Step {
    let (drawn, mut message) = Draw::new(rng, many, era).message();
    let damaged = matches!(drawn, Drawn::Range(_)) && era == Era::Present;
    let how = match !damaged {
        // a write must not be understood by one alone, see `known`, and 3.4 panics at a sort target
        // that it does not know
        true => 2 * rng.below(2),
        false => rng.below(3),
    };
    match how {
        0 => message.truncate(rng.below(message.len() + 1)),
        1 if !message.is_empty() => {
            let at = rng.below(message.len());
            message[at] = rng.draw().to_le_bytes()[0];
        }
        // field 100, two bytes
        _ => message.extend([0xa2, 0x06, 0x02, 0x01, 0x02]),
    }
    let mut line = format!("raw {} ", drawn.verb());
    for byte in message {
        let _ = write!(line, "{byte:02x}");
    }
    Step::new(line)
}

/// Just below the limit of requests, just above it; just below that of messages, and above it.
const SIZES: [usize; 4] = [
    REQUEST_BYTES_MAX - 1500,
    REQUEST_BYTES_MAX + 200,
    REQUEST_BYTES_MAX + (512 << 10) - 300,
    REQUEST_BYTES_MAX + (512 << 10) + 300,
];

/// Requests at the limits of size, each with one that removes its traces.
fn large(rng: &mut Rng, era: Era) -> impl Iterator<Item = [Step; 2]> {
    let prefix = prefix(rng, era);
    let [fits, too_large, still_read, over_max] = SIZES;
    let [put, delete, ranges, gateway] = [
        &[fits, too_large, still_read, over_max][..],
        &[too_large, over_max],
        &[still_read, over_max],
        &[fits, too_large, over_max],
    ];
    let forms: [(&[usize], &str, &str); 7] = [
        (put, r#"grpc put {"key":"YQ==","value":"#, "}"),
        (delete, r#"grpc delete {"key":"#, "}"),
        (
            delete,
            r#"grpc txn {"success":[{"request_put":{"key":"YQ==","value":"#,
            "}}]}",
        ),
        (
            ranges,
            r#"grpc txn {"success":[{"request_range":{"key":"#,
            "}}]}",
        ),
        (ranges, r#"grpc range {"key":"#, "}"),
        (gateway, r#"kv/put {"key":"YQ==","value":"#, "}"),
        (&[over_max], r#"kv/range {"key":"#, "}"),
    ];
    let mut steps = Vec::new();
    for (sizes, before, after) in forms {
        let json = if before.starts_with("kv/") {
            format!("json {prefix} ")
        } else {
            String::new()
        };
        for size in sizes {
            steps.push([
                Step::new(format!("{json}{before}\"*{size}\"{after}")),
                Step::new(r#"grpc delete {"key":"YQ=="}"#.into()),
            ]);
        }
    }
    steps.into_iter()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "request {} of seed {} beside etcd {}\n{}\n ours {}\netcd's {}",
            self.lines.len(),
            self.seed,
            self.era.name(),
            cut(self.lines.last().map_or("", |line| line)),
            cut(&self.ours),
            cut(&self.theirs),
        )
    }
}

impl Difference {
    /// The shortest sequence found that still shows a difference.
    pub(crate) async fn shorter(self) -> Script {
        let era = self.era;
        let short = shrink(self.lines, SHRINK_ATTEMPTS, async |lines: &[String]| {
            let mut pair = Pair::start(era).await;
            for line in lines {
                if pair.exchange(line).await.differs(era) {
                    return true;
                }
            }
            false
        })
        .await;
        Script {
            why: vec![format!(
                "Beside etcd {}, out of seed {}",
                era.name(),
                self.seed
            )],
            requests: short,
            answers: Vec::new(),
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_BYTES_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}
