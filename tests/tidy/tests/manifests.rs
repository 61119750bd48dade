//! Checks manifests and clippy's settings: the required parts of each crate, and the forbidden features of the shipped program.

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

/// Only `cargo build -p witan` builds the shipped program: a build of the whole workspace enables features of tests.
#[test]
fn the_program_that_ships_has_no_feature_of_tests() {
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
    let found = ["fuzz", "planted-panics"].into_iter();
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
