//! Recordings as they are read: of one file, or of all files of a ring. What is whole is used: a file that was cut or
//! altered is read up to there.

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

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum ReadError {
    #[error("read {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{0}: no file of a recording (00000001.rec, …) is there")]
    Empty(String),
    #[error("{0}: is not a recording: it does not begin as one, or its first frame is damaged")]
    Foreign(String),
}

/// A part of a file, each of which begins with its head; or the file whose rest cannot be read, and why.
pub(crate) type Step = Result<Part, (PathBuf, FrameFault)>;

/// The files of recordings, which are read one after the other.
#[derive(Debug)]
pub(crate) struct Recordings {
    files: std::vec::IntoIter<PathBuf>,
    /// The present file, and whether its head is yet to come.
    file: Option<(PathBuf, BufReader<File>, bool)>,
}

/// Opens a file, or the files of a folder. The first one is read up to its head.
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

/// Checks that a file begins as a recording does.
fn check(path: &Path) -> Result<(), ReadError> {
    let name = || path.display().to_string();
    let io = |source| ReadError::Io { path: name(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let head = frame::take_head(&mut file);
    head.map(drop).ok_or_else(|| ReadError::Foreign(name()))
}

impl Iterator for Recordings {
    type Item = Step;

    /// Reads the next part; `None` at the end of the last file. A file that cannot be read or is damaged gives a part with
    /// the fault, and the next part belongs to the next file.
    fn next(&mut self) -> Option<Step> {
        loop {
            let (path, mut file, mut begins) = match self.file.take() {
                Some(file) => file,
                None => {
                    let path = self.files.next()?;
                    match File::open(&path) {
                        Ok(file) => (path, BufReader::new(file), false),
                        Err(error) => return Some(Err((path, error.into()))),
                    }
                }
            };
            let part = match frame::take(&mut file) {
                Ok(Next::End) => continue,
                Ok(Next::Begin) => {
                    begins = true;
                    None
                }
                Ok(Next::Part(part)) if matches!(*part, Part::Head(_)) == begins => {
                    begins = false;
                    Some(Ok(*part))
                }
                Ok(Next::Part(_)) => Some(Err(FrameFault::Damaged)),
                Err(fault) => Some(Err(fault)),
            };
            let part = part.map(|part| part.map_err(|fault| (path.clone(), fault)));
            // what is behind a fault may be anything
            if !matches!(part, Some(Err(_))) {
                self.file = Some((path, file, begins));
            }
            if part.is_some() {
                return part;
            }
        }
    }
}
