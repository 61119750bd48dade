//! Recognizes a data directory of etcd: both programs name the member's folder `member` and have the same default
//! directory.

use std::{
    io,
    path::{Path, PathBuf},
};

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
