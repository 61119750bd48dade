//! The identity file of an open directory and the format in which its log and checkpoint are written.
//!
//! When the cluster's feature level rises, the file gets the later format before any other file does. A release that does not
//! know the format then refuses the directory by its identity, instead of considering the directory damaged.

use std::{
    io,
    path::{Path, PathBuf},
};

use witan_base::sync::Mutex;
use witan_machine::levels::Level;

use super::{
    formats::{DataFormat, format_of},
    identity_file::{self, StoredIdentity},
};

/// The identity of an open directory, shared by the threads that write to the directory.
#[derive(Debug)]
pub(super) struct OpenIdentity {
    pub(super) member: PathBuf,
    /// The content of the file. Locked while the file is written.
    stored: Mutex<StoredIdentity>,
    /// The format of the durable file. Has its own lock, so that an append to the log does not wait for the file.
    format: Mutex<&'static DataFormat>,
}

impl OpenIdentity {
    /// Creates the identity of the data directory whose member's directory is `member`. `stored` is the content of the identity
    /// file, which is not written.
    pub(super) fn new(member: &Path, stored: StoredIdentity) -> Self {
        Self {
            member: member.to_owned(),
            format: Mutex::new(stored.format),
            stored: Mutex::new(stored),
        }
    }

    pub(super) fn format(&self) -> &'static DataFormat {
        *self.format.lock()
    }

    /// Changes the file's content. The file is durable on return. After an error, the content in memory is the previous one.
    pub(super) fn update(&self, change: impl FnOnce(&mut StoredIdentity)) -> io::Result<()> {
        let mut stored = self.stored.lock();
        let mut changed = stored.clone();
        change(&mut changed);
        identity_file::write(&changed, &self.member)?;
        *self.format.lock() = changed.format;
        *stored = changed;
        Ok(())
    }

    /// Returns whether the format is earlier than the format of `level`.
    pub(super) fn is_behind(&self, level: Level) -> bool {
        self.format().number < format_of(level).number
    }

    /// Rewrites the file in the format of `level`, unless the file already has this format or a later one. Call this before
    /// writing any data of the level. The file is durable on return.
    pub(super) fn raise(&self, level: Level) -> io::Result<()> {
        if !self.is_behind(level) {
            return Ok(());
        }
        self.update(|stored| {
            let wanted = format_of(level);
            // Another thread may have raised the format further.
            if stored.format.number < wanted.number {
                stored.format = wanted;
            }
        })?;
        let DataFormat { number, first_release, .. } = self.format();
        tracing::info!(
            format = number,
            first_release,
            "the feature level has risen: the data directory has a later format, which earlier releases cannot read"
        );
        Ok(())
    }
}
