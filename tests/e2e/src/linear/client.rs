//! The calls of clients (put, read, delete, compare-and-swap) and watches that record changes.
//!
//! `checker` and `record` check the records.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tonic::{Status, transport::Channel};
use witan_api::v3::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
    WatchCreateRequest, compare, kv_client::KvClient, request_op, response_op,
    watch_client::WatchClient,
};
use witan_api::v3::mvccpb::{Event, event::EventType};

use crate::{
    requests::{self, op},
    watching,
};

use super::{
    model::{Input, Output, Pair, Slot},
    record::{Batch, Change},
};

/// Prefix of all keys.
pub const PREFIX: &str = "linear/";
/// The end of the range with this prefix.
pub const PREFIX_END: &str = "linear0";

/// The state that all clients share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Logical clock for the starts and ends of calls.
    clock: AtomicU64,
    /// The last value that a call has written.
    values: AtomicU64,
}

impl Shared {
    /// Returns the next time of the logical clock.
    pub fn moment(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Returns a value that no other call writes.
    pub fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Returns the key of a slot.
fn key(pair: usize, slot: Slot) -> String {
    format!("{PREFIX}{pair}/{slot}")
}

/// Updates a client's expected state of a pair from a response, so that some of its swaps succeed.
pub fn remember(known: &mut Pair, input: Input, output: Output) {
    match (input, output) {
        (Input::Get(slot) | Input::Cas { slot, .. }, Output::Value(value)) => known[slot] = value,
        (_, Output::Both(both)) => *known = both,
        _ => *known = input.step(*known).0,
    }
}

/// A generator of random choices (splitmix64).
#[derive(Debug)]
pub struct Choice(pub u64);

impl Choice {
    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// Chooses the next call on a pair. `known` is the pair's expected state.
    pub fn input(&mut self, shared: &Shared, known: Pair) -> Input {
        let slot = self.below(2);
        match self.below(10) {
            0 | 1 => Input::Get(slot),
            2 => Input::GetBoth,
            3 | 4 => Input::Put(slot, shared.value()),
            5 => Input::Delete(slot),
            6 | 7 => Input::Cas { slot, old: known[slot], new: shared.value() },
            _ => Input::CasBoth { old: known, new: [shared.value(), shared.value()] },
        }
    }
}

/// Sends a call. Returns the response and its revision. Fails if the server answers with an error or not at all.
pub async fn ask(
    client: &mut KvClient<Channel>,
    pair: usize,
    input: Input,
) -> Result<(Output, i64), Status> {
    let told = match input {
        Input::Get(slot) => {
            let answer = client.range(one(pair, slot)).await?.into_inner();
            (Output::Value(values(&answer)[slot]), answer.header)
        }
        Input::GetBoth => {
            let answer = client.range(both(pair)).await?.into_inner();
            (Output::Both(values(&answer)), answer.header)
        }
        Input::Put(slot, value) => {
            let answer = client.put(put(pair, slot, value)).await?.into_inner();
            (Output::Written, answer.header)
        }
        Input::Delete(slot) => {
            let request = requests::delete(key(pair, slot), "");
            let answer = client.delete_range(request).await?.into_inner();
            (Output::Deleted(answer.deleted == 1), answer.header)
        }
        Input::Cas { slot, old, new } => {
            let request = TxnRequest {
                compare: vec![holds(pair, slot, old)],
                success: vec![op(request_op::Request::RequestPut(put(pair, slot, new)))],
                failure: vec![op(request_op::Request::RequestRange(one(pair, slot)))],
            };
            let answer = client.txn(request).await?.into_inner();
            let output = read(&answer).map_or(Output::Written, |both| Output::Value(both[slot]));
            (output, answer.header)
        }
        Input::CasBoth { old, new } => {
            let put = |slot: Slot| op(request_op::Request::RequestPut(put(pair, slot, new[slot])));
            let request = TxnRequest {
                compare: vec![holds(pair, 0, old[0]), holds(pair, 1, old[1])],
                success: vec![put(0), put(1)],
                failure: vec![op(request_op::Request::RequestRange(both(pair)))],
            };
            let answer = client.txn(request).await?.into_inner();
            (
                read(&answer).map_or(Output::Written, Output::Both),
                answer.header,
            )
        }
    };
    Ok((told.0, revision(told.1)))
}

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn one(pair: usize, slot: Slot) -> RangeRequest {
    requests::range(key(pair, slot), "")
}

fn both(pair: usize) -> RangeRequest {
    requests::range(key(pair, 0), key(pair, 2))
}

fn put(pair: usize, slot: Slot, value: u64) -> PutRequest {
    requests::put(key(pair, slot), value.to_string())
}

/// Creates the comparison that a key has a value, or does not exist if the value is 0.
fn holds(pair: usize, slot: Slot, value: u64) -> Compare {
    let (target, union) = match value {
        0 => (
            compare::CompareTarget::Version,
            compare::TargetUnion::Version(0),
        ),
        value => (
            compare::CompareTarget::Value,
            compare::TargetUnion::Value(value.to_string().into()),
        ),
    };
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: target.into(),
        key: key(pair, slot).into(),
        target_union: Some(union),
        ..Default::default()
    }
}

/// Returns the values that a failed swap read, or `None` if the swap succeeded.
fn read(answer: &TxnResponse) -> Option<Pair> {
    (!answer.succeeded).then(|| match answer.responses[0].response.as_ref() {
        Some(response_op::Response::ResponseRange(range)) => values(range),
        other => panic!("the response is for {other:?}, not for a range"),
    })
}

fn values(answer: &RangeResponse) -> Pair {
    let mut pair = [0, 0];
    for kv in &answer.kvs {
        pair[place(&kv.key).1] = number(&kv.value);
    }
    pair
}

/// Returns the pair and the slot of a key.
fn place(key: &[u8]) -> (usize, Slot) {
    let text = std::str::from_utf8(key).expect("our keys are text");
    let places = text.strip_prefix(PREFIX).and_then(|rest| {
        let (pair, slot) = rest.split_once('/')?;
        Some((pair.parse().ok()?, slot.parse().ok()?))
    });
    places.unwrap_or_else(|| panic!("{text} is not one of our keys"))
}

fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("our values are text");
    text.parse().expect("our values are numbers")
}

