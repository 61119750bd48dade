//! Recognizes a data directory of etcd: both programs name the member's folder `member` and have the same default
//! directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{OpenError, files, format};

/// Names in etcd's member folder, from 2.0 on.
const NAMES: [&str; 2] = ["snap", "wal"];

/// Returns the first of etcd's names in the member's folder; `None` if there is none.
pub(super) fn find(member: &Path) -> io::Result<Option<PathBuf>> {
    for path in NAMES.map(|name| member.join(name)) {
        if path.try_exists()? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The file in the member's folder that says that the data of etcd beside it were adopted, and when: its time of
/// modification.
const ADOPTED: &str = "adopted";

/// Notes in the member's folder that etcd's data were adopted up to this entry.
pub(super) fn note_adopted(member: &Path, index: u64) -> io::Result<()> {
    let text = format!("the data of etcd in this folder up to entry {index}\n");
    files::replace(member, ADOPTED, text.as_bytes())
}

/// Refuses a directory on which etcd has run after its data were adopted: what it has written would be lost.
pub(super) fn refuse_newer(member: &Path) -> Result<(), OpenError> {
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let Ok(adopted) = changed(&member.join(ADOPTED)) else {
        return Ok(());
    };
    let Ok(files) = fs::read_dir(member.join("wal")) else {
        return Ok(());
    };
    for file in files.flatten() {
        let etcd = file.path();
        if changed(&etcd).is_ok_and(|changed| changed > adopted) {
            return Err(OpenError::EtcdRanSince { etcd, identity: format::path(member) });
        }
    }
    Ok(())
}
