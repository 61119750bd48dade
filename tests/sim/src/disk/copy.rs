//! Copies of a disk: an earlier durable state, and whether the disk is a copy.

use witan_machine::{command::Command, member::MemberId, view::View};
use witan_replica::wire;

use super::{Disk, Log, saved::Saved};

/// The durable contents of a disk.
#[derive(Clone, Debug)]
struct Image {
    log: Log,
    newest: Saved,
    older: Option<Saved>,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The last copy taken.
    kept: Option<Image>,
    /// Whether the disk is a copy whose member does not vote yet.
    is_copy: bool,
    /// The disk before an older copy took its place.
    replaced: Option<Image>,
    /// Whether the older copy is an empty disk.
    is_emptied: bool,
}

impl Image {
    /// Returns the last index in the log or the checkpoint.
    fn last(&self) -> u64 {
        self.log.span().1.max(self.newest.index)
    }
}

impl Disk {
    /// Returns a copy of the durable contents.
    fn image(&self) -> Image {
        Image {
            log: self.durable.clone(),
            newest: self.newest.clone(),
            older: self.older.clone(),
        }
    }

    /// Replaces the contents of the disk with a copy.
    fn restore(&mut self, image: Image) {
        (self.live, self.durable) = (image.log.clone(), image.log);
        (self.newest, self.older) = (image.newest, image.older);
        self.unsynced.clear();
        self.written = None;
    }

    /// Returns whether the disk is only simulated; real storage cannot be copied here.
    pub(crate) fn can_be_copied(&self) -> bool {
        self.files.is_none()
    }

    /// Returns whether the disk is a copy whose member does not vote yet.
    pub(crate) fn is_copied(&self) -> bool {
        self.copies.is_copy
    }

    /// Returns whether the disk is an older copy or an empty disk, which lacks acknowledged data of its member.
    pub(crate) fn is_older(&self) -> bool {
        self.copies.replaced.is_some()
    }

    /// Returns the last durable index of the disk that an older copy or an empty disk replaced, or 0 if no disk was replaced.
    pub(crate) fn forgotten_index(&self) -> u64 {
        self.copies.replaced.as_ref().map_or(0, Image::last)
    }

    /// Takes a copy of the durable contents for later use.
    pub(crate) fn keep_copy(&mut self) {
        self.copies.kept = Some(self.image());
    }

    /// Replaces the disk with the last copy while the power is off. If `recognized` is set, the next startup recognizes the
    /// copy. Returns `false` if there is no copy. Each copy can be used only once.
    pub(crate) fn use_copy(&mut self, recognized: bool) -> bool {
        let Some(image) = self.copies.kept.take() else {
            return false;
        };
        self.copies.replaced = Some(self.image());
        self.copies.is_copy |= recognized;
        self.restore(image);
        true
    }

    /// Replaces the disk with an empty one while the power is off. The next startup writes the `genesis` again.
    pub(crate) fn empty(&mut self, genesis: &View) {
        self.copies.replaced = Some(self.image());
        self.copies.is_emptied = true;
        let newest = Saved::whole(genesis, self.next_run());
        self.restore(Image { log: Log::default(), newest, older: None });
    }

    /// Returns whether the disk was emptied and its member has neither caught up since nor received the former disk back.
    pub(crate) fn is_emptied(&self) -> bool {
        self.copies.is_emptied
    }

    /// Returns whether the disk contains the registration of a member's first disk, applied or not.
    pub(crate) fn registers(&self, id: u64) -> bool {
        let state = self.stored_state().expect("a checkpoint is sound");
        let known = state.machine.members.by_id.get(&MemberId(id));
        let mut later = self.durable.records.values();
        known.is_some_and(|member| member.store_id != 0)
            || later.any(|record| {
                let entry = wire::decode_entry(&record.payload.slice(1..));
                let command = entry.ok().and_then(|entry| entry.command);
                matches!(command, Some(Command::Publish(publish)) if publish.id == id)
            })
    }

    /// Restores the disk that an older copy or an empty disk replaced, while the power is off. Returns `false` if no disk was
    /// replaced.
    pub(crate) fn take_back(&mut self) -> bool {
        let Some(image) = self.copies.replaced.take() else {
            return false;
        };
        self.copies.is_emptied = false;
        self.restore(image);
        true
    }

    /// Marks the disk as a fresh copy of itself.
    pub(crate) fn mark_as_copy(&mut self) {
        self.copies.is_copy = true;
    }

    /// Marks the disk as the member's own, because the member is up to date.
    pub(crate) fn mark_as_own(&mut self) {
        (self.copies.is_copy, self.copies.is_emptied) = (false, false);
        self.copies.replaced = None;
    }
}
