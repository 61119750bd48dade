//! The file `identity` of a data directory: the owner of the data, and their format.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use witan_machine::member::{MemberId, MemberRegistry};

use super::{OpenError, files::replace_with};

/// Version of the format of everything in the member's folder. Every change that another release could not read
/// increments it.
pub const FORMAT: u32 = 4;

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
    Ok(stored(dir)?.map(|(identity, _)| identity))
}

/// Reads the file of a directory: the identity, and the inode that the file names.
fn stored(dir: &Path) -> Result<Option<(DataIdentity, String)>, OpenError> {
    let path = path(dir);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::identity(path, DAMAGED));
        }
        Err(e) => return Err(OpenError::io(&path, e)),
    };
    parse(path, &text).map(Some)
}

/// Says what is wrong with a file that has another content than was written.
const DAMAGED: &str = "is damaged: it was changed or cut";

/// Parses the text of the file: the identity, and the inode that the file names; `path` is for errors.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<(DataIdentity, String), OpenError> {
    let found = unseal(text).and_then(parse_lines);
    if let Some(found) = found.filter(|(identity, _)| identity.format == FORMAT) {
        return Ok(found);
    }
    // The format comes first, so that each release may change all lines after it.
    let first = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("format "));
    match first.and_then(|format| format.parse().ok()) {
        Some(found) if found != 0 && found != FORMAT => Err(OpenError::OtherFormat { path, found }),
        Some(_) | None => Err(OpenError::identity(path, DAMAGED)),
    }
}

/// Parses the lines before the checksum; `None` if they are not as [`lines`] writes them.
fn parse_lines(text: &str) -> Option<(DataIdentity, String)> {
    let mut fields = text.lines().map(|line| line.split_once(' '));
    let mut field = |name: &str| {
        let (found, value) = fields.next()??;
        (found == name).then_some(value)
    };
    let format = field("format")?.parse().ok()?;
    let cluster_id = u64::from_str_radix(field("cluster")?, 16).ok()?;
    let member_id = MemberId(u64::from_str_radix(field("member")?, 16).ok()?);
    let inode = field("inode")?.to_owned();
    let identity = DataIdentity { cluster_id, member_id, format };
    (lines(&identity, &inode) == text).then_some((identity, inode))
}

/// Returns the lines before the checksum.
pub(super) fn lines(identity: &DataIdentity, inode: &str) -> String {
    format!(
        "format {}\ncluster {:016x}\nmember {:016x}\ninode {inode}\n",
        identity.format, identity.cluster_id, identity.member_id.0
    )
}

/// Returns the text of the file.
pub(super) fn text(identity: &DataIdentity, inode: &str) -> String {
    seal(&lines(identity, inode))
}

/// Bytes of the line with a checksum.
const SEAL_BYTES: usize = "crc 00000000\n".len();

/// Appends a line with the checksum of all lines.
pub(super) fn seal(lines: &str) -> String {
    format!("{lines}crc {:08x}\n", crc32fast::hash(lines.as_bytes()))
}

/// Returns the lines before that of the checksum; `None` if the text was changed or cut.
pub(super) fn unseal(text: &str) -> Option<&str> {
    let (lines, _) = text.split_at_checked(text.len().checked_sub(SEAL_BYTES)?)?;
    (seal(lines) == text).then_some(lines)
}

/// Writes the file, durable on return. It names its inode, by which [`origin`] knows a copy.
pub(super) fn write(identity: &DataIdentity, dir: &Path) -> io::Result<()> {
    replace_with(dir, FILE, |data| text(identity, &inode(data)).into_bytes())
}

/// Where the file in a directory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A member has written it here.
    Written,
    /// It was copied here from another directory, which its member may have used during the copy and after it.
    Copied,
}

/// Returns where the file in a directory comes from.
pub(super) fn origin(dir: &Path) -> Result<Origin, OpenError> {
    let path = path(dir);
    let data = fs::metadata(&path).map_err(|error| OpenError::io(&path, error))?;
    Ok(match stored(dir)? {
        Some((_, noted)) if noted == inode(&data) => Origin::Written,
        Some(_) | None => Origin::Copied,
    })
}

/// Returns the number of an inode and when it was created, in ns since 1970, 0 where the file system does not know: another
/// file system may have the same number.
pub(super) fn inode(data: &Metadata) -> String {
    let created = data.created().ok();
    let created = created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let created_ns = created.map_or(0, |time| time.as_nanos());
    format!("{} {created_ns}", data.ino())
}

/// Checks that a directory belongs to this member and cluster; an error otherwise.
pub(super) fn check(own: &DataIdentity, found: &DataIdentity, dir: &Path) -> Result<(), OpenError> {
    if (found.cluster_id, found.member_id) == (own.cluster_id, own.member_id) {
        return Ok(());
    }
    Err(OpenError::Foreign { path: dir.join(FILE), found: *found, own: *own })
}

/// Refuses an identity that the checkpoint of the directory contradicts: it is another directory's.
pub(super) fn check_known(
    identity: &DataIdentity,
    members: &MemberRegistry,
    dir: &Path,
) -> Result<(), OpenError> {
    let DataIdentity { cluster_id, member_id, .. } = identity;
    let what = if members.cluster_id != *cluster_id {
        let known = members.cluster_id;
        format!("says cluster {cluster_id:x}, but the checkpoint is of cluster {known:x}")
    } else if members.by_id.contains_key(member_id) || members.removed_ids.contains(member_id) {
        return Ok(());
    } else {
        format!("says member {member_id}, but the checkpoint is of a cluster without such a member")
    };
    Err(OpenError::identity(path(dir), what))
}
