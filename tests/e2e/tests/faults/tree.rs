//! Clients of v2: PUT, PUT with prevValue and prevIndex, and GET with quorum=true, as calls on registers.

use std::sync::Arc;

use serde_json::Value;
use witan_e2e::{
    http::{self, Response},
    linear::{Call, Input, Output, Told, client::Choice},
    wait,
};

use crate::load::{Load, PAIRS};

pub(crate) const FOLDER: &str = "/v2/keys/faults";
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// v2's error codes "compare failed" and "key not found".
const COMPARE_FAILED: u64 = 101;
const NOT_FOUND: u64 = 100;

#[derive(Clone, Copy, Default)]
struct Known {
    value: u64,
    modified_index: u64,
}

/// Runs a client until the load stops and returns its calls. The client changes to the next member when its member does not
/// answer.
pub(crate) fn work(load: &Arc<Load>, mut at: usize, seed: u64) -> Vec<Call> {
    let mut choice = Choice(seed);
    let mut calls = Vec::new();
    let (mut step, mut known) = (0, [Known::default(); PAIRS]);
    while !load.is_stopped() {
        wait::wall_time(PAUSE);
        let pair = load.pair(&mut choice);
        if pair / PAIRS != step {
            (step, known) = (pair / PAIRS, [Known::default(); PAIRS]);
        }
        let known = &mut known[pair % PAIRS];
        let input = match choice.below(6) {
            0 | 1 => Input::Get(0),
            2 | 3 => Input::Put(0, load.calls.value()),
            _ => Input::Cas { slot: 0, old: known.value, new: load.calls.value() },
        };
        let index = (choice.below(2) == 0).then_some(known.modified_index);
        let address = &load.addresses[at % load.addresses.len()];
        let begun = load.calls.moment();
        let answer = ask(address, pair, input, index);
        let told = match answer.map(|answer| told(load, input, &answer, known, index.is_none())) {
            Some(Answer::Told(told)) => Some(told),
            Some(Answer::Refused) => continue,
            Some(Answer::Unknown) | None => {
                at += 1;
                None
            }
        };
        calls.push(Call { pair, input, begun, told });
    }
    calls
}

/// Puts until a put is acknowledged. Returns all puts.
pub(crate) fn last_put(load: &Load) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for address in load.addresses.iter().cycle() {
        let (input, begun) = (Input::Put(0, load.calls.value()), load.calls.moment());
        let answer = ask(address, 0, input, None);
        let told = answer.map(|answer| told(load, input, &answer, &mut Known::default(), false));
        let told = match told {
            Some(Answer::Told(told)) => Some(told),
            Some(Answer::Refused | Answer::Unknown) | None => None,
        };
        calls.push(Call { pair: 0, input, begun, told });
        if told.is_some() {
            break;
        }
        wait::wall_time(PAUSE);
    }
    calls
}

/// Sends a call as a v2 request. A swap compares the index if `index` is given. Returns `None` if the response is incomplete.
fn ask(address: &str, pair: usize, input: Input, index: Option<u64>) -> Option<Response> {
    let key = format!("{FOLDER}/{pair}");
    let (method, target, value) = match (input, index) {
        (Input::Get(_) | Input::GetBoth | Input::Delete(_), _) => {
            ("GET", format!("{key}?quorum=true"), None)
        }
        (Input::Put(_, new) | Input::CasBoth { new: [new, _], .. }, _) => ("PUT", key, Some(new)),
        (Input::Cas { old: 0, new, .. }, _) => ("PUT", format!("{key}?prevExist=false"), Some(new)),
        (Input::Cas { new, .. }, Some(index)) => {
            ("PUT", format!("{key}?prevIndex={index}"), Some(new))
        }
        (Input::Cas { old, new, .. }, None) => ("PUT", format!("{key}?prevValue={old}"), Some(new)),
    };
    let body = value.map_or_else(String::new, |value| format!("value={value}"));
    http::try_once(address, method, &target, &[], body.as_bytes()).ok()
}

enum Answer {
    Told(Told),
    /// The call had no effect, and the response does not contain the key's value.
    Refused,
    Unknown,
}

/// Converts a response and updates `known`. `by_value` says whether the request compared the value. Records a violation for a
/// success without a value.
fn told(load: &Load, input: Input, answer: &Response, known: &mut Known, by_value: bool) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Answer::Unknown;
    };
    let code = body["errorCode"].as_u64();
    let output = match (answer.status, code) {
        (200 | 201, _) => {
            let value = body["node"]["value"]
                .as_str()
                .and_then(|value| value.parse().ok());
            let (Some(value), Some(index)) = (value, body["node"]["modifiedIndex"].as_u64()) else {
                load.wrong(format!("v2 answers {input:?} with {body}"));
                return Answer::Unknown;
            };
            *known = Known { value, modified_index: index };
            match input.writes() {
                true => Output::Written,
                false => Output::Value(value),
            }
        }
        (_, Some(NOT_FOUND)) => {
            *known = Known::default();
            Output::Value(0)
        }
        (_, Some(COMPARE_FAILED)) => {
            let cause = body["cause"].as_str().unwrap_or_default();
            let value = by_value.then(|| actual(cause)).flatten();
            let Some(value) = value else {
                return Answer::Refused;
            };
            known.value = value;
            Output::Value(value)
        }
        // The key exists.
        (412, Some(105)) => return Answer::Refused,
        _ => return Answer::Unknown,
    };
    Answer::Told(Told {
        ended: load.calls.moment(),
        output,
        revision: i64::try_from(known.modified_index).unwrap_or_default(),
    })
}

/// Returns a key's value in a refusal such as `[7 != 9]`.
fn actual(cause: &str) -> Option<u64> {
    let (_, actual) = cause.strip_suffix(']')?.split_once(" != ")?;
    actual.parse().ok()
}
