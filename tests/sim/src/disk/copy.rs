//! Copies of a disk: what is durable at some time, and which disk is one.

use super::{Disk, Log, Saved};

/// What is durable on a disk.
#[derive(Clone, Debug)]
struct Image {
    log: Log,
    newest: Saved,
    older: Option<Saved>,
}

/// The copies of a disk.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The copy that was taken last.
    kept: Option<Image>,
    /// Whether the disk is a copy, and its member does not vote yet.
    is_copy: bool,
    /// The disk before an older copy took its place.
    replaced: Option<Image>,
}

impl Image {
    fn last(&self) -> u64 {
        self.log.span().1.max(self.newest.index)
    }
}

impl Disk {
    fn image(&self) -> Image {
        Image {
            log: self.durable.clone(),
            newest: self.newest.clone(),
            older: self.older.clone(),
        }
    }

    fn restore(&mut self, image: Image) {
        (self.live, self.durable) = (image.log.clone(), image.log);
        (self.newest, self.older) = (image.newest, image.older);
        self.unsynced.clear();
        self.written = None;
    }

    /// Whether the disk is simulated alone, so that it can be copied here.
    pub(crate) fn can_be_copied(&self) -> bool {
        self.files.is_none()
    }

    /// Whether the disk is a copy whose member does not vote yet.
    pub(crate) fn is_copied(&self) -> bool {
        self.copies.is_copy
    }

    /// Whether the disk is an older copy, which lacks what its member has acknowledged.
    pub(crate) fn is_older(&self) -> bool {
        self.copies.replaced.is_some()
    }

    /// The last entry that was durable here when an older copy took the place of the disk, 0 if none did.
    pub(crate) fn forgotten_index(&self) -> u64 {
        self.copies.replaced.as_ref().map_or(0, Image::last)
    }

    /// Takes a copy.
    pub(crate) fn keep_copy(&mut self) {
        self.copies.kept = Some(self.image());
    }

    /// Puts the copy that was taken last in the place of the disk. Whether there is one. The power is off, and the
    /// next start finds a copy if it is `recognized`.
    pub(crate) fn use_copy(&mut self, recognized: bool) -> bool {
        let Some(image) = self.copies.kept.take() else {
            return false;
        };
        self.copies.replaced = Some(self.image());
        self.copies.is_copy |= recognized;
        self.restore(image);
        true
    }

    /// Puts the disk back that an older copy has replaced. Whether there is one. The power is off.
    pub(crate) fn take_back(&mut self) -> bool {
        let Some(image) = self.copies.replaced.take() else {
            return false;
        };
        self.restore(image);
        true
    }

    /// The disk is a copy of what it was.
    pub(crate) fn mark_as_copy(&mut self) {
        self.copies.is_copy = true;
    }

    /// The member has been brought up to date.
    pub(crate) fn mark_as_own(&mut self) {
        self.copies.is_copy = false;
        self.copies.replaced = None;
    }
}
