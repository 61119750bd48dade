//! The files of a ring as one stream of bytes, for a caller that requests them while they are written. The stream consists of
//! the files in order, each up to the end of its last whole frame, as [`crate::replay()`] reads them. Files with values in
//! clear are omitted.

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

/// Number of bytes to read at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// A stream over the files of a ring.
#[derive(Debug)]
pub struct HandedFiles {
    paths: std::vec::IntoIter<PathBuf>,
    /// The current file, and the number of its bytes that remain.
    file: Option<(File, u64)>,
    /// Whether bytes of a file have been read.
    has_begun: bool,
}

impl HandedFiles {
    /// Lists the files of a folder. Each file is opened when the stream reaches it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let numbers = files::numbers(folder)?.into_iter();
        let paths: Vec<PathBuf> = numbers.map(|number| files::path(folder, number)).collect();
        Ok(Self { paths: paths.into_iter(), file: None, has_begun: false })
    }

    /// Reads the next bytes. Returns `None` after the last file. Fails if the ring has removed a file while it was read,
    /// because the caller reads more slowly than the member records.
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

/// Opens a file. Returns it with the length of its whole frames, or `None` if it is not a recording or contains values in
/// clear.
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

/// Returns the length of a file in bytes up to the end of its last whole frame, which it finds by the lengths in the frame
/// headers.
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
