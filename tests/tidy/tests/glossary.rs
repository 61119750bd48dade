//! Checks that the last column of the glossary names the files that declare the types and functions in the second column.

use witan_tidy::{Source, file, none, rust_files};

const PAGE: &str = "docs/internals/glossary.md";

/// Minimum number of names. With fewer, the test did not read the page.
const FOUND_MIN: usize = 200;

const FUNCTIONS: &[&str] = &["fn"];
const TYPES: &[&str] = &["struct", "enum", "trait", "type"];

#[test]
fn the_glossary_names_the_declaring_files() {
    let (page, sources) = (file(PAGE).text, rust_files());
    let (mut found, mut wrong) = (0, Vec::new());
    for row in page.lines() {
        let cells: Vec<&str> = row.split('|').collect();
        // A table without a column for files has fewer cells.
        let [_, _, names, _, places, _] = &cells[..] else {
            continue;
        };
        let places: Vec<&str> = spans(places).collect();
        for name in spans(names) {
            let Some((keywords, declared)) = declaration(name) else {
                continue;
            };
            found += 1;
            let mut here = sources
                .iter()
                .filter(|source| places.iter().any(|place| is_at(source, place)));
            if !here.any(|source| declares(source, keywords, declared)) {
                wrong.push(format!("{name}: {places:?}"));
            }
        }
    }
    assert!(found > FOUND_MIN, "the page was read: {found}");
    none("the glossary names the file that declares a name", &wrong);
}

/// Returns the code spans in a cell.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Returns the keywords and the identifier that declare a name: a function for `Node::admit`, and a type for `Node` and
/// `Halt::Removed`. Returns `None` for modules and macros.
fn declaration(name: &str) -> Option<(&'static [&'static str], &str)> {
    let (first, last) = name.split_once("::").unwrap_or((name, ""));
    if last.starts_with(char::is_lowercase) {
        return Some((FUNCTIONS, last));
    }
    let is_type = first.starts_with(char::is_uppercase) && first.chars().all(char::is_alphanumeric);
    is_type.then_some((TYPES, first))
}

/// Returns whether a source is the file `place` or in the directory `place`. A place in a section about one crate is relative.
fn is_at(source: &Source, place: &str) -> bool {
    let place = place.trim_start_matches("../");
    source.path.starts_with(&format!("{place}/"))
        || source.path == place
        || source.path.ends_with(&format!("/{place}"))
}

/// Returns whether a source declares the identifier `name` with one of the keywords.
fn declares(source: &Source, keywords: &[&str], name: &str) -> bool {
    keywords.iter().any(|keyword| {
        let declaration = format!("{keyword} {name}");
        source.text.match_indices(&declaration).any(|(at, _)| {
            let rest = &source.text[at + declaration.len()..];
            !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        })
    })
}
