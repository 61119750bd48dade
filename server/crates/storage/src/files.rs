//! Makes files and their names durable and accessible only to the owner. Tests observe each durable step through [`watched`]
//! and make a step fail through [`inject_failure`].

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown,
    },
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{Advice, CWD, OFlags, RenameFlags, fadvise, renameat_with, statfs};

/// Mode of directories in the data directory, as in etcd. The files contain password hashes and all values.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

const OTHERS: u32 = 0o077;

/// Magic numbers of file systems that do not overwrite blocks in place, where writing zeros in advance gains nothing: btrfs,
/// ZFS, bcachefs, F2FS.
const COPYING: [i64; 4] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0xf2f5_2010];

/// Magic number of tmpfs, which keeps files in memory.
const TMPFS: i64 = 0x0102_1994;

/// Returns options that open a file for writing. Only the owner can access a file that they create. Symbolic links are not
/// followed.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    options.write(true).mode(FILE_MODE).custom_flags(no_link);
    options
}

/// Creates a file that only the owner can access, or truncates an existing file, which keeps its mode.
pub(super) fn create(path: &Path) -> io::Result<File> {
    inject_failure()?;
    private().create(true).truncate(true).open(path)
}

/// Creates a directory and its missing parents, accessible only to the owner. Their names are not yet durable.
pub(super) fn create_dirs(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIR_MODE).create(path)
}

/// A new directory that only its owner can access. It is removed on drop.
#[derive(Debug)]
pub(super) struct ScratchDirectory(pub(super) PathBuf);

impl ScratchDirectory {
    /// Creates the directory in `parent`. Its name contains `prefix`, the process id and the Unix time in nanoseconds. Fails if
    /// a process with the same id in another container has already created the directory.
    pub(super) fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        let path = parent.join(format!("{prefix}{}-{}", process::id(), now_ns()));
        DirBuilder::new().mode(DIR_MODE).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // A leftover only wastes space.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the Unix time in nanoseconds; 0 if the clock is before 1970.
pub(super) fn now_ns() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos())
}

/// Removes access for the group and other users from a file or from a directory and its contents. Libraries create files with
/// the mode that the umask permits. Skips symbolic links.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(path)?;
    if data.is_symlink() {
        return Ok(());
    }
    let mode = data.permissions().mode();
    if mode & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))?;
    }
    if data.is_dir() {
        for entry in fs::read_dir(path)? {
            make_private(&entry?.path())?;
        }
    }
    Ok(())
}

/// Gives a file, or a directory and its contents, to the owner of `model`. A privileged user may have created these files for
/// the member's user. Does nothing if the process lacks the permission.
pub(super) fn give_to_owner_of(model: &Path, path: &Path) -> io::Result<()> {
    let (owner, found) = (fs::metadata(model)?, fs::symlink_metadata(path)?);
    if (owner.uid(), owner.gid()) != (found.uid(), found.gid()) {
        match lchown(path, Some(owner.uid()), Some(owner.gid())) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            changed => changed?,
        }
    }
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_owner_of(model, &entry?.path())?;
        }
    }
    Ok(())
}

/// Returns a directory's mode if the group or other users can access it, otherwise `None`.
pub(super) fn open_to_others(dir: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(dir)?.permissions().mode() & 0o777;
    Ok((mode & OTHERS != 0).then_some(mode))
}

/// Replaces a small file's content atomically and durably.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    replace_with(dir, name, |_| content.to_vec())
}

/// Like [`replace`], but the content may depend on the new file's metadata, such as its inode.
pub(super) fn replace_with(
    dir: &Path,
    name: &str,
    content: impl FnOnce(&Metadata) -> Vec<u8>,
) -> io::Result<()> {
    let staged: PathBuf = dir.join(format!("{name}.tmp"));
    let write = || {
        let mut file = create(&staged)?;
        inject_failure()?;
        file.write_all(&content(&file.metadata()?))?;
        drop(file);
        sync_file(&staged)?;
        inject_failure()?;
        fs::rename(&staged, dir.join(name))
    };
    write().inspect_err(|_| {
        // Delete the partial file to free its space.
        let _ = fs::remove_file(&staged);
    })?;
    sync_dir(dir)
}

/// Returns whether the file system of `dir` overwrites blocks in place. Returns `true` for every file system that is not in
/// [`COPYING`], and `false` if the file system cannot be queried.
pub(super) fn overwrites(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|system| !COPYING.contains(&system.f_type))
}

/// Returns whether `dir` is on a tmpfs. Returns `false` if the file system cannot be queried.
pub(super) fn is_in_memory(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|system| system.f_type == TMPFS)
}

/// Exchanges two names atomically. Fails on file systems that do not support this.
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(io::Error::from)
}

/// Makes a file's content durable, including writes by another process or a library.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    inject_failure()?;
    File::open(path)?.sync_all()?;
    watched(path);
    Ok(())
}

/// Drops the file's pages from the kernel's cache. The call is only advice to the kernel, so a failure does not matter.
pub(super) fn drop_cached_pages(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Makes a directory's entries durable: creations, renames and removals.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    inject_failure()?;
    File::open(dir)?.sync_all()?;
    watched(dir);
    Ok(())
}

/// Makes the name of a file or directory durable in its parent directory.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Converts the error that a file does not exist to `None`.
pub(super) fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Deletes a file. The deletion is durable only after [`sync_parent`].
pub(super) fn remove(path: &Path) -> io::Result<()> {
    inject_failure()?;
    fs::remove_file(path)
}

/// Hook for tests, called after a file or directory has become durable.
#[cfg(not(test))]
fn watched(_path: &Path) {}
#[cfg(test)]
use super::tests::disk::watched;

/// Hook for tests, called before each operation on checkpoint files. If it fails, the operation fails.
#[cfg(not(test))]
pub(super) fn inject_failure() -> io::Result<()> {
    Ok(())
}
#[cfg(test)]
pub(super) use super::tests::failing_calls::inject_failure;
