//! Makes files and names durable. Tests observe every step through [`watched`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes a small file so that after a crash either the old or the new content is there.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let staged: PathBuf = dir.join(format!("{name}.tmp"));
    let mut file = File::create(&staged)?;
    file.write_all(content)?;
    drop(file);
    sync_file(&staged)?;
    fs::rename(&staged, dir.join(name))?;
    sync_dir(dir)
}

/// Makes the content of a file durable, whoever wrote it.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    watched(path);
    Ok(())
}

/// Makes the names inside a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    watched(dir);
    Ok(())
}

/// Something is durable now.
#[cfg(not(test))]
fn watched(_path: &Path) {}
#[cfg(test)]
use super::tests::disk::watched;
