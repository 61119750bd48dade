//! The sequence of requests for a seed: random requests in three forms, mixed with requests that would otherwise be too rare.

use std::fmt::Write as _;

use super::{
    Era, body,
    draw::{Draw, Drawn, refer},
    side::REQUEST_BYTES_MAX,
    step::Step,
};
use crate::rng::Rng;

/// Divisor of a sequence's length. The quotient is the length of the part before the first compaction.
const BEFORE_COMPACTION: usize = 20;
/// The first compaction, of existing revisions.
const FIRST_COMPACTION: [&str; 3] = [
    r#"grpc put {"key":"YQ=="}"#,
    r#"grpc put {"key":"YQ=="}"#,
    r#"grpc compact {"revision":"@"}"#,
];

/// Returns the sequence of requests for a seed.
pub(super) fn of_seed(era: Era, seed: u64, count: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let many = rng.chance(25);
    let mut groups: Vec<Vec<Step>> = (0..count)
        .map(|_| {
            vec![match rng.index(&[60, 36, 4]) {
                0 => plain(&Draw::new(&mut rng, many, era).any()),
                1 => gateway(&mut rng, many, era),
                _ => raw(&mut rng, many, era),
            }]
        })
        .collect();
    // A short part of the sequence has no compacted revision.
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

/// Returns steps that random drawing reaches too rarely, in groups that belong together.
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

/// Draws a message's bytes and truncates them, damages them, or adds an unknown field.
fn raw(rng: &mut Rng, many: bool, era: Era) -> Step {
    let (drawn, mut message) = Draw::new(rng, many, era).message();
    let damaged = matches!(drawn, Drawn::Range(_)) && era == Era::Present;
    let how = match !damaged {
        // A damaged write must not be accepted by one server only (see `known`), and etcd 3.4 panics at an unknown sort target.
        true => 2 * rng.below(2),
        false => rng.below(3),
    };
    match how {
        0 => message.truncate(rng.below(message.len() + 1)),
        1 if !message.is_empty() => {
            let at = rng.below(message.len());
            message[at] = rng.draw().to_le_bytes()[0];
        }
        // Field 100 with two bytes.
        _ => message.extend([0xa2, 0x06, 0x02, 0x01, 0x02]),
    }
    let mut line = format!("raw {} ", drawn.verb());
    for byte in message {
        let _ = write!(line, "{byte:02x}");
    }
    Step::new(line)
}

/// Sizes in bytes just below and above the limit of requests, and just below and above the limit of messages.
const SIZES: [usize; 4] = [
    REQUEST_BYTES_MAX - 1500,
    REQUEST_BYTES_MAX + 200,
    REQUEST_BYTES_MAX + (512 << 10) - 300,
    REQUEST_BYTES_MAX + (512 << 10) + 300,
];

/// Returns requests at the size limits, each with a request that removes its effects.
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
