//! Reads the repository as text for the tests in `tests/`, which check its rules. A rule exists only if no compiler, lint or
//! other test finds the same fault.

pub mod proto;
pub mod shapes;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Directories that are never part of the sources.
const SKIPPED: [&str; 4] = [".git", "target", ".cache", "node_modules"];

/// One file of the repository.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path below the root, with `/`.
    pub path: String,
    /// The entire text of the file.
    pub text: String,
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root")
        .to_path_buf()
}

/// Returns all text files of the repository, ordered by path.
pub fn files() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the walk found the repository");
    found
}

/// Returns all Rust files that are not generated.
pub fn rust_files() -> Vec<Source> {
    let mut files = files();
    files.retain(|file| file.path.ends_with(".rs") && !file.path.contains("/generated/"));
    files
}

/// Returns the file with this path below the root. Panics if it does not exist.
pub fn file(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    Source { path: path.into(), text }
}

/// Panics with all `findings`, so that one run shows everything that needs a fix. Returns if there are none.
pub fn none(rule: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{rule}:\n  {}\n",
        findings.join("\n  ")
    );
}

/// Adds all text files below `folder`, except [`SKIPPED`] directories and default data directories (`*.etcd`).
fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("folders of the repository are readable") {
        let path = entry
            .expect("folders of the repository are readable")
            .path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if SKIPPED.contains(&name) || name.ends_with(".etcd") {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let below = path
                .strip_prefix(root)
                .expect("the walk stays below the root");
            found.push(Source { path: below.to_string_lossy().replace('\\', "/"), text });
        }
    }
}
