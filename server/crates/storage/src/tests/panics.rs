//! Tests that a panic ends the process, unless it is caught.

use std::process::Stdio;

use witan_base::panics::{EXIT_PANICKED, PanicSource, catch, catch_in_library, install_hook};

use super::*;

/// Environment variable that turns the test function into a process that panics.
const CHILD: &str = "WITAN_TEST_PANIC";

/// Panics in the way that `part` names. Exits with code 3 if no panic has ended the process.
fn play(part: &str) {
    install_hook();
    match part {
        "a request" => assert!(catch(PanicSource::Http, || panic!("on purpose")).is_err()),
        "after a request" => {
            let caught = catch(PanicSource::Http, || {
                catch_in_library(|| panic!("on purpose"))
            });
            assert_eq!(caught, Ok(None::<()>));
            panic!("on purpose");
        }
        "guarded" => assert!(catch_in_library(|| panic!("on purpose")).is_none()),
        "twice" => {
            catch_in_library(|| catch_in_library(|| panic!("on purpose")));
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
    for (part, code) in [
        ("guarded", 3),
        ("twice", EXIT_PANICKED),
        ("a request", 3),
        ("after a request", EXIT_PANICKED),
        ("another thread", EXIT_PANICKED),
    ] {
        let test = "panics::a_panic_ends_the_process_unless_it_is_guarded";
        let mut command = child(test, CHILD, part.as_ref());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = start(&mut command).unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(code), "{part}");
    }
}
