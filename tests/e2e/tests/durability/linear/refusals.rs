//! Tests the checker with constructed histories, some of which contain a wrong answer of each kind. `faults/planted` tests the
//! checks of the record.

use witan_e2e::linear::{Call, Input, Output, Told, checker};

/// Creates a call that lasts from `begun` to `ended`, with an unchecked revision.
fn call(begun: u64, ended: u64, input: Input, output: Output) -> Call {
    Call {
        pair: 0,
        input,
        begun,
        told: Some(Told { ended, output, revision: 0 }),
        lost_by: u64::MAX,
    }
}

/// Creates a call without an answer.
fn lost(begun: u64, input: Input) -> Call {
    Call { pair: 0, input, begun, told: None, lost_by: u64::MAX }
}

fn linearizable(history: &[Call]) -> bool {
    checker::check(history).is_ok()
}

const PUT_1: Input = Input::Put(0, 1);
const PUT_2: Input = Input::Put(0, 2);
const GET: Input = Input::Get(0);

fn one(value: u64) -> Output {
    Output::Value(value)
}

#[test]
fn calls_that_overlap_may_have_any_order() {
    for seen in [0, 1, 2] {
        let history = [
            call(1, 10, PUT_1, Output::Written),
            call(2, 9, PUT_2, Output::Written),
            call(3, 8, GET, one(seen)),
        ];
        assert!(linearizable(&history), "{seen}");
    }
}

#[test]
fn a_stale_read_is_refused() {
    let history = [
        call(1, 2, PUT_1, Output::Written),
        call(3, 4, PUT_2, Output::Written),
        call(5, 6, GET, one(1)),
    ];
    let refusal = checker::check(&history).unwrap_err();
    assert_eq!((refusal.pair, refusal.reached.len()), (0, 2));
    assert_eq!(refusal.stuck.len(), 1);
    assert_eq!(refusal.stuck[0].input, GET);
}

#[test]
fn two_readers_do_not_see_two_orders() {
    let writes = [
        call(1, 20, PUT_1, Output::Written),
        call(2, 20, PUT_2, Output::Written),
    ];
    let read = |begun, value| call(begun, begun + 1, GET, one(value));
    let once = [&writes[..], &[read(3, 1), read(5, 2)]].concat();
    assert!(linearizable(&once));
    let back = [&writes[..], &[read(3, 1), read(5, 2), read(7, 1)]].concat();
    assert!(!linearizable(&back));
}

#[test]
fn a_lost_update_is_refused() {
    let add = |begun, ended, new| {
        let input = Input::Cas { slot: 0, old: 1, new };
        call(begun, ended, input, Output::Written)
    };
    let put = call(1, 2, PUT_1, Output::Written);
    assert!(linearizable(&[put, add(3, 9, 2)]));
    assert!(!linearizable(&[put, add(3, 9, 2), add(4, 8, 3)]));
    // An acknowledged write is lost.
    assert!(!linearizable(&[put, call(3, 4, GET, one(0))]));
}

#[test]
fn a_torn_pair_is_refused() {
    let both = Input::CasBoth { old: [0, 0], new: [1, 2] };
    for (seen, right) in [
        ([0, 0], true),
        ([1, 2], true),
        ([1, 0], false),
        ([0, 2], false),
    ] {
        let history = [
            call(1, 9, both, Output::Written),
            call(2, 8, Input::GetBoth, Output::Both(seen)),
        ];
        assert_eq!(linearizable(&history), right, "{seen:?}");
    }
}

#[test]
fn unanswered_writes_are_applied_or_not() {
    let put = call(1, 2, PUT_1, Output::Written);
    let unknown = lost(3, PUT_2);
    assert!(linearizable(&[put, unknown, call(5, 6, GET, one(1))]));
    assert!(linearizable(&[put, unknown, call(5, 6, GET, one(2))]));
    let late = [
        put,
        unknown,
        call(5, 6, GET, one(1)),
        call(7, 8, GET, one(2)),
    ];
    assert!(linearizable(&late));
    let undone = [
        put,
        unknown,
        call(5, 6, GET, one(2)),
        call(7, 8, GET, one(1)),
    ];
    assert!(!linearizable(&undone));
    let gone = Call { lost_by: 6, ..unknown };
    assert!(linearizable(&[put, gone, call(7, 8, GET, one(2))]));
    let late = [
        put,
        gone,
        call(5, 6, GET, one(1)),
        call(7, 8, GET, one(1)),
        call(9, 10, GET, one(2)),
    ];
    assert!(!linearizable(&late), "its process had ended by then");
    // A write must not be visible before its call.
    assert!(!linearizable(&[
        put,
        call(4, 5, GET, one(2)),
        lost(6, PUT_2)
    ]));
}

#[test]
fn long_histories_are_judged_at_once() {
    let mut history: Vec<Call> = (0..2000)
        .map(|n| match n % 50 {
            0 => Call { lost_by: 4 * n + 40, ..lost(4 * n + 1, Input::Delete(1)) },
            _ => call(4 * n + 1, 4 * n + 12, Input::Put(0, n + 1), Output::Written),
        })
        .collect();
    assert!(linearizable(&history));
    history.push(call(20_000, 20_001, GET, one(1)));
    assert!(!linearizable(&history));
}
