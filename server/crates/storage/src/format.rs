//! The file `identity` of a data directory: the owner of the data, and their format.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use witan_machine::member::MemberId;

use super::{OpenError, files::replace_with};

/// Version of the format of everything in the member's folder. Every change that another release could not read
/// increments it.
pub const FORMAT: u32 = 3;

/// Name of the file inside the member's folder.
pub(super) const FILE: &str = "identity";

/// The member and cluster whose data a directory holds, and its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIdentity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: MemberId,
    /// Version of the format on disk, [`FORMAT`] for what this release writes.
    pub format: u32,
}

impl DataIdentity {
    /// Makes the identity of a member's data in the format of this release.
    pub fn new(cluster_id: u64, member_id: MemberId) -> Self {
        Self { cluster_id, member_id, format: FORMAT }
    }
}

/// The file in the member's folder.
pub(super) fn path(member: &Path) -> PathBuf {
    member.join(FILE)
}

/// Reads the identity of a directory; `None` if its set-up was never finished.
pub(super) fn read(dir: &Path) -> Result<Option<DataIdentity>, OpenError> {
    let path = path(dir);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::Unreadable { path });
        }
        Err(e) => return Err(OpenError::io(&path, e)),
    };
    parse(path, &text).map(Some)
}

/// Parses the text of the file; `path` is for errors.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<DataIdentity, OpenError> {
    // The format comes first, so that each release may change all lines after it.
    let number = |name: &str, radix: u32| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        u64::from_str_radix(line.trim(), radix).ok()
    };
    let format = number("format", 10).and_then(|n| u32::try_from(n).ok());
    let Some(format) = format.filter(|format| *format > 0) else {
        return Err(OpenError::Unreadable { path });
    };
    if format != FORMAT {
        return Err(OpenError::OtherFormat { path, found: format });
    }
    match (number("cluster", 16), number("member", 16)) {
        (Some(cluster_id), Some(member_id)) => {
            Ok(DataIdentity { cluster_id, member_id: MemberId(member_id), format })
        }
        _ => Err(OpenError::Unreadable { path }),
    }
}

/// Writes the file, durable on return. Its last line names its inode, by which [`origin`] knows a copy.
pub(super) fn write(identity: &DataIdentity, dir: &Path) -> io::Result<()> {
    replace_with(dir, FILE, |data| {
        let text = text(identity);
        format!("{text}inode {}\n", inode(data)).into_bytes()
    })
}

/// Where the file in a directory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A member has written it here.
    Written,
    /// It was copied here from another directory, which its member may have used during the copy.
    Copied,
}

/// Returns where the file in a directory comes from.
pub(super) fn origin(dir: &Path) -> io::Result<Origin> {
    let path = path(dir);
    let (text, data) = (fs::read_to_string(&path)?, fs::metadata(&path)?);
    let noted = text.lines().find_map(|line| line.strip_prefix("inode "));
    Ok(match noted {
        Some(noted) if noted == inode(&data) => Origin::Written,
        Some(_) | None => Origin::Copied,
    })
}

/// Returns the number of an inode and when it was created, in ns since 1970, 0 where the file system does not know: another
/// file system may have the same number.
fn inode(data: &Metadata) -> String {
    let created = data.created().ok();
    let created = created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let created_ns = created.map_or(0, |time| time.as_nanos());
    format!("{} {created_ns}", data.ino())
}

/// Returns the text of the file `identity`, without its inode.
pub(super) fn text(identity: &DataIdentity) -> String {
    format!(
        "format {}\ncluster {:016x}\nmember {:016x}\n",
        identity.format, identity.cluster_id, identity.member_id.0
    )
}

/// Checks that a directory belongs to this member and cluster; an error otherwise.
pub(super) fn check(own: &DataIdentity, found: &DataIdentity, dir: &Path) -> Result<(), OpenError> {
    if (found.cluster_id, found.member_id) == (own.cluster_id, own.member_id) {
        return Ok(());
    }
    Err(OpenError::Foreign { path: dir.join(FILE), found: *found, own: *own })
}
