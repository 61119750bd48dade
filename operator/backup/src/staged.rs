//! Creates directories and deletes the partial files of killed processes.
//!
//! A file is written as `NAME.db#N` and renamed once its bytes are on the disk. Listings hide such files.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

/// The age after which a partial file is considered abandoned. An active upload writes every few seconds.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Creates a directory and its parents and syncs them to the disk.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    fs::create_dir_all(folder)?;
    for path in missing {
        if let Some(above) = path.parent() {
            File::open(above)?.sync_all()?;
        }
    }
    Ok(())
}

/// Deletes the partial files of `file` and the partial files of other files that are older than [`ABANDONED`]. Ignores
/// failures.
pub(crate) fn sweep(folder: &Path, file: &str) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((of, number)) = name.to_str().and_then(|name| name.rsplit_once('#')) else {
            continue;
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let written = entry.metadata().and_then(|data| data.modified());
        let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if of == file || age.is_ok_and(|age| age > ABANDONED) {
            let deleted = fs::remove_file(entry.path());
            tracing::info!(path = %entry.path().display(), deleted = deleted.is_ok(), "found a partial file of an interrupted upload");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestFolder;

    #[test]
    fn only_abandoned_files_are_deleted() {
        let folder = TestFolder::new("sweep");
        let deep = folder.path().join("a/b");
        create_folder(&deep).unwrap();
        let names = [
            "x.db#1",
            "x.db#12",
            "other.db#1",
            "old.db#1",
            "x.db",
            "x.db#",
            "x.db#1a",
            "#x",
        ];
        for name in names {
            let file = File::create(deep.join(name)).unwrap();
            if name.starts_with("old") {
                file.set_modified(SystemTime::now() - 2 * ABANDONED)
                    .unwrap();
            }
        }
        sweep(&deep, "x.db");
        let mut left: Vec<_> = fs::read_dir(&deep)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["#x", "other.db#1", "x.db", "x.db#", "x.db#1a"]);
    }
}
