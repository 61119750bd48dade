//! Documents name files that exist.

use std::collections::BTreeSet;

use witan_tidy::{file, files, none, root};

/// The documents that lead newcomers.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

#[test]
fn named_paths_exist() {
    let tops: BTreeSet<String> = files()
        .iter()
        .filter_map(|file| file.path.split_once('/').map(|(top, _)| top.to_owned()))
        .collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for document in DOCUMENTS {
        for name in file(document).text.split('`').skip(1).step_by(2) {
            let path = name.split_whitespace().next().unwrap_or_default();
            let Some((top, _)) = path.split_once('/') else {
                continue;
            };
            if !tops.contains(top) || path.contains('*') {
                continue;
            }
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(found > 20, "the documents were read");
    none("what a document names is there", &missing);
}
