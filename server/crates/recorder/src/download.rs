//! A stream with the files of a ring, for a client that downloads them while they are written. The stream contains each file up
//! to its last complete frame, in the order in which [`crate::replay()`] reads them. It omits files with plaintext values.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    files,
    format::{FRAME_BYTES_MAX, MAGIC},
    frame::{self, HEADER_BYTES},
};

const CHUNK_BYTES: u64 = 256 << 10;

/// A stream of the files of a ring.
#[derive(Debug)]
pub struct Download {
    paths: std::vec::IntoIter<PathBuf>,
    /// The current file and the number of bytes left to read.
    file: Option<(File, u64)>,
    /// Whether bytes of a file have been read.
    has_begun: bool,
}

impl Download {
    /// Lists the ring's files in a directory. Each file is opened when the stream reaches it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let numbers = files::numbers(folder)?.into_iter();
        let paths: Vec<PathBuf> = numbers.map(|number| files::path(folder, number)).collect();
        Ok(Self { paths: paths.into_iter(), file: None, has_begun: false })
    }

    /// Reads the next bytes, or returns `None` after the last file. Fails if the ring removes files before they are read,
    /// except files that it removes before the first chunk.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some((file, left)) = &mut self.file else {
                let Some(path) = self.paths.next() else {
                    return Ok(None);
                };
                self.file = match open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has_begun => {
                        None
                    }
                    opened => opened?,
                };
                continue;
            };
            let mut chunk = Vec::new();
            file.take(CHUNK_BYTES.min(*left)).read_to_end(&mut chunk)?;
            *left -= chunk.len() as u64;
            if *left == 0 || chunk.is_empty() {
                self.file = None;
            }
            if !chunk.is_empty() {
                self.has_begun = true;
                return Ok(Some(chunk.into()));
            }
        }
    }
}

/// Opens a file. Returns it with the length in bytes up to its last complete frame. Returns `None` if the file has plaintext
/// values, is not a recording, or has an unreadable head.
fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let file = File::open(path)?;
    let head = frame::take_head(&mut BufReader::new(&file));
    if head.is_none_or(|head| head.values_in_clear) {
        return Ok(None);
    }
    let whole = whole_bytes(&file)?;
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    Ok(Some((file, whole)))
}

/// Returns the length in bytes of a file up to its last complete frame, according to the lengths in the frames' headers. Moves
/// the file's read position.
fn whole_bytes(mut file: &File) -> io::Result<u64> {
    let all = file.metadata()?.len();
    file.seek(SeekFrom::Start(MAGIC.len() as u64))?;
    let mut frames = BufReader::new(file);
    let mut whole = MAGIC.len() as u64;
    let mut header = [0; HEADER_BYTES];
    while frame::fill(&mut frames, &mut header)? == HEADER_BYTES {
        let (length, _) = frame::fields(header);
        let end = whole + (HEADER_BYTES + length) as u64;
        if length > FRAME_BYTES_MAX || end > all {
            break;
        }
        frames.seek_relative(length as i64)?;
        whole = end;
    }
    Ok(whole)
}
