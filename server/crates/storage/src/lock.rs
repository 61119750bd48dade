//! Locks a data directory, so that only one process uses it. A second process learns the holder's process id. Also waits for
//! locks that libraries take inside the directory.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    thread,
    time::Duration,
};

use super::{OpenError, files};

/// Name of the lock file inside the member's directory.
pub(super) const FILE: &str = "LOCK";

/// Number of attempts to lock a file.
const ATTEMPTS: u32 = 200;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);

/// Waits until a file inside this process's locked directory is unlocked. After the file has been closed, only a library task
/// that is ending, or a child process before its `exec`, can still hold the lock. Fails if the file is missing or stays locked
/// for a second.
pub(super) fn wait_until_unlocked(path: &Path) -> io::Result<()> {
    let file = open_to_lock(path)?;
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) => thread::sleep(ATTEMPT_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let path = path.display();
    Err(io::Error::other(format!("{path} is still locked")))
}

/// Opens an existing file to lock it. On NFS, an exclusive lock requires a file that is open for writing.
fn open_to_lock(path: &Path) -> io::Result<File> {
    files::private().read(true).open(path)
}

/// An exclusive lock on a directory, held until this value is dropped. The kernel releases it when the process ends, so it is
/// never stale.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock and writes the process id into the lock file, which is created if it is missing. Only logs a failure to
    /// write the id. If another process holds the lock, fails with [`OpenError::Locked`] and the holder's process id.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let opened = files::private().read(true).create(true).open(&path);
        let mut file = opened.map_err(|error| match path.is_symlink() {
            true => OpenError::io(&path, io::Error::other("it is a symbolic link")),
            false => OpenError::io(&path, error),
        })?;
        lock(&mut file, &path)?;
        // Overwriting the previous pid needs no new block on a full disk. The lock works without the pid.
        let pid = format!("{}\n", std::process::id());
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(pid.as_bytes()))
            .and_then(|()| file.set_len(pid.len() as u64));
        if let Err(error) = written {
            tracing::warn!(%error, "failed to write the pid into the lock file");
        }
        Ok(Self { file })
    }

    /// Takes the lock without writing the process id. Returns `None` if there is no lock file.
    pub(crate) fn take_existing(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(FILE);
        // On a read-only file system, the file can only be opened for reading, which is sufficient for a lock.
        let opened = open_to_lock(&path).or_else(|_| File::open(&path));
        let opened = files::existing(opened).map_err(|error| OpenError::io(&path, error))?;
        let Some(mut file) = opened else {
            return Ok(None);
        };
        lock(&mut file, &path)?;
        Ok(Some(Self { file }))
    }
}

/// Locks the file. If another process has locked it, fails with the process id that the file contains, if any.
fn lock(file: &mut File, path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The pid is only for the message.
            let _ = file.read_to_string(&mut holder);
            let pid = holder.trim().parse().ok();
            Err(OpenError::Locked(path.to_owned(), pid))
        }
        Err(TryLockError::Error(error)) => Err(OpenError::io(path, error)),
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file is not enough: until a starting child process runs its program, it shares the open file and
        // therefore the lock.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TempDir;

    /// NFS refuses an exclusive lock on a file that is open only for reading.
    #[test]
    fn a_file_is_open_for_writing_while_it_is_locked() {
        let dir = TempDir::new();
        let path = dir.0.join(FILE);
        assert!(DirectoryLock::take_existing(&dir.0).unwrap().is_none());
        std::fs::write(&path, "1").unwrap();
        wait_until_unlocked(&path).unwrap();
        let lock = DirectoryLock::take_existing(&dir.0).unwrap();
        let mut file = &lock.expect("the file exists").file;
        assert!(file.write_all(b"1").is_ok());
        assert!(open_to_lock(&path).unwrap().write_all(b"1").is_ok());
    }
}
