//! Rules of form: sizes, heads of files, sleeps, ignored tests, channels, paths of machines.

use witan_tidy::{code, file, files, none, rust_files};

/// Hard limit of a file; the aim is half of it.
const FILE_LINES_MAX: usize = 600;

/// Hard limit of a function; clippy warns at 70.
const FUNCTION_LINES_MAX: usize = 100;

/// The only files that may allow what a lint says, for it may say nothing. Elsewhere `expect` shows
/// when the reason no longer holds.
const ALLOWS: [&str; 1] = ["server/crates/api/src/v3/mod.rs"];

/// The only files that may let time pass, and why.
const SLEEPS: &[(&str, &str)] = &[
    (
        "server/crates/dialect/src/fair_semaphore.rs",
        "permits that are held for a time limit a rate",
    ),
    (
        "tests/e2e/src/wait.rs",
        "the pause between two looks at a condition, and TTLs",
    ),
    ("tests/bench/src/load.rs", "a measurement has a length"),
    (
        "tests/bench/src/paced.rs",
        "a measurement has a length, and clients have a pace",
    ),
    (
        "tests/bench/src/scene/chores.rs",
        "the pause between two chores beside a load",
    ),
    (
        "tests/bench/src/scene/pauses.rs",
        "the pace of a client, and a measurement has a length",
    ),
    (
        "tests/bench/src/cluster/catch_up.rs",
        "the pause between two looks at a member that catches up",
    ),
    (
        "tests/bench/src/cluster/memory.rs",
        "a filled cluster settles before it is measured",
    ),
    (
        "tests/bench/src/cluster/replaced.rs",
        "members settle after filling, and a client asks again for a promotion",
    ),
    (
        "tests/bench/src/restart.rs",
        "a filled server settles before it is measured",
    ),
    (
        "server/crates/v3/src/lease.rs",
        "a keep-alive of an ending lease looks again until it has ended, as in etcd",
    ),
    (
        "operator/backup/src/changes/serve.rs",
        "the pause after a connection that could not be accepted",
    ),
    (
        "operator/kubectl/src/forward.rs",
        "the pause after a connection that could not be accepted",
    ),
    (
        "server/src/api/top.rs",
        "requests are counted for the seconds that the caller names",
    ),
    (
        "server/src/bootstrap/discover/registry.rs",
        "the pause between two tries to reach a registry",
    ),
    (
        "server/src/boot.rs",
        "the pause between two tries to publish the member's own attributes",
    ),
    (
        "server/src/corruption/checker.rs",
        "the time between two comparisons, and the pause between two tries to rebuild the state",
    ),
    (
        "server/src/follow/mod.rs",
        "the pause before the next member of the source is tried",
    ),
    (
        "server/src/follow/calls.rs",
        "the pause before a proposal is repeated that the cluster did not take",
    ),
    (
        "server/src/bootstrap/join.rs",
        "the pause before members that did not answer are asked again",
    ),
    (
        "server/crates/peer/src/monitor.rs",
        "asks the other members for their versions now and then",
    ),
    (
        "server/src/corruption/compare.rs",
        "the pause before a member that has no hash yet is asked again",
    ),
    (
        "server/crates/peer/src/deliver.rs",
        "the pause between two tries to send a snapshot",
    ),
    (
        "server/crates/peer/src/link.rs",
        "the pause between two tries to reach another member",
    ),
    (
        "server/crates/peer/src/listener.rs",
        "the pause after the system had no descriptor for a connection",
    ),
    (
        "server/crates/storage/src/lock.rs",
        "the kernel wakes nobody who would take a lock without a wait of unknown length",
    ),
    (
        "server/crates/storage/src/tests/power.rs",
        "a power cut comes at any moment",
    ),
];

#[test]
fn files_are_short() {
    let long: Vec<String> = rust_files()
        .iter()
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none("a file has at most 600 lines", &long);
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for file in rust_files() {
        for (name, line, lines) in code::functions(&file.text) {
            if lines > FUNCTION_LINES_MAX {
                long.push(format!("{}:{line}: {name} has {lines} lines", file.path));
            }
        }
    }
    none("a function has at most 100 lines", &long);
}

#[test]
fn files_say_what_lives_in_them() {
    let mute: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.path.clone())
        .collect();
    none("a file begins with //! and says what lives in it", &mute);
}

#[test]
fn no_test_is_ignored() {
    none(
        "a test runs or does not exist",
        &lines_with(&["#[ignore", "#![ignore"]),
    );
}

#[test]
fn a_lint_that_is_off_has_a_reason() {
    let mut found = lines_with(&["[allow("]);
    found.retain(|line| !ALLOWS.iter().any(|path| line.starts_with(path)));
    none("`#[expect(.., reason)]` instead of `#[allow]`", &found);
    let mut bare = Vec::new();
    for file in rust_files() {
        let code = file.code();
        for (at, _) in code
            .match_indices("[expect(")
            .chain(code.match_indices("[allow("))
        {
            let attribute = code[at..].split(']').next().unwrap_or_default();
            if !attribute.contains("reason = ") {
                let line = code[..at].matches('\n').count() + 1;
                bare.push(format!("{}:{line}: {attribute}]", file.path));
            }
        }
    }
    none("who turns a lint off says why", &bare);
}

#[test]
fn every_channel_has_a_bound() {
    let unbounded = [
        "unbounded_channel",
        "mpsc::unbounded",
        "channel::unbounded",
        "unbounded()",
    ];
    let mut found = lines_with(&unbounded);
    // std's has a bound only as sync_channel
    found.extend(lines_with(&["std::sync::mpsc::channel", "mpsc::channel()"]));
    none("every queue is bounded (I10)", &found);
}

#[test]
fn nothing_sleeps_but_the_listed() {
    let mut found = lines_with(&["sleep("]);
    found.retain(|line| !SLEEPS.iter().any(|(path, _)| line.starts_with(path)));
    none(
        "wait on conditions (wait.rs), do not sleep; else list the file with its reason",
        &found,
    );
    for (path, reason) in SLEEPS {
        let used = file(path).code().contains("sleep(");
        assert!(
            used && !reason.is_empty(),
            "{path} is listed and does not sleep"
        );
    }
}

#[test]
fn no_host_of_a_registry_and_no_path_of_a_machine() {
    // written in pieces, so that this file does not find itself
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
            if banned.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("the repository is the same on every machine", &found);
}

#[test]
fn the_cores_clippy_repeats_the_base() {
    let base = file("clippy.toml");
    let own = file("server/crates/replica/clippy.toml");
    for name in ["tree", "machine"] {
        let linked = witan_tidy::root().join(format!("server/crates/{name}/clippy.toml"));
        assert!(linked.is_symlink(), "{name} has the replica's settings");
    }
    let is_base = |line: &&str| {
        let setting = !line.is_empty() && !line.starts_with('#') && !line.contains("disallowed-");
        // crates that the core cannot name anyway
        setting && *line != "]" && !line.contains("\"tokio::") && !line.contains("\"prometheus::")
    };
    let missing: Vec<String> = base
        .text
        .lines()
        .map(str::trim)
        .filter(is_base)
        .filter(|line| !own.text.lines().any(|known| known.trim() == *line))
        .map(str::to_owned)
        .collect();
    none(
        "server/crates/replica/clippy.toml repeats clippy.toml",
        &missing,
    );
}

/// `path:line: text` of the code lines that contain one of the words.
fn lines_with(words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files() {
        let code = file.code();
        for (number, line) in code.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}
