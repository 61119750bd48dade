//! Directories below the system's temporary directory.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// Returns the path of a new temporary directory without creating it.
pub(crate) fn fresh_dir(name: &str) -> PathBuf {
    let count = FOLDERS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("witan-e2e-{}-{count}-{name}", process::id()))
}

/// Copies a directory with its contents. `to` must not exist. Panics if `cp` fails.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    let is_done = copied.is_ok_and(|status| status.success());
    assert!(is_done, "cp -a {} {}", from.display(), to.display());
}

/// A new temporary directory. Dropping it removes the directory.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates the directory. Panics if the temporary directory is not writable.
    pub fn new(name: &str) -> Self {
        let dir = fresh_dir(name);
        fs::create_dir_all(&dir).expect("the temporary folder is writable");
        Self(dir)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Ignore files that a test made unreadable.
        let _ = fs::remove_dir_all(&self.0);
    }
}
