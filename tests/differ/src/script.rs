//! The file of a kept difference: a text of requests, one a line, and the answers that etcd gave.
//!
//! ```text
//! # why this script is kept
//! REQUEST
//! REQUEST
//! ----
//! ANSWER
//! ANSWER
//! ```
//! The dialect defines the meaning of both kinds of lines.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Between requests and answers.
const RULE: &str = "----";

/// Requests and the answers that are expected; none if the script was not recorded yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Lines that say why, without their `# `.
    pub why: Vec<String>,
    /// Requests, one a line.
    pub requests: Vec<String>,
    /// Answers, one a line, as many as requests.
    pub answers: Vec<String>,
}

impl Script {
    /// Reads what [`Script`] prints.
    ///
    /// # Errors
    /// If there are answers, and not as many as requests.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut answers = false;
        for line in text.lines() {
            if let (Some(why), false) = (line.strip_prefix('#'), answers) {
                script.why.push(why.trim().into());
            } else if line == RULE {
                answers = true;
            } else if answers {
                script.answers.push(line.into());
            } else if !line.trim().is_empty() {
                script.requests.push(line.into());
            }
        }
        if answers && script.answers.len() != script.requests.len() {
            return Err(format!(
                "{} requests and {} answers",
                script.requests.len(),
                script.answers.len()
            ));
        }
        Ok(script)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for why in &self.why {
            writeln!(f, "# {why}")?;
        }
        for request in &self.requests {
            writeln!(f, "{request}")?;
        }
        if !self.answers.is_empty() {
            writeln!(f, "{RULE}")?;
            for answer in &self.answers {
                writeln!(f, "{answer}")?;
            }
        }
        Ok(())
    }
}

/// The script in a file.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> io::Result<Script> {
    let text = fs::read_to_string(path)?;
    Script::parse(&text).map_err(io::Error::other)
}

/// The kept scripts of a dialect (`tests/differ/golden/DIALECT/*.script`), in order of their names.
///
/// # Panics
/// If one cannot be read, or there is none.
pub fn kept(dialect: &str) -> Vec<(PathBuf, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(dialect);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut scripts: Vec<(PathBuf, Script)> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "script"))
        .map(|path| {
            let script = read(&path).unwrap_or_else(|problem| panic!("{path:?}: {problem}"));
            (path, script)
        })
        .collect();
    scripts.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!scripts.is_empty(), "no script in {folder:?}");
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_what_it_prints() {
        let text = "# why\nPUT /a value=#1\nGET /a\n----\n201 {}\n\n";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.requests, ["PUT /a value=#1", "GET /a"]);
        assert_eq!(script.answers, ["201 {}", ""]);
        assert_eq!(script.to_string(), text);
    }

    #[test]
    fn a_missing_answer_is_an_error() {
        assert!(Script::parse("GET /a\nGET /b\n----\n200\n").is_err());
    }
}
