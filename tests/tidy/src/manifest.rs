//! What a `Cargo.toml` depends on. Reads the plain form in which ours are written.

use crate::file;

/// Names of the dependencies in one section (`dependencies`, `dev-dependencies`) of a crate.
///
/// # Panics
/// If the crate has no manifest.
pub fn dependencies(folder: &str, section: &str) -> Vec<String> {
    let manifest = file(&format!("{folder}/Cargo.toml"));
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            inside = header == section;
            // [dependencies.name]
            if let Some(name) = header
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                names.push(name.to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            names.push(line[..end].to_owned());
        }
    }
    names
}
