//! Checks that the description of each crate of the product names all modules of the crate.

use std::iter::once;

use witan_tidy::{none, rust_files};

/// Minimum number of modules. With fewer, the test did not read the crates.
const FOUND_MIN: usize = 300;

#[test]
fn a_crate_names_its_modules() {
    let (mut found, mut silent) = (0, Vec::new());
    for source in rust_files() {
        let is_product = source.path.starts_with("server/") || source.path.starts_with("operator/");
        if !is_product || !source.path.ends_with("/src/lib.rs") {
            continue;
        }
        let lines = source.text.lines();
        let description: String = lines
            .clone()
            .filter(|line| line.starts_with("//!"))
            .collect();
        for (attribute, line) in once("").chain(lines.clone()).zip(lines) {
            let Some(name) = module(line) else {
                continue;
            };
            // Modules for tests and fuzzing are not part of the product.
            if attribute.starts_with("#[cfg") {
                continue;
            }
            found += 1;
            if !description.contains(&format!("`{name}`")) {
                silent.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert!(found > FOUND_MIN, "the crates were read: {found}");
    none("the description of a crate names its modules", &silent);
}

/// Returns the name of the module that a line declares in another file.
fn module(line: &str) -> Option<&str> {
    let declared = line.strip_prefix("pub ").unwrap_or(line);
    declared.strip_prefix("mod ")?.strip_suffix(';')
}
