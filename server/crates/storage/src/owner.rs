//! The file `owner` in the raft log's directory. It names the member, so that an `identity` file from another directory is
//! detected. With `--wal-dir`, the file also names the link in the data directory. A copy of the data directory has its own
//! link to the log's directory and must not write to that directory.

use std::{fs, path::Path};

use witan_machine::member::MemberId;

use super::{DataIdentity, OpenError, files, identity_file};

pub(super) const FILE: &str = "owner";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogOwner {
    cluster_id: u64,
    member_id: MemberId,
    /// The link to the directory, if the log is outside the data directory.
    pub(super) link: Option<LogLink>,
}

/// The link `member/log` of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogLink {
    /// The link's inode number and creation time, which a copied link does not share.
    inode: String,
    /// The link's path when the log was placed. Messages contain this path, and it locates the original of a copied directory.
    path: String,
}

impl LogLink {
    /// Reads the link at `at` and records `path` as the link's final path. Returns `None` if `at` is missing or is not a link.
    pub(super) fn read(at: &Path, path: &Path) -> Result<Option<Self>, OpenError> {
        let data =
            files::existing(fs::symlink_metadata(at)).map_err(|error| OpenError::io(at, error))?;
        Ok(data.filter(fs::Metadata::is_symlink).map(|data| {
            // A line feed would end the line. A path that contains a line feed is never found again.
            let path = path.display().to_string().replace('\n', "?");
            Self { inode: identity_file::inode(&data), path }
        }))
    }

    /// Returns whether the link still exists at its path and points to `folder`.
    pub(super) fn still_points_to(&self, folder: &Path) -> bool {
        let at = Path::new(&self.path);
        let leads = || Some(fs::canonicalize(at).ok()? == fs::canonicalize(folder).ok()?);
        let found = Self::read(at, at).ok().flatten();
        found.is_some_and(|found| found.inode == self.inode) && leads() == Some(true)
    }
}

impl LogOwner {
    /// Creates the owner of a log. `link` is the link in the data directory, with `--wal-dir`.
    pub(super) fn new(identity: &DataIdentity, link: Option<LogLink>) -> Self {
        let DataIdentity { cluster_id, member_id } = *identity;
        Self { cluster_id, member_id, link }
    }

    /// Reads the owner file of a directory, or returns `None` if the file does not exist.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(FILE);
        let Some(text) = identity_file::read_text(&path)? else {
            return Ok(None);
        };
        let owner = identity_file::unseal(&text).and_then(Self::parse);
        let damaged = || OpenError::log(&path, 0, "the file was changed or truncated");
        owner.map(Some).ok_or_else(damaged)
    }

    /// Replaces the owner file in the directory `folder` durably.
    pub(super) fn write(&self, folder: &Path) -> Result<(), OpenError> {
        let text = identity_file::seal(&self.lines());
        files::replace(folder, FILE, text.as_bytes()).map_err(|error| OpenError::io(folder, error))
    }

    /// Returns the lines before the checksum.
    pub(super) fn lines(&self) -> String {
        let ids = format!(
            "cluster {:016x}\nmember {:016x}\n",
            self.cluster_id, self.member_id.0
        );
        match &self.link {
            Some(LogLink { inode, path }) => format!("{ids}inode {inode}\nlink {path}\n"),
            None => ids,
        }
    }

    /// Parses the lines without the checksum. Returns `None` unless [`Self::lines`] would produce the same text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        let mut field = |name: &str| fields.next().filter(|(found, _)| *found == name);
        let cluster_id = u64::from_str_radix(field("cluster")?.1, 16).ok()?;
        let member_id = MemberId(u64::from_str_radix(field("member")?.1, 16).ok()?);
        let inode = field("inode").map(|(_, inode)| inode.to_owned());
        let path = field("link").map(|(_, path)| path.to_owned());
        let link = inode.zip(path).map(|(inode, path)| LogLink { inode, path });
        let owner = Self { cluster_id, member_id, link };
        (owner.lines() == text).then_some(owner)
    }

    /// Fails unless `identity` is the identity of the member that owns the log in `folder`. The error names the identity file
    /// in the directory `member`.
    pub(super) fn check_ids(
        &self,
        identity: &DataIdentity,
        (member, folder): (&Path, &Path),
    ) -> Result<(), OpenError> {
        let DataIdentity { cluster_id, member_id } = *identity;
        if (self.cluster_id, self.member_id) == (cluster_id, member_id) {
            return Ok(());
        }
        let what = format!(
            "contains member {member_id} of cluster {cluster_id:x}, but {} contains member {} of cluster {:x}",
            folder.join(FILE).display(),
            self.member_id,
            self.cluster_id
        );
        Err(OpenError::identity(identity_file::path(member), what))
    }
}

/// Reads the owner of the log at `log`, which is a directory or a link to one. Fails if `log` is a link and the owner does not
/// name it. Returns `None` for a directory without an owner file.
pub(super) fn check_link(log: &Path) -> Result<Option<LogOwner>, OpenError> {
    let owner = LogOwner::read(log)?;
    let Some(own) = LogLink::read(log, log)? else {
        return Ok(owner);
    };
    let named = owner.as_ref().and_then(|owner| owner.link.as_ref());
    let what = match named {
        Some(named) if named.inode == own.inode => return Ok(owner),
        Some(named) => format!("its owner is {}", named.path),
        None => format!("the file {FILE} there does not name an owner"),
    };
    Err(OpenError::Conflict(format!(
        "{} points to a Raft log that belongs to another data directory: {what}. Nothing was changed. If this directory \
         is a copy, also copy the folder of the log, and point the link to that copy. If the original no longer \
         exists, start once with --wal-dir to make this directory the owner of the log",
        log.display()
    )))
}
