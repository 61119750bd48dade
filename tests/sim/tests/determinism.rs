//! The same seed produces the same trace, byte for byte, in two processes: no clock, address, hash seed or thread affects a
//! run.

use std::process::Command;

/// Returns the output of the simulator's binary. Panics if a run has a violation.
fn trace(seed: &str, members: &str) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_witan-sim"))
        .args(["--reproduce", seed, "--members", members])
        .output()
        .expect("the simulator's binary runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn two_processes_give_the_same_trace() {
    for (seed, members) in [
        ("1", "1"),
        ("2", "3"),
        ("3", "3"),
        ("4", "5"),
        ("5", "5"),
        ("6", "3"),
    ] {
        let first = trace(seed, members);
        assert!(first.len() > 10_000, "seed {seed} has an empty trace");
        assert!(
            first == trace(seed, members),
            "seed {seed} of {members} members differs"
        );
    }
}
