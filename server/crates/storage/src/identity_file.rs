//! The `identity` file of a data directory. It names the owner and the format of the data. `formats` lists the formats.
//! `open_identity` changes the file of an open directory.

use std::{
    collections::hash_map::RandomState,
    fs::{self, Metadata},
    hash::BuildHasher as _,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use witan_machine::{
    levels,
    member::{MemberId, MemberRegistry, StoreLineage},
};

use super::{
    OpenError,
    files::{existing, replace_with},
    formats::{self, DataFormat, format_of},
};

/// Maximum number of originals that a copy names; older originals are left out. With fewer originals, the cluster would not
/// detect some nested copies.
pub const ANCESTORS_MAX: usize = 16;

/// Marks a copy that no leader has brought up to date yet.
const OUTDATED: &str = "outdated";

pub(super) const FILE: &str = "identity";

/// The member and cluster that own a directory's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIdentity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: MemberId,
}

impl DataIdentity {
    /// Creates the identity of a member's data.
    pub fn new(cluster_id: u64, member_id: MemberId) -> Self {
        Self { cluster_id, member_id }
    }
}

pub(super) fn path(member: &Path) -> PathBuf {
    member.join(FILE)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredIdentity {
    pub(super) identity: DataIdentity,
    pub(super) format: &'static DataFormat,
    pub(super) store: StoreLineage,
    /// Whether the directory is a copy that no leader has brought up to date yet.
    pub(super) outdated: bool,
    /// Inode of this file when it was written.
    pub(super) inode: String,
}

/// Reads a directory's identity file. Returns `None` if the file is missing, as it is until the directory's setup is complete.
pub(super) fn stored(dir: &Path) -> Result<Option<StoredIdentity>, OpenError> {
    let path = path(dir);
    let text = read_text(&path)?;
    text.map(|text| parse(path, &text)).transpose()
}

/// Reads a file that ends with a checksum. Returns `None` if the file is missing, and an empty string if the file is not UTF-8
/// and therefore damaged.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, OpenError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
        text => existing(text).map_err(|error| OpenError::io(path, error)),
    }
}

const DAMAGED: &str = "was changed or truncated";

/// Parses the file's text. Fails with `OtherFormat` if the text names an unknown format, and reports any other invalid text as
/// damaged. Errors contain `path` and the release that the text names.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<StoredIdentity, OpenError> {
    if let Some(found) = unseal(text).and_then(StoredIdentity::parse) {
        return Ok(found);
    }
    // The format and the release are first, so that a release can change all later lines.
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
    let format: Option<u32> = field("format ").and_then(|number| number.parse().ok());
    let release = field("release ").map(str::to_owned);
    match format {
        Some(found) if found != 0 && formats::numbered(found).is_none() => {
            Err(OpenError::OtherFormat(path, found, release))
        }
        Some(_) | None => Err(OpenError::identity(path, DAMAGED)),
    }
}

impl StoredIdentity {
    /// Creates the content for a new directory, with a new random store id. The content has the format of the first level,
    /// because a new member does not know the level of its cluster.
    pub(super) fn new(identity: DataIdentity) -> Self {
        let store = StoreLineage { id: random_store_id(), ancestors: Vec::new() };
        let format = format_of(levels::FIRST);
        Self {
            identity,
            format,
            store,
            outdated: false,
            inode: String::new(),
        }
    }

    /// Returns the content for a copy of the directory, marked as outdated: a new store id, with the current store id as its
    /// first ancestor.
    pub(super) fn of_copy(&self) -> Self {
        let ancestors = std::iter::once(&self.store.id).chain(&self.store.ancestors);
        let ancestors = ancestors.take(ANCESTORS_MAX).copied().collect();
        let store = StoreLineage { id: random_store_id(), ancestors };
        Self { store, outdated: true, ..self.clone() }
    }

    /// Parses the lines before the checksum. Returns `None` unless [`Self::lines`] would produce the same text.
    fn parse(text: &str) -> Option<Self> {
        let outdated = text.lines().any(|line| line == OUTDATED);
        let mut fields = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .peekable();
        let mut field = |name: &str| {
            let found = fields.next_if(|(found, _)| *found == name);
            found.map(|(_, value)| value)
        };
        let id = |text: &str| u64::from_str_radix(text, 16).ok();
        let format = formats::numbered(field("format")?.parse().ok()?)?;
        // The comparison with the lines checks the release.
        field("release");
        let cluster_id = id(field("cluster")?)?;
        let member_id = MemberId(id(field("member")?)?);
        let store_id = id(field("store")?)?;
        let copy_of = field("copy-of").unwrap_or_default();
        let ancestors: Option<Vec<u64>> = copy_of.split_terminator(' ').map(id).collect();
        let inode = field("inode")?.to_owned();
        let identity = DataIdentity { cluster_id, member_id };
        let store = StoreLineage { id: store_id, ancestors: ancestors? };
        let stored = Self { identity, format, store, outdated, inode };
        (stored.lines() == text).then_some(stored)
    }

