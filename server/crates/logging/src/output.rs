//! The outputs of log lines: stdout, stderr and files with rotation.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use witan_config::{LogOutput, Rotation};

use super::line::timestamp;

/// All outputs, locked while a thread writes a line.
pub(super) struct Outputs(Mutex<Vec<Output>>);

enum Output {
    Stderr,
    Stdout,
    File(LogFile),
}

impl Outputs {
    /// Opens all outputs. Files grow without limit if `rotation` is `None`. Fails with an error that names the file if a log
    /// file cannot be opened.
    pub(super) fn open(outputs: &[LogOutput], rotation: Option<Rotation>) -> io::Result<Self> {
        let open = |output: &LogOutput| {
            Ok(match output {
                LogOutput::Stderr => Output::Stderr,
                LogOutput::Stdout => Output::Stdout,
                LogOutput::File(path) => {
                    let file = LogFile::open(path, rotation).map_err(|error| {
                        let what = format!("cannot open the log file {}: {error}", path.display());
                        io::Error::new(error.kind(), what)
                    });
                    Output::File(file?)
                }
            })
        };
        let outputs: io::Result<_> = outputs.iter().map(open).collect();
        Ok(Self(Mutex::new(outputs?)))
    }

    /// Writes a line to all outputs. Ignores errors, because a full disk must not stop the member.
    pub(super) fn write(&self, line: &str) {
        // A panic cannot leave the outputs inconsistent.
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for output in &mut *outputs {
            let _lost = match output {
                Output::Stderr => io::stderr().write_all(line.as_bytes()),
                Output::Stdout => io::stdout().write_all(line.as_bytes()),
                Output::File(file) => file.write(line.as_bytes()),
            };
        }
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    rotation: Option<Rotation>,
}

impl LogFile {
    /// Opens a file for appending. Creates the file if it does not exist. The file grows without limit if `rotation` is `None`.
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, rotation })
    }

    /// Appends a line. First rotates a nonempty file that the line would make too large, and ignores a failed rotation.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if let Some(rotation) = self.rotation
            && self.size > 0
            && self.size + length > rotation.max_size_mib << 20
        {
            // If the rotation fails, the file grows, because a file that is too large is better than a lost line.
            let _failed = self.rotate(rotation);
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    /// Renames the file, if it still exists, to a name like `witan-2026-…Z.log`. Creates a new file, and deletes surplus and
    /// old rotated files. A maximum number or age of 0 means no limit.
    fn rotate(&mut self, rotation: Rotation) -> io::Result<()> {
        let (stem, extension) = self.name();
        let time = timestamp(SystemTime::now()).replace(':', "-");
        let aside = self
            .path
            .with_file_name(format!("{stem}-{time}{extension}"));
        // Another program may have moved or deleted the file.
        if let Err(error) = fs::rename(&self.path, aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        *self = Self::open(&self.path, self.rotation)?;
        let aside = self.rotated_files()?;
        let surplus = match rotation.max_backups {
            0 => 0,
            keep => aside.len().saturating_sub(keep),
        };
        let age_max = Duration::from_secs(rotation.max_age_days.saturating_mul(86_400));
        let is_old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|meta| meta.modified());
            let age = modified.ok().and_then(|at| at.elapsed().ok());
            !age_max.is_zero() && age.is_some_and(|age| age > age_max)
        };
        for (at, path) in aside.iter().enumerate() {
            if at < surplus || is_old(path) {
                // Another program may have deleted the file. If it still exists, the next rotation tries again.
                let _failed = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Returns the stem of the file's name and the extension with its dot, or an empty string if there is no extension.
    fn name(&self) -> (String, String) {
        let text = |part: &OsStr| part.to_string_lossy().into_owned();
        let stem = self.path.file_stem().map(text).unwrap_or_default();
        let extension = self.path.extension().map(text);
        (
            stem,
            extension.map_or_else(String::new, |it| format!(".{it}")),
        )
    }

    /// Returns the rotated files of this log, recognized by their names, oldest first.
    fn rotated_files(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.name();
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let mut aside = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let time = name
                .strip_prefix(&format!("{stem}-"))
                .and_then(|n| n.strip_suffix(&extension));
            // The name of a rotated file of this log contains a time.
            if time.is_some_and(|time| time.len() == 27 && time.ends_with('Z')) {
                aside.push(entry.path());
            }
        }
        aside.sort();
        Ok(aside)
    }
}
