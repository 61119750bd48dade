//! Whose data this is and in which format: the file `identity` of a data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{OpenError, files::replace};

/// Version of everything below the member's folder. Raised by every change that an older release
/// could not read. 2: the checkpoint is a chain of runs; what 1 had is still read.
pub const FORMAT: u32 = 2;

/// Name of the file inside the member's folder.
const FILE: &str = "identity";

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: u64,
    /// Version of the format on disk, [`FORMAT`] for what this release writes.
    pub format: u32,
}

impl Identity {
    /// The identity under which this release writes data of a member.
    pub fn new(cluster_id: u64, member_id: u64) -> Self {
        Self {
            cluster_id,
            member_id,
            format: FORMAT,
        }
    }

    /// What the directory says; `None` when it was never finished or never used.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(OpenError::Unreadable { path });
            }
            Err(e) => return Err(OpenError::io(&path, e)),
        };
        Self::parse(path, &text).map(Some)
    }

    /// What the text of the file says.
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, OpenError> {
        // The format comes first, so that a newer release may change all lines after it.
        let number = |name: &str, radix: u32| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            u64::from_str_radix(line.trim(), radix).ok()
        };
        let format = number("format", 10).and_then(|n| u32::try_from(n).ok());
        let Some(format) = format else {
            return Err(OpenError::Unreadable { path });
        };
        if format > FORMAT {
            return Err(OpenError::NewerFormat {
                path,
                found: format,
            });
        }
        match (number("cluster", 16), number("member", 16)) {
            (Some(cluster_id), Some(member_id)) => Ok(Self {
                cluster_id,
                member_id,
                format,
            }),
            _ => Err(OpenError::Unreadable { path }),
        }
    }

    /// Durable when it returns.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        replace(dir, FILE, self.text().as_bytes())
    }

    pub(super) fn text(&self) -> String {
        format!(
            "format {}\ncluster {:016x}\nmember {:016x}\n",
            self.format, self.cluster_id, self.member_id
        )
    }

    /// Refuses another member's directory.
    pub(crate) fn matches(&self, found: &Self, dir: &Path) -> Result<(), OpenError> {
        if (found.cluster_id, found.member_id) == (self.cluster_id, self.member_id) {
            return Ok(());
        }
        Err(OpenError::Foreign {
            path: dir.join(FILE),
            found: *found,
            own: *self,
        })
    }
}
