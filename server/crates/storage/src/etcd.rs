//! Recognizes a data directory of etcd: both programs name the member's folder `member` and have the same default
//! directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{OpenError, format};

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

/// Refuses a directory on which etcd has run after its data were adopted: what it has written would be lost. Only etcd
/// writes its log, and our identity is written by the adoption and never again.
pub(super) fn refuse_newer(member: &Path) -> Result<(), OpenError> {
    let Ok(files) = fs::read_dir(member.join("wal")) else {
        return Ok(());
    };
    let identity = format::path(member);
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let adopted = changed(&identity).map_err(|error| OpenError::io(&identity, error))?;
    for file in files.flatten() {
        let etcd = file.path();
        if changed(&etcd).is_ok_and(|changed| changed > adopted) {
            return Err(OpenError::EtcdRanSince { etcd, identity });
        }
    }
    Ok(())
}
