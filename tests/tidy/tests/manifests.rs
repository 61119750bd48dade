//! Checks manifests, clippy's settings and the list of releases: the required parts of each crate, and the forbidden features
//! of the shipped program.

use std::process::Command;

use witan_tidy::{file, files, none, root};

/// Without these lints, a crate accepts unsafe code and `unwrap` outside of tests.
#[test]
fn every_crate_takes_the_workspaces_lints() {
    let lax: Vec<String> = files()
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.path.clone())
        .collect();
    none("a crate takes the workspace's lints", &lax);
}

/// Only `cargo build -p witan` builds the shipped program: a build of the entire workspace enables features of tests.
#[test]
fn the_shipped_program_has_no_test_features() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "witan"])
        .args(["--edges", "normal,features", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs this test");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("witan-replica"), "cargo shows the tree");
    let found = ["fuzz", "planted-panics", "next-level"].into_iter();
    let found = found.filter(|feature| tree.contains(&format!("feature \"{feature}\"")));
    let found: Vec<String> = found.map(str::to_owned).collect();
    none("the program has no feature for tests", &found);
}

/// Clippy reads only the nearest `clippy.toml`, so a ban that it lacks has no effect on the crate.
#[test]
fn nearer_clippy_settings_repeat_the_roots() {
    for name in ["tree", "machine"] {
        let linked = root().join(format!("server/crates/{name}/clippy.toml"));
        assert!(linked.is_symlink(), "{name} has the replica's settings");
    }
    let base = file("clippy.toml").text;
    let mut missing = Vec::new();
    for path in ["server/clippy.toml", "server/crates/replica/clippy.toml"] {
        let own = file(path).text;
        for line in base.lines().map(str::trim) {
            // The core does not depend on these crates.
            let foreign = line.contains("\"tokio::") || line.contains("\"prometheus::");
            let is_setting =
                !line.is_empty() && !line.starts_with('#') && !line.contains("disallowed-");
            let is_needed = is_setting && !(foreign && path.contains("replica"));
            if is_needed && !own.lines().any(|known| known.trim() == line) {
                missing.push(format!("{path}: {line}"));
            }
        }
    }
    none("nearer clippy.toml files repeat the root's", &missing);
}

/// `tests/upgrade` builds these commits. An abbreviated commit cannot be fetched.
#[test]
fn every_release_names_its_commit_and_a_format_that_this_one_reads() {
    let source = file("server/crates/storage/src/formats.rs").text;
    let numbers = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("number: ")?.strip_suffix(','));
    let known: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
    assert!(!known.is_empty(), "there is a format");
    let releases = file("tests/upgrade/releases").text;
    let rows: Vec<&str> = releases
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(!rows.is_empty(), "there is a release");
    let is_right = |row: &&&str| match row.split(' ').collect::<Vec<_>>()[..] {
        [_, commit, format] => {
            let is_full = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            is_full
                && format
                    .parse::<u32>()
                    .is_ok_and(|format| known.contains(&format))
        }
        _ => false,
    };
    let wrong = rows.iter().filter(|row| !is_right(row));
    let wrong: Vec<String> = wrong.map(|row| (*row).to_owned()).collect();
    none(
        "a release has a name, a full commit and a format that this one reads",
        &wrong,
    );
}
