//! The files of a ring. Their total size is bounded: the oldest files are removed to make space.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{format::Head, frame, ring::now_ns};

const SEGMENTS: u64 = 8;

/// Minimum size in bytes at which a file is counted, so that many restarts do not leave many files.
const FILE_COST_BYTES: u64 = 64 << 10;

/// Extension of the files, which have numbers as names.
pub(crate) const ENDING: &str = "rec";

/// The files of a ring. The newest file is open for writing.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) head: Head,
    pub(crate) folder: PathBuf,
    bytes: u64,
    /// Maximum size of a file in bytes.
    segment_bytes: u64,
    number: u64,
    file: Option<File>,
    written: u64,
    /// Whether the current file has frames after its head.
    has_frames: bool,
}

impl Files {
    /// Creates the directory if necessary, starts a new file after the existing files, and removes the oldest files as needed.
    /// `bytes` is the maximum size of all files together. The head gets the current time as `began_ns`.
    pub(crate) fn open(folder: PathBuf, bytes: u64, head: Head) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let number = numbers(&folder)?.last().copied().unwrap_or(0);
        let mut files = Self {
            head: Head { began_ns: now_ns(), ..head },
            folder,
            bytes,
            segment_bytes: bytes / SEGMENTS,
            number,
            file: None,
            written: 0,
            has_frames: false,
        };
        files.begin_next()?;
        Ok(files)
    }

    /// Writes frames, each entirely to one file. Starts new files and removes the oldest ones as needed.
    pub(crate) fn write(&mut self, mut frames: &[u8]) -> io::Result<()> {
        while !frames.is_empty() {
            let mut bytes = frame::fitting_frames_bytes(frames, self.room());
            if bytes == 0 && self.has_frames {
                self.begin_next()?;
                continue;
            }
            if bytes == 0 {
                // A frame larger than a file gets its own file.
                bytes = frame::first_frame_bytes(frames);
                self.make_room(self.written + bytes as u64)?;
            }
            let (first, rest) = frames.split_at(bytes);
            if let Some(file) = &mut self.file {
                file.write_all(first)?;
            }
            self.written += bytes as u64;
            self.has_frames = true;
            frames = rest;
        }
        Ok(())
    }

    /// Returns the number of bytes that still fit into the current file.
    fn room(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.written)
    }

    /// Removes the oldest files, so that the current file can grow to `bytes` bytes. Counts a small file as [`FILE_COST_BYTES`]
    /// or, if that is less, as a full file.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut room = self.bytes.saturating_sub(bytes);
        let least = FILE_COST_BYTES.min(self.segment_bytes);
        let files = numbers(&self.folder)?.into_iter().rev();
        for old in files.filter(|number| *number != self.number) {
            let path = path(&self.folder, old);
            let counted = fs::metadata(&path)?.len().max(least);
            match room.checked_sub(counted) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Creates the next file, removes the oldest files as needed, and writes the file's head.
    fn begin_next(&mut self) -> io::Result<()> {
        let mut file = self.create_next()?;
        self.make_room(self.segment_bytes)?;
        let mut head = Vec::new();
        self.head.begin(&mut head);
        file.write_all(&head)?;
        self.written = head.len() as u64;
        self.file = Some(file);
        self.has_frames = false;
        Ok(())
    }

    /// Creates the file with the next free number, readable only by its owner.
    fn create_next(&mut self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // The file contains keys in plaintext.
        let options = options.write(true).create_new(true).mode(0o600);
        loop {
            let next = self.number.checked_add(1);
            self.number = next.ok_or_else(|| io::Error::other("no number is left for a file"))?;
            match options.open(path(&self.folder, self.number)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened,
            }
        }
    }
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.{ENDING}"))
}

/// Lists the numbers of the ring's files in a directory, in ascending order. Leaves out other files.
pub(crate) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.path();
        let name = found.file_stem().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse().ok());
        let number = number.filter(|number| path(folder, *number) == found);
        if entry.file_type()?.is_file() {
            numbers.extend(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
