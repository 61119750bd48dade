//! Makes files and names durable. Tests observe every step through [`watched`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Replaces the content of a small file atomically and durably: after a crash it has either the old
/// or the new content.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let staged: PathBuf = dir.join(format!("{name}.tmp"));
    let mut file = File::create(&staged)?;
    file.write_all(content)?;
    drop(file);
    sync_file(&staged)?;
    fs::rename(&staged, dir.join(name))?;
    sync_dir(dir)
}

/// Makes the content of a file durable, also if another process or library has written it.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    watched(path);
    Ok(())
}

/// Makes the entries of a folder durable: files that were created, renamed or removed in it.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    watched(dir);
    Ok(())
}

/// For tests: called after a file or folder has become durable.
#[cfg(not(test))]
fn watched(_path: &Path) {}
#[cfg(test)]
use super::tests::disk::watched;
