//! The checkpoint on disk: a chain of a base and differences, each of them runs (`run`). It does
//! not know what a record means, and it does not decide when one is taken (`checkpointer` does).
//!
//! - **What is published is never written again.** Every write goes into fresh folders, which
//!   nobody reads until the file `current` names them. Replacing that file is the atomic step (I4):
//!   before it a crash leaves the old chain as it was, after it the new one is complete and durable.
//! - **The chain before stays** until the next one is durable, and the log reaches back to it (I5).
//!   So whatever is wrong with the newest link, the start is from the chain before and the log.
//! - **A new base** is written when the chain holds more that is outdated than not, or is long. It
//!   takes over the runs of the base before in which nothing has changed (`reuse`).

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use witan_replica::machine::{
    record::{CorruptRecord, RecordChange},
    view::View,
};

use super::{
    LogSizes, OpenError,
    error::CheckpointReadError,
    files::{replace, sync_dir},
    ledger::Ledger,
    manifest::{COPY, CURRENT, Chain, Manifest, Run},
    merge::{MergedRecords, Records, folder},
    read_ahead::read_ahead,
    reuse::{KeyStretch, RunReuse},
    run::{self, RunItem},
};
use crate::panics::catch_in_library;

/// Records are sorted in memory up to this many bytes; then the next run begins.
const RUN_BYTES: u64 = 8 << 20;
/// A longer chain is written anew. Each link costs a start some milliseconds.
const LINKS_MAX: usize = 48;

/// Emits the changed records to write.
pub(super) type EmitChanges<'a> = dyn Fn(&mut dyn FnMut(RecordChange)) + 'a;

/// The checkpoint of one member.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    /// What is published.
    manifest: Manifest,
    /// Number of the next folder; never one that was used before.
    next: u64,
    /// The next write must be a new base.
    base_required: bool,
    /// The newest chain, or the file that names it, was damaged.
    fell_back: bool,
    /// A chain may always hold this many outdated bytes: a checkpoint's worth of log.
    outdated_bytes: u64,
    /// Size of the chain at which the number of outdated bytes is checked.
    compact_threshold: u64,
    /// Runs of the newest base that can be reused.
    reuse: RunReuse,
    run_bytes: u64,
    /// Says whether there is room for a run.
    ledger: Arc<Ledger>,
}

/// What a base holds.
#[derive(Default)]
struct Weight {
    /// Bytes of all records.
    all: u64,
    /// Bytes of those that no run of the base before holds.
    new: u64,
}

impl Weight {
    fn of(before: &RunReuse, whole: &EmitChanges<'_>) -> Self {
        let mut weight = Self::default();
        whole(&mut |change| {
            let bytes = size(&change);
            weight.all += bytes;
            if before.unchanged(key(&change)).is_none() {
                weight.new += bytes;
            }
        });
        weight
    }
}

/// Runs that are being written.
#[derive(Default)]
struct PendingLink {
    runs: Vec<Run>,
    reuse: RunReuse,
    /// What the next run will hold.
    items: Vec<RunItem>,
    bytes: u64,
    spans: Vec<KeyStretch>,
    /// Runs that were reused.
    kept: BTreeSet<usize>,
    /// Whether something was left out after the last item.
    gap: bool,
}

impl PendingLink {
    /// Reuses a run of the previous base that contains the next record.
    fn keep(&mut self, before: &RunReuse, place: usize) {
        self.gap = true;
        if self.kept.insert(place) {
            self.runs.push(before.run(place).clone());
            self.reuse.add_kept(before, place);
        }
    }

    fn add(&mut self, change: RecordChange) {
        self.bytes += size(&change);
        let (key, value) = match change {
            RecordChange::Put { key, value } => (key, Some(value)),
            RecordChange::Delete { key } => (key, None),
        };
        KeyStretch::extend(&mut self.spans, &key, std::mem::take(&mut self.gap));
        self.items.push((key, value));
    }
}

impl Checkpoint {
    /// Opens the folder and reads the checkpoint that is there, if one is.
    pub(super) fn open(dir: &Path, ledger: Arc<Ledger>) -> Result<(Self, Option<View>), OpenError> {
        let (mut checkpoint, view) = Self::open_with(dir, &mut |records| View::restore(records))?;
        checkpoint.ledger = ledger;
        Ok((checkpoint, view))
    }

