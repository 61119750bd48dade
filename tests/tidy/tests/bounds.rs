//! Checks that `docs/internals/bounds.md` lists the product's constants whose names end with `_MAX` or `_MIN`. `UPDATE=1 cargo
//! test -p witan-tidy` writes the page.

use std::fs;

use witan_tidy::{Source, file, none, root, rust_files};

const PAGE: &str = "docs/internals/bounds.md";

/// The heading of the table. The text above it is not generated.
const HEADING: &str = "| constant | value | crate | what happens beyond |\n|---|---|---|---|\n";

/// Minimum number of constants. With fewer, the test did not read the sources.
const FOUND_MIN: usize = 50;

#[test]
fn the_page_lists_every_bound() {
    let (mut rows, mut silent) = (Vec::new(), Vec::new());
    for source in rust_files() {
        let is_product = source.path.starts_with("server/") || source.path.starts_with("operator/");
        let is_test = source.path.contains("tests/") || source.path.ends_with("tests.rs");
        if is_product && !is_test {
            rows_of(&source, &mut rows, &mut silent);
        }
    }
    none(
        "a bound has a doc comment that says what happens beyond it",
        &silent,
    );
    assert!(rows.len() > FOUND_MIN, "the sources were read");
    let page = file(PAGE).text;
    let (intro, _) = page.split_once(HEADING).expect("the page has its table");
    let fresh = [intro, HEADING, &rows.concat()].concat();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(PAGE), &fresh).expect("the page is writable");
    } else {
        assert!(
            page == fresh,
            "{PAGE} is stale: run `UPDATE=1 cargo test -p witan-tidy`"
        );
    }
}

/// Adds a row to `rows` for each bound in the file. Adds each bound without a doc comment to `silent`.
fn rows_of(source: &Source, rows: &mut Vec<String>, silent: &mut Vec<String>) {
    let mut doc = String::new();
    let mut lines = source.text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some((name, value)) = bound(line) {
            let mut value = value.to_owned();
            while !value.ends_with(';') {
                value.push_str(lines.next().expect("a constant ends with a semicolon"));
            }
            let sentence = doc.trim().split(". ").next().unwrap_or_default();
            let sentence = sentence
                .trim_end_matches('.')
                .replace("[`", "`")
                .replace("`]", "`");
            if sentence.is_empty() {
                silent.push(format!("{}: {name}", source.path));
            }
            let (folder, _) = source.path.split_once("/src/").unwrap_or_default();
            let name_of_crate = folder.trim_start_matches("server/crates/");
            let (path, value) = (
                &source.path,
                readable(&sentence, value.trim_end_matches(';')),
            );
            let place = format!("[{name_of_crate}](../../{path})");
            rows.push(format!("| `{name}` | {value} | {place} | {sentence} |\n"));
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
}

/// Returns the name and the value of a constant if a line declares a bound.
fn bound(line: &str) -> Option<(&str, &str)> {
    let (visibility, rest) = line.split_once("const ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (_, value) = rest.split_once('=')?;
    let is_bound = name.ends_with("_MAX") || name.ends_with("_MIN");
    let is_item = visibility.is_empty() || visibility.starts_with("pub");
    (is_bound && is_item).then_some((name, value.trim()))
}

/// Converts a number of bytes to KiB, MiB or GiB if the sentence mentions bytes. Returns other values as in the source.
fn readable(sentence: &str, value: &str) -> String {
    let units = [(" << 10", "KiB"), (" << 20", "MiB"), (" << 30", "GiB")];
    let number = |shift| {
        value
            .strip_suffix(shift)
            .filter(|rest| rest.parse::<u64>().is_ok())
    };
    let bytes = units
        .iter()
        .find_map(|(shift, unit)| Some(format!("{} {unit}", number(shift)?)));
    bytes
        .filter(|_| sentence.contains("ytes"))
        .unwrap_or_else(|| format!("`{value}`"))
}