/// The reason why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The watch received the revision set as its end.
    Seen,
    /// The stream broke.
    Broken,
    /// The server canceled the watch for this reason.
    Canceled(String),
}

/// Watches on one stream until revision `end` is set and received, or the stream ends. Adds the received changes to `batches`.
pub async fn follow(
    channel: Channel,
    create: WatchCreateRequest,
    batches: &mut Vec<Batch>,
    end: &mut watch::Receiver<Option<i64>>,
) -> WatchEnd {
    // Keep the request stream open; otherwise the server ends the watch.
    let requests = stream::iter([watching::create(create)]).chain(stream::pending());
    let Ok(answers) = WatchClient::new(channel).watch(requests).await else {
        return WatchEnd::Broken;
    };
    let mut answers = answers.into_inner();
    loop {
        let last = *end.borrow_and_update();
        if last.is_some_and(|last| next_revision(batches) > last) {
            return WatchEnd::Seen;
        }
        tokio::select! {
            answer = answers.message() => match answer {
                Ok(Some(answer)) if answer.canceled => return WatchEnd::Canceled(answer.cancel_reason),
                Ok(Some(answer)) if answer.events.is_empty() => {}
                Ok(Some(answer)) => batches.push(answer.events.iter().map(change).collect()),
                Ok(None) | Err(_) => return WatchEnd::Broken,
            },
            changed = end.changed(), if last.is_none() => {
                changed.expect("the run sets its end");
            }
        }
    }
}

/// Returns the revision after the last received change, or 1 before the first change.
pub fn next_revision(batches: &[Batch]) -> i64 {
    let last = batches.iter().flatten().last();
    last.map_or(1, |change| change.revision + 1)
}

fn change(event: &Event) -> Change {
    let kv = event.kv.as_ref().expect("an event has a key");
    let (pair, slot) = place(&kv.key);
    let value = match event.r#type() {
        EventType::Put => number(&kv.value),
        EventType::Delete => 0,
    };
    Change { revision: kv.mod_revision, pair, slot, value }
}
