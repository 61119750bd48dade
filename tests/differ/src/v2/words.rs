//! The parts of requests: intended kinds, values, flags, faults and content types.

use crate::rng::Rng;

/// The intended kind of a step. `action` determines the actual kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    QuorumGet,
    Head,
    Watch,
    Stream,
    Set,
    Create,
    Update,
    Swap,
    DeleteIf,
    Delete,
    Post,
    Other,
}

/// The weights of the kinds.
pub(super) const KINDS: [(u64, Kind); 13] = [
    (15, Kind::Get),
    (4, Kind::QuorumGet),
    (3, Kind::Head),
    (5, Kind::Watch),
    (3, Kind::Stream),
    (22, Kind::Set),
    (8, Kind::Create),
    (10, Kind::Update),
    (12, Kind::Swap),
    (7, Kind::DeleteIf),
    (12, Kind::Delete),
    (5, Kind::Post),
    (1, Kind::Other),
];

/// Faulty parameters for each error code of the parser, in several variants.
pub(super) const FAULTS: &[&[&str]] = &[
    &["prevValue="],
    &[
        "ttl=abc",
        "ttl=-1",
        "ttl=1.5",
        "ttl=18446744073709551616",
        "ttl=+5",
        "ttl=%2B5",
        "ttl=0x1",
        "ttl= 5",
        "ttl=1_000",
    ],
    &[
        "prevIndex=",
        "prevIndex=x",
        "prevIndex=-1",
        "waitIndex=1.0",
        "waitIndex=",
        "waitIndex=18446744073709551616",
        "prevIndex=%2B7",
        "waitIndex=0x10",
        "prevIndex=1_0",
    ],
    &[
        "recursive=",
        "recursive",
        "sorted=bogus",
        "dir=yes",
        "quorum=2",
        "stream=tRUE",
        "noValueOnSuccess=",
        "prevExist=",
        "prevExist=no",
        "refresh=q",
        "wait=TRue",
    ],
    &[
        "a;b",
        "value=%zz",
        "value=%",
        "%4",
        "x=1;y=2",
        "%g1=2",
        "value=%ZZ&a;b",
        "a;b&value=%zz",
        "value=%e",
    ],
    &["refresh=true&value=x&ttl=7", "refresh=1&value=x"],
    &["refresh=true", "refresh=T&ttl=", "refresh=TRUE&value="],
];

/// The kinds that get faults, in turn.
pub(super) const FAULTY: [Kind; 12] = [
    Kind::Get,
    Kind::Head,
    Kind::QuorumGet,
    Kind::Watch,
    Kind::Stream,
    Kind::Set,
    Kind::Create,
    Kind::Update,
    Kind::Swap,
    Kind::DeleteIf,
    Kind::Delete,
    Kind::Post,
];

/// Form-encoded values with weights. `LONG` represents a long value.
pub(super) const VALUES: [(u64, &str); 18] = [
    (30, "1"),
    (20, "2"),
    (8, "3"),
    (6, ""),
    (3, "a%26b"),
    (2, "%3C%3E%26%22%5C"),
    (2, "%ff"),
    (2, "a+b"),
    (1, "%E2%80%A8%e2%80%a9"),
    (1, "%00%01%7f%0a%0d%09%08%0c"),
    (1, "é"),
    (1, "%C3%28%ed%a0%80%f4%90%80%80x"),
    (1, "%7B%22json%22%3A%5B1%5D%7D"),
    (1, "a=b=c"),
    (1, "%EF%BF%BD%F0%9F%98%80"),
    (2, "LONG"),
    (2, "EDGE"),
    (1, " x "),
];

/// Lengths of values that result in bodies of about 2048 bytes.
const EDGE: std::ops::Range<usize> = 1900..2000;

/// Spellings of true.
pub(super) const TRUE: [&str; 8] = ["true", "true", "true", "1", "t", "T", "TRUE", "True"];
/// Spellings of false.
pub(super) const FALSE: [&str; 6] = ["false", "false", "0", "f", "F", "False"];

/// Content types. Some content types are variants of the form's type.
pub(super) const MEDIA: [&str; 16] = [
    "text/plain",
    "",
    "application/json",
    "application/x-www-form-urlencoded; charset=UTF-8",
    "Application/X-WWW-Form-Urlencoded",
    " application/x-www-form-urlencoded ;a=b",
    "application/x-www-form-urlencoded;",
    "application/x-www-form-urlencoded; charset",
    "application/x-www-form-urlencoded; a=1; A=1",
    "application/x-www-form-urlencoded, text/plain",
    "application/x-www-form-urlencoded x",
    "application/",
    "application",
    ";",
    "multipart/form-data; boundary=B",
    "application/x-www-form-urlencoded; a=\"b",
];

pub(super) fn value(rng: &mut Rng) -> String {
    match rng.weighted(&VALUES) {
        "LONG" => "long%20".repeat(350),
        // Bodies from 2048 bytes are chunked.
        "EDGE" => "x".repeat(rng.below(EDGE.len()) + EDGE.start),
        value => value.into(),
    }
}

/// Draws a flag, which is usually true.
pub(super) fn flag(rng: &mut Rng) -> &'static str {
    if rng.chance(75) {
        rng.pick::<&str>(&TRUE)
    } else {
        rng.pick::<&str>(&FALSE)
    }
}

/// Adds conditions for a comparison.
pub(super) fn conditions(rng: &mut Rng, parameters: &mut Vec<String>) {
    let which = rng.range(1, 4);
    if which != 2 {
        let value = loop {
            // An empty condition is refused.
            match rng.weighted(&VALUES) {
                "" => {}
                "LONG" | "EDGE" => break "1",
                value => break if rng.chance(50) { "1" } else { value },
            }
        };
        parameters.push(format!("prevValue={value}"));
    }
    if which == 2 || which == 4 {
        let index = rng.weighted(&[
            (6, "{mod}"),
            (2, "{now}"),
            (1, "{now-1}"),
            (1, "4"),
            (1, "{now+1}"),
        ]);
        parameters.push(format!("prevIndex={index}"));
    }
    if rng.chance(20) {
        let yes = *rng.pick(&TRUE);
        parameters.push(format!("prevExist={yes}"));
    }
}

/// Draws the index at which a watch starts.
pub(super) fn wait_index(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => "1".into(),
        1 => "{now}".into(),
        2 => "{now+1}".into(),
        3 => format!("{{now+{}}}", rng.range(2, 12)),
        4 => "{mod}".into(),
        5 => format!("{{now-{}}}", rng.range(996, 1003)),
        6 => rng.range(2, 6).to_string(),
        7 => "18446744073709551615".into(),
        _ => format!("{{now-{}}}", rng.range(1, 60)),
    }
}
