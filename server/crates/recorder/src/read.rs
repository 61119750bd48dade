//! Recordings as they are read: of one file, or of all files of a ring. What is whole is used: a file that was cut or
//! altered is read up to there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    format::{self, FrameFault, Gap, Head, MAGIC, Part, Start, Turn},
    ring,
};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file or folder cannot be read.
    #[error("read {path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// The folder has no file of a recording.
    #[error("{0}: no file of a recording (00000001.rec, …) is there")]
    Empty(String),
    /// Another kind of file.
    #[error("{0}: is not a recording: it does not begin as one, or its first frame is damaged")]
    Foreign(String),
    /// Larger than any that the recorder writes.
    #[error("{0}: is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge(String),
}

/// The recording of one process.
#[derive(Debug)]
pub struct Recording {
    /// Which process.
    pub head: Head,
    /// The frames behind the heads of its files, in order.
    files: Vec<(PathBuf, Bytes)>,
}

/// One step of reading a recording.
#[derive(Debug)]
pub(crate) enum Step {
    Start(Box<Start>),
    Turn(Turn),
    Gap(Gap),
    /// The rest of a file cannot be read; whether it is the last one.
    Fault {
        file: PathBuf,
        at: usize,
        fault: FrameFault,
        last: bool,
    },
}

/// Reads a file, or the files of a folder: one recording for each process that wrote there, in order.
pub fn read(path: &Path) -> Result<Vec<Recording>, ReadError> {
    let io = |source| ReadError::Io { path: path.display().to_string(), source };
    let mut files = vec![path.to_path_buf()];
    if fs::metadata(path).map_err(io)?.is_dir() {
        let numbers = ring::numbers(path).map_err(io)?;
        let name = |number| path.join(format!("{number:08}.{}", ring::ENDING));
        files = numbers.into_iter().map(name).collect();
    }
    if files.is_empty() {
        return Err(ReadError::Empty(path.display().to_string()));
    }
    let mut recordings: Vec<Recording> = Vec::new();
    for file in files {
        let (head, rest) = read_file(&file)?;
        match recordings.last_mut() {
            Some(last) if last.head == head => last.files.push((file, rest)),
            Some(_) | None => recordings.push(Recording { head, files: vec![(file, rest)] }),
        }
    }
    Ok(recordings)
}

fn read_file(path: &Path) -> Result<(Head, Bytes), ReadError> {
    let name = || path.display().to_string();
    let io = |source| ReadError::Io { path: name(), source };
    if fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge(name()));
    }
    let bytes = Bytes::from(fs::read(path).map_err(io)?);
    if !bytes.starts_with(MAGIC) {
        return Err(ReadError::Foreign(name()));
    }
    let mut rest = bytes.slice(MAGIC.len()..);
    match format::take(&mut rest) {
        Some(Ok(Part::Head(head))) => Ok((head, rest)),
        Some(Ok(Part::Start(_) | Part::Turn(_) | Part::Gap(_)) | Err(_)) | None => {
            Err(ReadError::Foreign(name()))
        }
    }
}

impl Recording {
    /// All that can be read, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> {
        self.files
            .iter()
            .enumerate()
            .flat_map(|(place, (file, bytes))| {
                let last = place + 1 == self.files.len();
                let (mut rest, mut ended) = (bytes.clone(), false);
                std::iter::from_fn(move || {
                    if ended {
                        return None;
                    }
                    let at = bytes.len() - rest.len();
                    Some(match format::take(&mut rest)? {
                        Ok(Part::Start(start)) => Step::Start(Box::new(start)),
                        Ok(Part::Turn(turn)) => Step::Turn(turn),
                        Ok(Part::Gap(gap)) => Step::Gap(gap),
                        Ok(Part::Head(_)) => {
                            ended = true;
                            Step::Fault { file: file.clone(), at, fault: FrameFault::Damaged, last }
                        }
                        Err(fault) => {
                            ended = true;
                            Step::Fault { file: file.clone(), at, fault, last }
                        }
                    })
                })
            })
    }
}
