//! Reads the recordings in one file or in all files of a ring. Reads a truncated or altered file up to the defect.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use crate::{
    files,
    format::Part,
    frame::{self, FrameFault, Next},
};

/// The reason why no recording can be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum ReadError {
    #[error("cannot read {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{0}: the directory contains no recording files (00000001.rec, …)")]
    Empty(String),
    #[error("{0} is not a recording, or its first frame is damaged")]
    Foreign(String),
}

/// A part of a file, or the path of a file and the reason why the remaining part of the file cannot be read. The first part of
/// each file is its head.
pub(crate) type Step = Result<Part, (PathBuf, FrameFault)>;

/// The recordings in some files, read in order.
#[derive(Debug)]
pub(crate) struct Recordings {
    files: std::vec::IntoIter<PathBuf>,
    /// The current file and whether its next part must be the head.
    file: Option<(PathBuf, BufReader<File>, bool)>,
}

/// Opens a file, or all files of a ring's directory. Fails if there is no file, or if a file cannot be read or is not a
/// recording.
pub(crate) fn open(path: &Path) -> Result<Recordings, ReadError> {
    let io = |source| ReadError::Io { path: path.display().to_string(), source };
    let mut files = vec![path.to_path_buf()];
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        let numbers = files::numbers(path).map_err(io)?;
        files = numbers
            .into_iter()
            .map(|number| files::path(path, number))
            .collect();
    }
    if files.is_empty() {
        return Err(ReadError::Empty(path.display().to_string()));
    }
    for file in &files {
        check(file)?;
    }
    Ok(Recordings { files: files.into_iter(), file: None })
}

/// Fails if a file cannot be read or does not begin with the head of a recording.
fn check(path: &Path) -> Result<(), ReadError> {
    let name = || path.display().to_string();
    let io = |source| ReadError::Io { path: name(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let head = frame::take_head(&mut file);
    head.map(drop).ok_or_else(|| ReadError::Foreign(name()))
}

impl Iterator for Recordings {
    type Item = Step;

    /// Reads the next part, or returns `None` after the last file. If a file is damaged or cannot be read, returns the fault,
    /// and the next call continues with the next file.
    fn next(&mut self) -> Option<Step> {
        loop {
            let (path, mut file, begins) = match self.file.take() {
                Some(file) => file,
                None => {
                    let path = self.files.next()?;
                    match File::open(&path) {
                        Ok(file) => (path, BufReader::new(file), false),
                        Err(error) => return Some(Err((path, error.into()))),
                    }
                }
            };
            match frame::take(&mut file) {
                Ok(Next::End) => {}
                Ok(Next::Begin) => self.file = Some((path, file, true)),
                Ok(Next::Part(part)) if matches!(*part, Part::Head(_)) == begins => {
                    self.file = Some((path, file, false));
                    return Some(Ok(*part));
                }
                // The bytes after a fault have no meaning.
                Ok(Next::Part(_)) => return Some(Err((path, FrameFault::Damaged))),
                Err(fault) => return Some(Err((path, fault))),
            }
        }
    }
}
