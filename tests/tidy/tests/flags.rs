//! Checks that the end-to-end test in the row of a supported flag uses the flag.

use witan_tidy::{files, none};

const TABLE: &str = "server/crates/config/src/flags";

/// Beginning of a supported flag's row, before the name of its test.
const SUPPORTED: &str = "Supported(\"";

#[test]
fn each_supported_flag_has_a_test_that_uses_it() {
    let files = files();
    let tests: Vec<_> = files
        .iter()
        .filter(|file| file.path.starts_with("tests/e2e/tests/"))
        .collect();
    let mut rows = 0;
    let mut wrong = Vec::new();
    for table in files.iter().filter(|file| file.path.starts_with(TABLE)) {
        for row in table
            .text
            .lines()
            .filter(|line| line.contains("Flag::new(\""))
        {
            let Some(test) = after(row, SUPPORTED) else {
                continue;
            };
            let flag = after(row, "Flag::new(\"").expect("the row has a name");
            rows += 1;
            match tests.iter().find_map(|file| body_of(&file.text, test)) {
                None => wrong.push(format!("--{flag}: there is no test {test}")),
                Some(body) if !names(body, flag) => {
                    wrong.push(format!("--{flag}: the test {test} does not use it"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(rows > 10, "the table of flags was read: {rows} rows");
    none("a supported flag has a test", &wrong);
}

/// Returns the text between `mark` and the next quotation mark.
fn after<'a>(row: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = row.split_once(mark)?;
    rest.split('"').next()
}

/// Returns the text from the head of a test to the next attribute, or `None` if there is no test of this name.
fn body_of<'a>(text: &'a str, test: &str) -> Option<&'a str> {
    let at = text
        .find(&format!("\nfn {test}("))
        .or_else(|| text.find(&format!("fn {test}(")))?;
    let attributed = text[..at]
        .trim_end_matches("async ")
        .trim_end()
        .ends_with("test]");
    let rest = &text[at..];
    let end = rest.find("\n#[").unwrap_or(rest.len());
    attributed.then_some(&rest[..end])
}

/// Returns whether the test uses the flag or its environment variable.
fn names(body: &str, flag: &str) -> bool {
    let variable = format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
    body.contains(&format!("--{flag}")) || body.contains(&variable)
}
