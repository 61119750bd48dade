//! Searches for a linearization, which is an order of all calls on a pair. In this order, each call takes effect between its
//! start and its end, and every response is correct. Uses Wing and Gong's search with Lowe's memory of failed states.
//!
//! A call without a response may take effect at any later time, or never.
//!
//! `record` checks revisions and watches.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use super::model::{Call, Pair};

/// The reason why a history is not linearizable.
#[derive(Debug)]
pub struct Refusal {
    /// The number of the pair.
    pub pair: usize,
    /// The longest order that was found.
    pub reached: Vec<Call>,
    /// The answered calls. One of these calls must come next.
    pub stuck: Vec<Call>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.reached.len().saturating_sub(REACHED_SHOWN);
        write!(
            f,
            "pair {} is not linearizable: after {:#?}\nnone of {:#?} fits",
            self.pair,
            &self.reached[from..],
            self.stuck
        )
    }
}

/// Checks each pair separately, because a history is linearizable if and only if every pair is. Panics if the search takes too
/// many steps.
pub fn check(history: &[Call]) -> Result<(), Refusal> {
    let mut pairs: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
    for call in history {
        // A read without a response provides no information.
        if call.told.is_some() || call.input.writes() {
            pairs.entry(call.pair).or_default().push(*call);
        }
    }
    pairs.into_iter().try_for_each(|(pair, mut calls)| {
        // Try calls without a response last, only if no other call fits.
        calls.sort_by_key(|call| (call.told.is_none(), call.begun));
        let mut search = Search::new(&calls);
        if search.run() {
            return Ok(());
        }
        Err(Refusal {
            pair,
            reached: search.best.iter().map(|at| calls[*at]).collect(),
            stuck: (0..search.answered)
                .filter(|at| !search.best.contains(at))
                .map(|at| calls[at])
                .take(STUCK_SHOWN)
                .collect(),
        })
    })
}

/// Maximum number of combinations of a set and a state that are tried. Beyond this number, the search panics. A correct history
/// of a few hundred calls needs a few thousand.
const TRIED_MAX: usize = 1_000_000;

/// Maximum number of possible next calls in a refusal.
const STUCK_SHOWN: usize = 8;

/// Maximum number of earlier calls in a refusal's message.
const REACHED_SHOWN: usize = 20;

/// A set of calls with one bit per call.
type Set = Box<[u64]>;

struct Search<'a> {
    /// The answered calls, then the calls without a response, each ordered by begin.
    calls: &'a [Call],
    /// Number of answered calls.
    answered: usize,
    done: Set,
    order: Vec<usize>,
    best: Vec<usize>,
    /// Sets of calls and states from which the search found no complete order.
    failed: HashSet<(Set, Pair)>,
}

/// A position in the order: the state before it, and the call to try next.
struct Level {
    state: Pair,
    next: usize,
}

impl<'a> Search<'a> {
    fn new(calls: &'a [Call]) -> Self {
        Self {
            calls,
            answered: calls.partition_point(|call| call.told.is_some()),
            done: vec![0; calls.len().div_ceil(64)].into(),
            order: Vec::new(),
            best: Vec::new(),
            failed: HashSet::new(),
        }
    }

    /// Returns whether there is a complete order.
    fn run(&mut self) -> bool {
        let mut levels = vec![Level { state: [0, 0], next: 0 }];
        while let Some(level) = levels.last_mut() {
            if self.first_missing() >= self.answered {
                return true;
            }
            let Some((at, after)) = self.candidate(level.next, level.state) else {
                levels.pop();
                if let Some(last) = self.order.pop() {
                    self.flip(last);
                }
                continue;
            };
            level.next = at + 1;
            self.flip(at);
            assert!(self.failed.len() < TRIED_MAX, "too many orders to try");
            if self.failed.insert((self.done.clone(), after)) {
                self.order.push(at);
                if self.order.len() > self.best.len() {
                    self.best.clone_from(&self.order);
                }
                levels.push(Level { state: after, next: 0 });
            } else {
                self.flip(at);
            }
        }
        false
    }

    /// Returns the position of the first call that is not in the order.
    fn first_missing(&self) -> usize {
        let full = self.done.iter().take_while(|word| **word == u64::MAX);
        let words = full.count();
        let ones = self.done.get(words).map_or(0, |word| word.trailing_ones());
        words * 64 + ones as usize
    }

    /// Returns the first call from `from` that may come next, and the state after it. It must begin before every remaining call
    /// has ended, and its response must be correct in this state.
    fn candidate(&self, from: usize, state: Pair) -> Option<(usize, Pair)> {
        let mut first_end = u64::MAX;
        let mut until = self.first_missing();
        while until < self.answered && self.calls[until].begun < first_end {
            if let (false, Some(told)) = (self.has(until), self.calls[until].told) {
                first_end = first_end.min(told.ended);
            }
            until += 1;
        }
        let answered = self.first_missing().max(from)..until;
        let unanswered = self.answered.max(from)..self.calls.len();
        answered.chain(unanswered).find_map(|at| {
            let call = self.calls[at];
            let (after, output) = call.input.step(state);
            let right = call.told.is_none_or(|told| told.output == output);
            (right && call.begun < first_end && !self.has(at)).then_some((at, after))
        })
    }

    fn has(&self, at: usize) -> bool {
        self.done[at / 64] >> (at % 64) & 1 == 1
    }

    fn flip(&mut self, at: usize) {
        self.done[at / 64] ^= 1 << (at % 64);
    }
}
