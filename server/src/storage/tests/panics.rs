//! A panic ends the process, unless it is guarded.

use std::{os::unix::process::ExitStatusExt, process::Stdio};

use super::*;
use crate::storage::{end_with_a_panic, guard::guarded};

/// Variable that makes the test function play the part of a process that panics.
const CHILD: &str = "WITAN_TEST_PANIC";
const ABORTED: i32 = 6;

fn play(part: &str) {
    end_with_a_panic();
    match part {
        "guarded" => assert!(guarded(|| panic!("on purpose")).is_none()),
        "twice" => {
            guarded(|| guarded(|| panic!("on purpose")));
            panic!("on purpose");
        }
        _ => drop(std::thread::spawn(|| panic!("on purpose")).join()),
    }
    std::process::exit(3);
}

#[test]
fn a_panic_ends_the_process_unless_it_is_guarded() {
    if let Ok(part) = std::env::var(CHILD) {
        play(&part);
    }
    for (part, code, signal) in [
        ("guarded", Some(3), None),
        ("twice", None, Some(ABORTED)),
        ("another thread", None, Some(ABORTED)),
    ] {
        let test = "panics::a_panic_ends_the_process_unless_it_is_guarded";
        let mut command = child(test, CHILD, part.as_ref());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = start(&mut command).unwrap().wait().unwrap();
        assert_eq!((status.code(), status.signal()), (code, signal), "{part}");
    }
}
