//! Runs the same conversations with the HTTP/2 code and with h2. After each frame, both must react in the same way, or the
//! difference must be permitted.

use std::collections::BTreeSet;

use witan_http2_tests::{
    dice::Dice,
    frame::{Frame, code, flag, kind},
    reference::Reference,
    script::{Choices, Reach, Step, Writer},
    server::{Client, Server},
    subject::Subject,
};

const STREAMS_MAX: u32 = 12;
/// Number of conversations in a run, unless `WITAN_HTTP2_SEEDS` is set.
const SEEDS: u64 = 10_000;
const BYTES: usize = 400;

fn seeds() -> u64 {
    let said = std::env::var("WITAN_HTTP2_SEEDS");
    said.map_or(SEEDS, |count| count.parse().expect("a number"))
}

/// A server's reactions so far, without their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Judgment {
    failed: bool,
    reset: BTreeSet<u32>,
    answered: BTreeSet<u32>,
    pings: usize,
    settings: usize,
}

/// Collects a server's reactions so far. Resets and GOAWAY without an error do not count.
fn judgment<S: Server>(client: &Client<S>) -> Judgment {
    let mut found = Judgment { failed: client.server.closed(), ..Judgment::default() };
    for frame in &client.seen {
        match frame.kind {
            kind::GOAWAY => found.failed |= frame.number_at(4) != code::NO_ERROR,
            kind::RST_STREAM if frame.number_at(0) != code::NO_ERROR => {
                found.reset.insert(frame.stream);
            }
            kind::HEADERS | kind::DATA if frame.has(flag::END_STREAM) => {
                found.answered.insert(frame.stream);
            }
            kind::PING if frame.has(flag::ACK) => found.pings += 1,
            kind::SETTINGS if frame.has(flag::ACK) => found.settings += 1,
            _ => {}
        }
    }
    found
}

/// The differences that the standard permits, with their clauses.
const PERMITTED: [&str; 14] = [
    "5.4.1: a server may treat a stream error as a connection error",
    "5.1: a frame on a stream that the client has closed may end the connection",
    "8.1: a server may answer before the request is complete",
    "6.9, 5.1: a server may ignore WINDOW_UPDATE on a closed stream",
    "6.8: a server may close the connection after the client's GOAWAY",
    "8.4: a server may refuse PUSH_PROMISE before its block is complete",
    "10.5.1: each server has its own limits on a header block",
    "8.1.1: h2 accepts pseudo-headers in trailers, and content lengths that are not numbers",
    "4.3: a server may detect an invalid block only when the block is complete",
    "8.3.1: this server does not parse the authority, so it accepts any value",
    "5.1: a server may drop frames after an early answer and its RST_STREAM",
    "6.5.3: a server may ignore an unexpected acknowledgment of SETTINGS",
    "6.5.3: h2 applies only the last of several values of a setting",
    "10.5: a server may disconnect a client that pings too often, like grpc-go",
];

/// Returns the index in [`PERMITTED`] of the difference that the last frame caused, or `None` if the difference is not
/// permitted.
fn permitted(last: &Frame, before: &Judgment, own: &Judgment, h2: &Judgment) -> Option<usize> {
    let judged = |now: &Judgment| now.failed || now.reset.len() > before.reset.len();
    let block = matches!(last.kind, kind::HEADERS | kind::CONTINUATION);
    match (judged(own), judged(h2)) {
        (true, true) => Some(0),
        (true, false) if own.failed && (block || last.kind == kind::DATA) => {
            // h2 has already reset the stream and sends nothing more on it.
            own.reset.contains(&last.stream).then_some(1)
        }
        (true, false) if !own.failed && block => Some(7),
        (true, false) => match last.kind {
            kind::PUSH_PROMISE => Some(5),
            kind::PING => Some(13),
            kind::SETTINGS if last.payload.len() > 6 => Some(12),
            _ => None,
        },
        (false, true) => match last.kind {
            kind::WINDOW_UPDATE if last.number_at(0) & 0x7fff_ffff == 0 => Some(3),
            kind::GOAWAY => Some(4),
            kind::DATA | kind::HEADERS if own.answered.contains(&last.stream) => Some(10),
            kind::CONTINUATION => Some(6),
            kind::SETTINGS if last.has(flag::ACK) => Some(11),
            kind::HEADERS if !last.has(flag::END_HEADERS) => Some(8),
            kind::HEADERS if !last.payload.windows(5).any(|text| text == b"\x04host") => Some(9),
            _ => None,
        },
        (false, false) => {
            let early = own.answered.is_superset(&h2.answered) && own.reset == h2.reset;
            let acknowledged = own.pings == h2.pings && own.settings == h2.settings;
            (early && acknowledged).then_some(2)
        }
    }
}

/// Runs one conversation. Returns the permitted difference that ended it, if any.
fn play(seed: u64) -> Option<usize> {
    let mut dice = Dice::new(seed);
    let bytes: Vec<u8> = (0..BYTES).map(|_| (dice.draw() >> 40) as u8).collect();
    let mut choices = Choices::new(&bytes);
    let mut writer = Writer::new(Reach::Shared);
    let mut own = Client::greeted(Subject::new(STREAMS_MAX), &[]);
    let mut h2 = Client::greeted(Reference::new(STREAMS_MAX), &[]);
    let mut before = judgment(&own);
    assert_eq!(before, judgment(&h2), "both greet");
    while !choices.is_empty() {
        let Step::Send(frames) = writer.step(&mut choices) else {
            unreachable!("a shared script only sends");
        };
        for frame in frames {
            own.send(std::slice::from_ref(&frame));
            h2.send(std::slice::from_ref(&frame));
            assert_eq!(own.wrong, None, "seed {seed}: the server's frames");
            let (ours, theirs) = (judgment(&own), judgment(&h2));
            if ours != theirs {
                let why = permitted(&frame, &before, &ours, &theirs);
                return Some(why.unwrap_or_else(|| {
                    panic!("seed {seed}: {ours:?}, h2 {theirs:?}, before {before:?}, by {frame:?}")
                }));
            }
            if ours.failed {
                return None;
            }
            before = ours;
        }
    }
    None
}

#[test]
fn both_servers_react_alike_to_scripts_of_frames() {
    let seeds = seeds();
    let mut found = [0_u64; PERMITTED.len()];
    for why in (0..seeds).filter_map(play) {
        found[why] += 1;
    }
    let alike = seeds - found.iter().sum::<u64>();
    for (why, count) in PERMITTED.iter().zip(found) {
        println!("{count:6} {why}");
    }
    println!("{alike:6} of {seeds} conversations have no difference");
    assert!(
        alike > seeds / 2,
        "most conversations have no difference: {alike}"
    );
}
