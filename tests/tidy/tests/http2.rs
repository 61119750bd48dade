//! Checks that the tables next to the HTTP/2 code name existing tests. `tests/http2/run` checks the names of h2spec's cases.

use witan_tidy::{Source, file, none, rust_files};

const TABLES: [&str; 3] = ["rfc9113.md", "rfc7541.md", "cve.md"];

/// Minimum number of rows in each table. With fewer, the test did not read the table.
const ROWS_MIN: usize = 15;

/// Returns whether a test has this name, as a function or an entry of `clauses!`.
fn exists(files: &[Source], name: &str) -> bool {
    let (function, entry) = (format!("fn {name}("), format!("\n    {name}:"));
    files.iter().any(|file| {
        let is_clauses = file.path == "tests/http2/tests/rfc9113/main.rs";
        file.text.contains(&function) || (is_clauses && file.text.contains(&entry))
    })
}

#[test]
fn every_clause_and_every_attack_has_a_test() {
    let files = rust_files();
    let mut wrong = Vec::new();
    for table in TABLES {
        let path = format!("server/crates/http2/docs/{table}");
        let text = file(&path).text.clone();
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1)
            .collect();
        assert!(rows.len() > ROWS_MIN, "{path} has rows");
        for row in rows {
            let Some(shown) = row.trim_end_matches('|').rsplit('|').next() else {
                continue;
            };
            let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
            let reason = shown
                .trim()
                .strip_prefix("none: ")
                .is_some_and(|why| why.len() > 10);
            if !reason && names.is_empty() {
                wrong.push(format!("{path}: neither test nor reason: {row}"));
            }
            for name in names {
                let plain = name
                    .chars()
                    .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
                if plain && name.contains('_') && !exists(&files, name) {
                    wrong.push(format!("{path}: no test is named {name}"));
                }
            }
        }
    }
    none("a clause names a test that exists", &wrong);
}