    /// The same as [`Checkpoint::open`], streaming all records in key order through `restore`.
    pub(super) fn open_with<T>(
        dir: &Path,
        restore: &mut dyn FnMut(&mut Records<'_>) -> Result<T, CheckpointReadError>,
    ) -> Result<(Self, Option<T>), OpenError> {
        fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
        let mut checkpoint = Self {
            dir: dir.to_owned(),
            manifest: Manifest::default(),
            next: next_number(dir).map_err(|e| OpenError::io(dir, e))?,
            base_required: false,
            fell_back: false,
            outdated_bytes: LogSizes::of(dir).checkpoint_log_bytes,
            compact_threshold: 0,
            reuse: RunReuse::default(),
            run_bytes: RUN_BYTES,
            ledger: Arc::default(),
        };
        let Some(manifest) = checkpoint.read_manifest()? else {
            return Ok((checkpoint, None));
        };
        checkpoint.manifest = manifest;
        let error = match checkpoint.load(restore) {
            Ok(restored) => return Ok((checkpoint, Some(restored))),
            Err(error) => checkpoint.refusal(error),
        };
        if checkpoint.fall_back(&error)
            && let Ok(restored) = checkpoint.load(restore)
        {
            return Ok((checkpoint, Some(restored)));
        }
        Err(error)
    }

    /// What `current` says, or if that is damaged its copy. `None` where no checkpoint ever was.
    fn read_manifest(&mut self) -> Result<Option<Manifest>, OpenError> {
        let path = self.dir.join(CURRENT);
        let mut damaged = false;
        for path in [&path, &self.dir.join(COPY)] {
            match Manifest::read(path) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => damaged = true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(OpenError::io(path, e)),
            }
            (self.base_required, self.fell_back) = (true, true);
        }
        if damaged {
            return Err(OpenError::checkpoint(
                &path,
                "it does not name a checkpoint",
            ));
        }
        (self.base_required, self.fell_back) = (false, false);
        Ok(None)
    }

    /// Falls back to the previous chain, unless there is none or the error is not about the chain.
    fn fall_back(&mut self, error: &OpenError) -> bool {
        let damage = matches!(error, OpenError::Checkpoint { .. } | OpenError::Io { .. });
        if !damage || self.manifest.before.is_empty() {
            return false;
        }
        tracing::warn!(%error, "the newest checkpoint is damaged; starting from the previous one and the log");
        self.manifest.chain = std::mem::take(&mut self.manifest.before);
        (self.base_required, self.fell_back) = (true, true);
        true
    }

