//! The tables beside the HTTP/2 code name tests that exist. What does *not* live here: whether
//! h2spec has the cases that they name, which `tests/http2/run` says.

use std::collections::BTreeSet;

use witan_tidy::{file, none, rust_files};

const TABLES: [&str; 3] = ["rfc9113.md", "rfc7541.md", "cve.md"];

/// Rows that each table has at least, so that an empty one is none.
const ROWS_MIN: usize = 15;

/// The tests of all files: functions with an attribute that ends with `test]`, and the entries of
/// `clauses!`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in rust_files() {
        let mut marked = false;
        let clauses = file.path == "tests/http2/tests/rfc9113/main.rs";
        for line in file.text.lines() {
            let name = |text: &str| {
                let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                text[..end.unwrap_or(text.len())].to_owned()
            };
            let code = line.trim_start();
            let function = code
                .strip_prefix("async ")
                .unwrap_or(code)
                .strip_prefix("fn ");
            if code.starts_with("#[") {
                marked |= code.ends_with("test]");
            } else if let Some(function) = function {
                if std::mem::take(&mut marked) {
                    found.insert(name(function));
                }
            } else if clauses
                && line.strip_prefix("    ").is_some_and(|rest| {
                    rest.starts_with(|c: char| c.is_ascii_lowercase())
                        && (rest.ends_with(':') || rest.contains(": ["))
                })
            {
                found.insert(name(code));
            }
        }
    }
    found
}

#[test]
fn every_clause_and_every_attack_names_its_test() {
    let tests = tests();
    assert!(tests.len() > 500, "the tests were read");
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
                if plain && name.contains('_') && !tests.contains(name) {
                    wrong.push(format!("{path}: no test is named {name}"));
                }
            }
        }
    }
    none("a clause names a test that exists", &wrong);
}
