//! Rules about dependencies that manifests cannot express. The table is that of `docs/internals/layers.md`, so that the law is
//! written once.

use std::process::Command;

use witan_tidy::{files, none, paths::named_paths, rust_files, table};

const DOCUMENT: &str = "docs/internals/layers.md";
const PLACES: &str = "| What | Below | Only in |";

/// Libraries that could serve other programs.
const INDEPENDENT: [&str; 3] = [
    "server/crates/bolt",
    "server/crates/gocompat",
    "server/crates/http2",
];

/// Rows that the table has at least, so that one that was not read is noticed.
const ROWS_MIN: usize = 5;

fn is_within(place: &str, folder: &str) -> bool {
    place
        .strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path begins with this one.
fn begins(path: &[String], with: &str) -> bool {
    let mut path = path.iter();
    with.split("::")
        .all(|segment| path.next().is_some_and(|own| own == segment))
}

#[test]
fn what_has_one_place_is_named_nowhere_else() {
    let rows = table(DOCUMENT, PLACES);
    assert!(rows.len() > ROWS_MIN, "the table was read");
    let mut found = Vec::new();
    for source in rust_files() {
        let Some((_, place)) = source.path.split_once("/src/") else {
            continue;
        };
        let is_test = place.ends_with("tests.rs") || place.contains("tests/");
        let bound = rows
            .iter()
            .filter(|row| row[1].iter().any(|below| is_within(&source.path, below)));
        let bound: Vec<_> = bound
            .filter(|row| !row[2].iter().any(|only| is_within(&source.path, only)))
            .collect();
        if is_test || bound.is_empty() {
            continue;
        }
        for named in named_paths(place, &source.text) {
            for row in &bound {
                if let Some(what) = row[0].iter().find(|what| begins(&named.path, what)) {
                    let (path, line, only) = (&source.path, named.line, row[2].join("`, `"));
                    found.push(format!(
                        "{path}:{line}: `{what}` is named in `{only}` alone"
                    ));
                }
            }
        }
    }
    none("one place names it, so that it can be replaced", &found);
}

/// Neither in code nor in comments: what a library tells of a user, it may have taken from it.
#[test]
fn independent_libraries_do_not_know_that_the_server_exists() {
    let mut found = Vec::new();
    for file in files() {
        let Some(folder) = INDEPENDENT
            .into_iter()
            .find(|folder| is_within(&file.path, folder))
        else {
            continue;
        };
        let name = folder.rsplit('/').next().unwrap_or_default();
        let own = [format!("witan-{name}"), format!("witan_{name}")];
        for (number, line) in file.text.to_lowercase().lines().enumerate() {
            let line = own
                .iter()
                .fold(line.to_owned(), |line, own| line.replace(own, ""));
            if line.contains("etcd") || line.contains("witan") {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("a library knows nothing of the server above it", &found);
}

/// `cargo build -p witan` builds the program that ships. A build of the whole workspace has the features
/// that its tests turn on.
#[test]
fn the_program_that_ships_has_no_feature_of_tests() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "witan"])
        .args(["--edges", "normal,features", "--prefix", "none"])
        .current_dir(witan_tidy::root())
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
    none("no door for tests is in the program", &found);
}

#[test]
fn the_core_is_synchronous() {
    let mut found = Vec::new();
    for source in rust_files() {
        let core = ["tree", "machine", "replica"].map(|name| format!("server/crates/{name}/src/"));
        if core
            .iter()
            .any(|folder| source.path.starts_with(folder.as_str()))
            && has_word(&source.code(), "async")
        {
            found.push(source.path);
        }
    }
    none("the core waits for nothing (I1)", &found);
}

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

/// Whether `word` stands in `text` by itself.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c| !part(c)).any(|own| own == word)
}