    /// Returns the lines before the checksum.
    pub(super) fn lines(&self) -> String {
        let DataIdentity { cluster_id, member_id } = self.identity;
        let (format, release) = (self.format.number, self.format.release_line());
        let ancestors = self.store.ancestors.iter();
        let ancestors: String = ancestors.map(|id| format!(" {id:016x}")).collect();
        let copy_of = match ancestors.is_empty() {
            true => String::new(),
            false => format!("copy-of{ancestors}\n"),
        };
        let outdated = match self.outdated {
            true => format!("{OUTDATED}\n"),
            false => String::new(),
        };
        format!(
            "format {format}\n{release}cluster {cluster_id:016x}\nmember {:016x}\nstore {:016x}\n{copy_of}{outdated}inode {}\n",
            member_id.0, self.store.id, self.inode
        )
    }

    /// Returns whether the file was written in its directory or copied into it, as the recorded inode shows.
    pub(super) fn origin(&self, dir: &Path) -> Result<Origin, OpenError> {
        let path = path(dir);
        let data = fs::metadata(&path).map_err(|error| OpenError::io(&path, error))?;
        Ok(match self.inode == inode(&data) {
            true => Origin::Written,
            false => Origin::Copied,
        })
    }
}

/// Returns a random store id, which is never 0. A store id of 0 means that no id is registered.
fn random_store_id() -> u64 {
    // `RandomState` has random keys.
    RandomState::new().hash_one(SystemTime::now()).max(1)
}

const SEAL_BYTES: usize = "crc 00000000\n".len();

/// Appends a line with the checksum of all preceding lines.
pub(super) fn seal(lines: &str) -> String {
    format!("{lines}crc {:08x}\n", crc32fast::hash(lines.as_bytes()))
}

/// Returns the lines before the checksum line. Returns `None` if the text was changed or truncated.
pub(super) fn unseal(text: &str) -> Option<&str> {
    let (lines, _) = text.split_at_checked(text.len().checked_sub(SEAL_BYTES)?)?;
    (seal(lines) == text).then_some(lines)
}

/// Writes the file with its own inode, so that [`StoredIdentity::origin`] can detect a copy. The file is durable on return.
pub(super) fn write(stored: &StoredIdentity, dir: &Path) -> io::Result<()> {
    replace_with(dir, FILE, |data| {
        let stored = StoredIdentity { inode: inode(data), ..stored.clone() };
        seal(&stored.lines()).into_bytes()
    })
}

/// The origin of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The directory's setup was never completed.
    New,
    /// The member wrote the identity file in this directory.
    Written,
    /// The directory was copied. The member may have used the original during the copy and afterward.
    Copied,
}

/// Returns an inode's number, a space and the creation time as Unix time in nanoseconds. The time distinguishes equal numbers
/// on different file systems; it is 0 if the file system does not record it.
pub(super) fn inode(data: &Metadata) -> String {
    let created = data.created().ok();
    let created = created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let created_ns = created.map_or(0, |time| time.as_nanos());
    format!("{} {created_ns}", data.ino())
}

/// Refuses an identity that contradicts the checkpoint, because the identity file then belongs to another directory. Accepts a
/// member that was removed from the cluster.
pub(super) fn check_known(
    identity: &DataIdentity,
    members: &MemberRegistry,
    dir: &Path,
) -> Result<(), OpenError> {
    let DataIdentity { cluster_id, member_id } = identity;
    let what = if members.cluster_id != *cluster_id {
        let known = members.cluster_id;
        format!("contains cluster {cluster_id:x}, but the checkpoint belongs to cluster {known:x}")
    } else if members.by_id.contains_key(member_id) || members.removed_ids.contains(member_id) {
        return Ok(());
    } else {
        format!(
            "contains member {member_id}, but the checkpoint belongs to a cluster without this member"
        )
    };
    Err(OpenError::identity(path(dir), what))
}
