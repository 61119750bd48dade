//! Checks rules of form: length and head of files, ignored tests, tests that sleep, and paths of a machine.

use witan_tidy::{Source, files, none, rust_files};

/// Maximum number of lines in a source file; a longer file fails the test. The aim is half of it.
const FILE_LINES_MAX: usize = 600;

/// The only test code that may sleep.
const SLEEPING: [&str; 4] = [
    "tests/bench/",
    // The rule itself contains the word.
    "tests/tidy/",
    // The pause between two checks of a condition, and waits for TTLs.
    "tests/e2e/src/wait.rs",
    // Cuts the power at random moments.
    "server/crates/storage/src/tests/power.rs",
];

#[test]
fn files_are_short_and_begin_with_a_description() {
    let mut found = Vec::new();
    for Source { path, text } in rust_files() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{path}: {lines} lines"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{path}: does not begin with //!"));
        }
    }
    none("a file has at most 600 lines and begins with //!", &found);
}

#[test]
fn no_test_is_ignored() {
    let is_ignored = |line: &str| line.trim_start().starts_with("#[ignore");
    let mut found = rust_files();
    found.retain(|file| file.text.lines().any(is_ignored));
    let found: Vec<String> = found.into_iter().map(|file| file.path).collect();
    none("no test is ignored", &found);
}

#[test]
fn no_test_sleeps() {
    let mut found = Vec::new();
    for file in rust_files() {
        if SLEEPING.iter().any(|path| file.path.starts_with(path)) {
            continue;
        }
        let code = |line: &str| {
            line.split("//")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let sleeping = tests_of(&file).lines().map(code);
        let sleeping = sleeping.filter(|line| line.contains("sleep("));
        found.extend(sleeping.map(|line| format!("{}: {line}", file.path)));
    }
    none("tests wait for conditions (tests/e2e/src/wait.rs)", &found);
}

#[test]
fn no_host_of_a_registry_and_no_path_of_a_machine() {
    // The words are split, so that this file does not match.
    let banned: Vec<String> = [
        ["proxy.golang", ".org"],
        ["sum.golang", ".org"],
        ["pypi", ".org"],
        ["pythonhosted", ".org"],
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["deb.debian", ".org"],
        ["registry.npmjs", ".org"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
    ]
    .iter()
    .map(|pieces| pieces.concat())
    .collect();
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if banned.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("the repository is the same on every machine", &found);
}

/// Returns the test code of a file, or an empty text if it has none.
fn tests_of(file: &Source) -> &str {
    let is_test = file.path.starts_with("tests/")
        || file.path.contains("/tests/")
        || file.path.ends_with("tests.rs");
    let start = if is_test {
        Some(0)
    } else {
        file.text.find("\n#[cfg(test)]\nmod tests {")
    };
    start.map_or("", |start| &file.text[start..])
}
