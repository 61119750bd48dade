//! Golden scripts: commands and their expected output, in `testdata/<area>/*.txt`.
//!
//! A script is a list of stanzas: commands, a line `----`, the expected output, and a blank line. A command starts in column 0
//! and includes the indented lines below it. Lines that start with `#` are comments. Each file starts with a fresh state.
//!
//! `WITAN_UPDATE_SCRIPTS=1 cargo test -p witan-machine --test script` writes the actual output to the files.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the core reads no files; its scripts are files"
)]

#[path = "script/auth.rs"]
mod auth;
#[path = "script/auth_paths.rs"]
mod auth_paths;
#[path = "script/kv.rs"]
mod kv;
#[path = "script/machine.rs"]
mod machine;
#[path = "script/tree.rs"]
mod tree;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The executor of one kind of script.
trait ScriptRunner {
    fn run(&mut self, command: &str) -> String;
}

#[test]
fn machine_scripts_hold() {
    for name in ["kv", "txn", "alarm", "lease"] {
        folder(name, &|| Box::new(machine::MachineScript::default()));
    }
}

#[test]
fn auth_scripts_hold() {
    folder("auth", &|| Box::new(auth::AuthScript::default()));
}

#[test]
fn v2_scripts_hold() {
    folder("v2", &|| Box::new(tree::TreeScript::default()));
}

/// Runs every script of a directory. Panics with all differences, or writes the actual output to the files if
/// `WITAN_UPDATE_SCRIPTS` is set.
fn folder(name: &str, runner: &dyn Fn() -> Box<dyn ScriptRunner>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", folder.display());
    let update = std::env::var_os("WITAN_UPDATE_SCRIPTS").is_some();
    let mut failures = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let actual = replay(&text, runner().as_mut());
        if actual == text {
            continue;
        }
        if update {
            fs::write(&file, &actual).unwrap();
        } else {
            write!(
                failures,
                "{}:\n{}\n",
                file.display(),
                difference(&text, &actual)
            )
            .unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "scripts differ (- expected, + actual)\n{failures}"
    );
}

/// Runs a script and returns it with the actual outputs. Panics if the script is malformed.
fn replay(text: &str, runner: &mut dyn ScriptRunner) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut commands: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        if line == "----" {
            assert!(!commands.is_empty(), "an output has no command");
            for command in commands.drain(..) {
                for answer in runner.run(&command).lines() {
                    assert!(
                        !answer.is_empty(),
                        "a blank line in the answer to {command:?}"
                    );
                    writeln!(out, "{answer}").unwrap();
                }
            }
            while lines.next_if(|line| !line.is_empty()).is_some() {}
        } else if line.starts_with(' ') {
            let last = commands
                .last_mut()
                .expect("an indented line follows a command");
            last.push('\n');
            last.push_str(line);
        } else if !line.is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    assert!(
        commands.is_empty(),
        "commands without a line ---- after them: {commands:?}"
    );
    out
}

/// Returns the lines around the first difference.
fn difference(expected: &str, actual: &str) -> String {
    let same = expected
        .lines()
        .zip(actual.lines())
        .take_while(|(e, a)| e == a)
        .count();
    let mut out = String::new();
    let shown = |text: &str| -> Vec<String> {
        text.lines()
            .skip(same.saturating_sub(3))
            .take(12)
            .map(str::to_owned)
            .collect()
    };
    writeln!(out, "  line {}", same + 1).unwrap();
    for line in shown(expected) {
        writeln!(out, "  - {line}").unwrap();
    }
    for line in shown(actual) {
        writeln!(out, "  + {line}").unwrap();
    }
    out
}
