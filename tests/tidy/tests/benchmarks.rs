//! Checks that the benchmark chart shows the tables' numbers, and that each table has a command.

use std::process::Command;

use witan_tidy::root;

#[test]
fn picture_and_readme_match_the_tables() {
    let script = "tests/bench/plot";
    assert_eq!(check(script), None, "the output of {script} is current");
}

#[test]
fn every_table_has_a_place_and_a_command() {
    let script = "tests/bench/tables";
    assert_eq!(
        check(script),
        None,
        "{script} and the page name the same tables"
    );
}

/// Runs a script. Returns its output if it fails, or `None` if it has no findings.
fn check(script: &str) -> Option<String> {
    let output = Command::new("python3")
        .arg(root().join(script))
        .arg("--check")
        .output()
        .expect("python3 reads the page");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| said.into_owned())
}
