//! The file of a kept difference, with one request per line.
//!
//! ```text
//! # why this script is kept
//! REQUEST
//! REQUEST
//! ```
//! The dialect defines the meaning of a request.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The requests of a kept difference, and the reason why they are kept.
#[derive(Clone, Debug)]
pub struct Script {
    /// The lines of the reason, without `# `.
    pub why: Vec<String>,
    /// The requests, one per line.
    pub requests: Vec<String>,
}

impl Script {
    /// Parses the text of a [`Script`]. Every line that begins with `#` belongs to the reason, and empty lines are skipped.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let (why, requests): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('#'));
        Self {
            why: why.iter().map(|line| line[1..].trim().into()).collect(),
            requests: requests.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Reads a script from a file. Fails if the file cannot be read.
pub fn read(path: &Path) -> io::Result<Script> {
    Ok(Script::parse(&fs::read_to_string(path)?))
}

/// Returns the paths of the kept scripts of a dialect (`tests/differ/golden/DIALECT/*.script`), ordered by name. Panics if
/// there is none.
pub fn kept(dialect: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(dialect);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut scripts: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "script"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script in {folder:?}");
    scripts
}