    fn load<T>(
        &mut self,
        restore: &mut dyn FnMut(&mut Records<'_>) -> Result<T, CheckpointReadError>,
    ) -> Result<T, CheckpointReadError> {
        let mut merged = MergedRecords::new(&self.dir, &self.manifest.chain);
        // sled panics on some damage instead of answering an error.
        let restored = catch_in_library(|| read_ahead(&mut merged, restore));
        let restored = restored.unwrap_or_else(|| {
            Err(CorruptRecord::new("reading the database ended in a panic").into())
        })?;
        let bytes = merged.bytes;
        self.compact_threshold = self.compact_threshold(bytes);
        Ok(restored)
    }

    fn refusal(&self, error: CheckpointReadError) -> OpenError {
        let (path, error) = match error {
            CheckpointReadError::At(path, error) => (path, *error),
            error @ (CheckpointReadError::Io(_)
            | CheckpointReadError::Database(_)
            | CheckpointReadError::Record(_)) => (self.dir.clone(), error),
        };
        let what = error.to_string();
        if let CheckpointReadError::Io(error) = error
            && error.kind() != io::ErrorKind::NotFound
        {
            return OpenError::io(&path, error);
        }
        OpenError::checkpoint(&path, what)
    }

    /// For tests: makes small runs, so that a small state has many.
    #[cfg(test)]
    pub(super) fn cut_runs_at(&mut self, bytes: u64) {
        self.run_bytes = bytes;
    }

    /// Whether the newest checkpoint did not read at the start and was not written anew since.
    pub(super) fn fell_back(&self) -> bool {
        self.fell_back
    }

    /// Makes the checkpoint one of `view`; durable when it returns. `since` is what the last
    /// successful write (or the start) left on disk; `None` writes everything anew.
    pub fn write(&mut self, since: Option<&View>, view: &View) -> io::Result<()> {
        let whole: &EmitChanges<'_> = &|emit| view.changes(None, emit);
        let size = |view: &View| view.machine.kv.size_bytes();
        if since.is_some_and(|since| size(since).saturating_sub(size(view)) >= self.outdated_bytes)
        {
            // compacted records are outdated, even if the chain is small
            self.compact_threshold = 0;
        }
        match since {
            Some(since) => self.store(Some(&|emit| view.changes(Some(since), emit)), whole),
            None => self.store(None, whole),
        }
    }

    /// The same, and nothing outdated stays on disk.
    pub fn rewrite(&mut self, since: Option<&View>, view: &View) -> io::Result<()> {
        self.base_required = true;
        self.write(since, view)
    }

    /// Appends the difference to the chain, or begins a new chain with the whole state.
    pub(super) fn store(
        &mut self,
        difference: Option<&EmitChanges<'_>>,
        whole: &EmitChanges<'_>,
    ) -> io::Result<()> {
        let stored = catch_in_library(|| match difference {
            Some(difference) if !self.wants_base(whole) => self.store_difference(difference),
            Some(_) | None => self.store_base(difference, whole),
        });
        stored.unwrap_or_else(|| Err(io::Error::other("writing the database ended in a panic")))
    }

    fn store_difference(&mut self, difference: &EmitChanges<'_>) -> io::Result<()> {
        // Taken out: after a panic nothing is reused.
        let mut reuse = std::mem::take(&mut self.reuse);
        let link = self.write_link(&RunReuse::default(), |emit| {
            difference(&mut |change| {
                reuse.mark_changed(key(&change));
                emit(change);
            });
        });
        self.reuse = reuse;
        let mut chain = self.manifest.chain.clone();
        chain.links.push(link?.runs);
        self.publish(chain)
    }

    fn store_base(
        &mut self,
        difference: Option<&EmitChanges<'_>>,
        whole: &EmitChanges<'_>,
    ) -> io::Result<()> {
        let mut reuse = std::mem::take(&mut self.reuse);
        match difference {
            Some(difference) => difference(&mut |change| reuse.mark_changed(key(&change))),
            // the state was replaced
            None => reuse = RunReuse::default(),
        }
        let room = self.check_room(&reuse, whole);
        let link = match room.and_then(|()| self.write_link(&reuse, whole)) {
            Ok(link) => link,
            Err(error) => {
                self.reuse = reuse;
                return Err(error);
            }
        };
        let chain = Chain {
            links: vec![link.runs],
        };
        self.compact_threshold = self.compact_threshold(chain.bytes());
        self.publish(chain)?;
        self.reuse = link.reuse;
        (self.base_required, self.fell_back) = (false, false);
        Ok(())
    }

    /// Whether the chain is long or holds much that is outdated, and a base has room.
    fn wants_base(&mut self, whole: &EmitChanges<'_>) -> bool {
        let chain = &self.manifest.chain;
        if self.base_required || chain.links.is_empty() {
            return true;
        }
        let long = chain.links.len() >= LINKS_MAX;
        let fits = self.ledger.has_room(&self.dir, chain.bytes());
        if long && fits {
            return true;
        }
        if !long && chain.bytes() < self.compact_threshold {
            return false;
        }
        let weight = Weight::of(&self.reuse, whole);
        self.compact_threshold = self.compact_threshold(weight.all);
        let outdated = chain.bytes() >= self.compact_threshold;
        // a chain that is longer than it should be is better than no checkpoint
        (long || outdated) && (fits || self.ledger.has_room(&self.dir, weight.new))
    }

    /// A base that cannot be finished is not begun: what it takes meanwhile is what the log needs.
    fn check_room(&self, reuse: &RunReuse, whole: &EmitChanges<'_>) -> io::Result<()> {
        let surely = 2 * (self.manifest.chain.bytes() + self.outdated_bytes);
        let fits = self.ledger.has_room(&self.dir, surely)
            || self
                .ledger
                .has_room(&self.dir, Weight::of(reuse, whole).new);
        if fits {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// Writes runs of what `before` does not hold; on an error none of them stays.
    fn write_link(
        &mut self,
        before: &RunReuse,
        changes: impl FnOnce(&mut dyn FnMut(RecordChange)),
    ) -> io::Result<PendingLink> {
        let first = self.next;
        let (mut link, mut outcome) = (PendingLink::default(), Ok(()));
        let mut hot = Vec::new();
        changes(&mut |change| {
            if outcome.is_err() {
                return;
            }
            if let Some(place) = before.unchanged(key(&change)) {
                link.keep(before, place);
            } else if before.is_hot(key(&change)) {
                link.gap = true;
                hot.push(change);
            } else {
                link.add(change);
                if link.bytes >= self.run_bytes {
                    outcome = self.write_run(&mut link);
                }
            }
        });
        for change in hot {
            link.gap = true;
            link.add(change);
        }
        if outcome.is_ok() && !link.items.is_empty() {
            outcome = self.write_run(&mut link);
        }
        link.reuse.finish();
        match outcome.and_then(|()| sync_dir(&self.dir)) {
            Ok(()) => Ok(link),
            Err(error) => {
                for number in first..self.next {
                    // What stays now goes with the next checkpoint.
                    let _ = fs::remove_dir_all(folder(&self.dir, number));
                }
                Err(error)
            }
        }
    }

    fn write_run(&mut self, link: &mut PendingLink) -> io::Result<()> {
        let PendingLink { items, spans, .. } = link;
        // Stable, so that of two changes of one key the later one counts.
        items.sort_by(|a, b| b.0.cmp(&a.0));
        items.reverse();
        items.dedup_by(|a, b| a.0 == b.0);
        let bytes: usize = items.iter().map(item_bytes).sum();
        let number = self.next;
        self.next += 1;
        let content = {
            let _claim = self.ledger.begin_run(&self.dir, bytes as u64)?;
            let path = folder(&self.dir, number);
            run::write(&path, items).inspect_err(|_| {
                // before the claim ends: the log counts on it
                let _ = fs::remove_dir_all(&path);
            })?
        };
        let run = Run::new(number, &items[0].0, content);
        items.clear();
        link.reuse
            .add(&run, std::mem::take(spans), self.run_bytes / 2);
        link.runs.push(run);
        link.bytes = 0;
        Ok(())
    }

    /// Publishes a chain atomically, then removes folders that are not needed any more.
    fn publish(&mut self, chain: Chain) -> io::Result<()> {
        let manifest = Manifest {
            before: self.manifest.chain.clone(),
            chain,
        };
        let text = manifest.encode();
        replace(&self.dir, CURRENT, text.as_bytes())?;
        self.manifest = manifest;
        // From here on only space and a second chance are at stake.
        let outcome = replace(&self.dir, COPY, text.as_bytes()).and_then(|()| self.remove_others());
        if let Err(error) = outcome {
            tracing::warn!(dir = %self.dir.display(), %error, "failed to clean up the checkpoint's folder");
        }
        Ok(())
    }

    /// The bytes of a chain at which it is looked at again when the whole state has `bytes`.
    fn compact_threshold(&self, bytes: u64) -> u64 {
        2 * bytes + self.outdated_bytes
    }

    /// Removes the folders that are not published.
    fn remove_others(&self) -> io::Result<()> {
        let Manifest { chain, before } = &self.manifest;
        let kept: BTreeSet<PathBuf> = chain
            .numbers()
            .chain(before.numbers())
            .map(|number| folder(&self.dir, number))
            .collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.is_dir() && !kept.contains(&path) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

fn item_bytes((key, value): &RunItem) -> usize {
    run::HEADER_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
}

fn key(change: &RecordChange) -> &[u8] {
    let (RecordChange::Put { key, .. } | RecordChange::Delete { key }) = change;
    key
}

fn size(change: &RecordChange) -> u64 {
    let (RecordChange::Put { key, .. } | RecordChange::Delete { key }) = change;
    let value = match change {
        RecordChange::Put { value, .. } => value.len(),
        RecordChange::Delete { .. } => 0,
    };
    (run::HEADER_BYTES + key.len() + value) as u64
}

/// A number above that of every folder.
fn next_number(dir: &Path) -> io::Result<u64> {
    let mut next = 1;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number + 1));
    }
    Ok(next)
}
