//! The checkpoint on disk: a chain of links. The first link is the base, and each later link is a difference. Links consist of
//! runs (`run`). `checkpointer` schedules checkpoints.
//!
//! - **Published runs are immutable.** Every write creates new files, which startup does not read until the file `current`
//!   names them. Replacing `current` is the atomic step (I4): a crash leaves either the old chain or the new one complete.
//! - **The previous chain stays** until the next chain is durable, and the log reaches back to the previous chain (I5). If the
//!   newest link is damaged, startup uses the previous chain and the log. If a later release wrote a link, startup fails,
//!   because this release would drop the parts that it does not know.
//! - **Outdated chains stay on disk for a while** (`retention`), with copies of their manifests.
//! - **A new base** is written when most of the chain is outdated or the chain is long. It keeps runs of blocks with few
//!   outdated bytes (`base_plan`). In a large state, it rewrites only as many other runs as the limit on outdated bytes
//!   requires.
//! - **Blocks get a place** in the new runs when their chain is published: their values can then be evicted from memory
//!   (`run_file`). A block in a kept run keeps its place. An outdated run stays while a place refers to it, for example in an
//!   older view.
//! - **A state that is being built is written in parts** (`parts`), which are not published. The values of a part can be
//!   evicted from memory, so the state can be larger than memory.
//! - **All runs of a chain have one format.** When the feature level rises, the directory's identity gets the later format
//!   (`open_identity`). The next checkpoint is then a base without kept runs. If there is not enough space for it, the previous
//!   chain is dropped first.

mod parts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use witan_base::panics::catch_in_library;
use witan_machine::{values::BlockCache, view::View};

use parts::Parts;

use super::{
    OpenError,
    base_plan::{BasePlan, RunsToRewrite},
    error::{CheckpointReadError, is_damage, lacks_space},
    folder::{CheckpointFolder, copies},
    formats::DataFormat,
    identity_file::Origin,
    ledger::Ledger,
    link::LinkWriter,
    manifest::{CURRENT, Chain, Manifest, Run, copy_name},
    manifest_file,
    open_identity::OpenIdentity,
    read_ahead::read_chain,
    retention::{self, Outdated},
    run::{RUN_BYTES, run_number},
    run_file::RunBlocks,
    space::checkpoint_log_bytes,
};

/// Number of links in a chain at which the next write is a base. Each link adds a few milliseconds to startup.
pub(super) const LINKS_BEFORE_REWRITE: usize = 48;

/// Minimum size of the outdated records that a base removes, in checkpoint intervals. After a smaller base, the next checkpoint
/// would be a base again.
const REMOVED_INTERVALS: u64 = 8;

/// A member's checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) folder: Arc<CheckpointFolder>,
    /// The published chain, and an installation that startup has not finished yet.
    pub(super) manifest: Manifest,
    /// The number in the name of the copy of `manifest`, if the copy exists.
    copy: Option<u64>,
    /// Chains that were published earlier and are still on disk.
    pub(super) outdated: Outdated<OutdatedChain>,
    /// Number of snapshots that this process had installed when it published `manifest`.
    installs: u64,
    /// Whether the next write must be a new base.
    pub(super) base_required: bool,
    /// Whether the last write was a base that did not fit on the disk. The next write is then a difference, if possible. Free
    /// space does not account for every quota, so the same base could fail each time.
    base_lacked_space: bool,
    /// Whether startup found the newest chain or its manifest damaged, and no base has been written or received since.
    pub(super) fell_back: bool,
    /// Number of bytes by which the outdated records may exceed the state before a chain is rewritten: the size of the log
    /// between two checkpoints.
    pub(super) outdated_bytes: u64,
    /// Chain size in bytes above which the chain's outdated bytes are counted.
    pub(super) compact_threshold: u64,
    /// Size in bytes of the records in the chain that are known to be outdated, as of startup or the last base.
    outdated_in_chain: u64,
    /// The parts of a state that is being built. `manifest` lists their runs.
    parts: Parts,
    /// Maximum size of a run in bytes.
    pub(super) run_bytes: u64,
}

/// A chain that is no longer published.
#[derive(Debug)]
pub(super) struct OutdatedChain {
    copy: Option<u64>,
    runs: Vec<Run>,
}

impl Checkpoint {
    /// Opens or creates the directory, removes the scratch directories of killed processes, and reads the manifests of the
    /// checkpoint. Fails if only damaged manifests exist. [`Self::restore`] reads the state that the manifests describe. Call
    /// this before opening the log, so that sled's statistics (20 MiB) get fresh zeroed pages, which take no memory until they
    /// are written.
    pub(super) fn open(
        dir: &Path,
        origin: Origin,
        ledger: Arc<Ledger>,
        identity: Arc<OpenIdentity>,
        cache: Arc<BlockCache>,
    ) -> Result<(Self, Vec<Manifest>), OpenError> {
        fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
        manifest_file::remove_leftovers(dir);
        let next = next_number(dir).map_err(|e| OpenError::io(dir, e))?;
        let copies = copies(dir).map_err(|e| OpenError::io(dir, e))?;
        let numbers = (next, copies.first().copied().unwrap_or(0));
        let mut checkpoint = Self {
            manifest: Manifest::new(identity.format(), Chain::default()),
            folder: CheckpointFolder::new(dir.to_owned(), ledger, identity, cache, numbers),
            copy: None,
            outdated: Outdated::default(),
            installs: 0,
            base_required: false,
            base_lacked_space: false,
            fell_back: false,
            outdated_bytes: checkpoint_log_bytes(dir),
            compact_threshold: 0,
            outdated_in_chain: 0,
            parts: Parts::default(),
            run_bytes: RUN_BYTES,
        };
        let manifests = checkpoint.read_manifests(&copies, origin)?;
        Ok((checkpoint, manifests))
    }

    /// Reads the state from the first intact chain. Of each manifest, tries the chain, then the previous chain. Returns `None`
    /// if there are no manifests, because no checkpoint was ever written. A directory that was copied while in use may lack
    /// runs of the newest checkpoint. Fails with `LaterRelease` if a later release wrote the first intact chain. If no chain is
    /// intact, fails with the first error. If the chain comes from an older manifest, publishes it again. After a damaged
    /// chain, sets `fell_back` and requires a base.
    pub(super) fn restore(&mut self, manifests: Vec<Manifest>) -> Result<Option<View>, OpenError> {
        let mut refusal = None;
        for (number, manifest) in manifests.into_iter().enumerate() {
            let chain = manifest.before.clone();
            let previous = Manifest { chain, before: Chain::default(), ..manifest.clone() };
            let candidates = [manifest, previous].into_iter();
            for candidate in candidates.filter(|candidate| !candidate.chain.is_empty()) {
                self.manifest = candidate;
                match self.load() {
                    Ok(view) => {
                        self.fell_back |= refusal.is_some();
                        self.base_required = self.fell_back;
                        if number > 0 {
                            // The next startup must use the same chain even if it no longer treats the directory as a copy.
                            let published = self.publish_manifest(&self.manifest);
                            let copy = published.map_err(|e| OpenError::io(&self.folder.dir, e))?;
                            self.copy = Some(copy);
                        }
                        return Ok(Some(view));
                    }
                    Err(error) if error.is_later() => {
                        return Err(error.refusal(&self.folder.dir));
                    }
                    Err(error) => {
                        let error = error.refusal(&self.folder.dir);
                        tracing::warn!(%error, "a checkpoint is damaged; looking for an earlier checkpoint");
                        refusal = refusal.or(Some(error));
                    }
                }
            }
        }
        refusal.map_or(Ok(None), Err)
    }

    /// Reads the file `current`, or the newest intact copy if `current` is missing or damaged. In a copied directory, reads
    /// `current` and all copies. Sets `fell_back` and `copy`. Returns the manifests, newest first, or an empty list if no
    /// checkpoint was ever written. Fails with the first error if only damaged files exist. Also fails if a file cannot be read
    /// for a reason other than damage ([`is_damage`]).
    fn read_manifests(
        &mut self,
        copies: &[u64],
        origin: Origin,
    ) -> Result<Vec<Manifest>, OpenError> {
        let dir = &self.folder.dir;
        let current = std::iter::once(CURRENT.to_owned());
        let names = current.chain(copies.iter().map(|number| copy_name(*number)));
        let (mut manifests, mut refusal, mut reads_current) = (Vec::new(), None, false);
        for name in names {
            let path = dir.join(&name);
            match Manifest::read(&path) {
                Ok(Some(found)) => {
                    reads_current |= name == CURRENT;
                    manifests.push(found);
                    if origin != Origin::Copied {
                        break;
                    }
                }
                Ok(None) => {
                    let what = "the file does not list a checkpoint";
                    refusal = refusal.or(Some(OpenError::checkpoint(&path, what)));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) if is_damage(&e) => refusal = refusal.or(Some(OpenError::io(&path, e))),
                Err(e) => return Err(OpenError::io(&path, e)),
            }
        }
        if manifests.is_empty()
            && let Some(refusal) = refusal
        {
            return Err(refusal);
        }
        self.fell_back = !reads_current && !manifests.is_empty();
        let equals_current = |number: &u64| {
            let copy = fs::read(dir.join(copy_name(*number)));
            copy.is_ok_and(|copy| fs::read(dir.join(CURRENT)).is_ok_and(|it| it == copy))
        };
        let newest = copies.first().copied();
        self.copy = newest.filter(|number| reads_current && equals_current(number));
        Ok(manifests)
    }

    /// Reads the state from the chain of `manifest`. Records this chain as the published one, and the size of the state in the
    /// ledger. Sets the chain size at which a new base is considered.
    fn load(&mut self) -> Result<View, CheckpointReadError> {
        let (view, bytes) = read_chain(&self.folder, &self.manifest.chain, &|| true)?;
        let checkpoint_bytes = &self.folder.ledger.checkpoint_bytes;
        checkpoint_bytes.store(bytes, Relaxed);
        self.outdated_in_chain = self.manifest.chain.bytes().saturating_sub(bytes);
        self.folder
            .state()
            .published
            .clone_from(&self.manifest.chain);
        self.compact_threshold = self.compact_threshold(bytes);
        Ok(view)
    }

    /// Returns whether the chain has an earlier format than the directory, so that a base must replace it.
    pub(super) fn has_earlier_format(&self) -> bool {
        self.manifest.format.number < self.folder.identity.format().number
    }

    /// Writes a checkpoint of `view`, which is durable on return. `since` is the state of the checkpoint on disk, so only the
    /// difference from it is written. `None` writes the entire state, or only the remaining records after
    /// [`Checkpoint::write_part`]. If the level of `view` requires a later format, first upgrades the directory to that format.
    /// A panic becomes an error. After an error, the previous checkpoint remains, and the blocks of `view` keep their places.
    /// After a success, settles the blocks of `view` in the new runs and removes files that are no longer needed.
    pub fn write(&mut self, since: Option<&View>, view: &View) -> io::Result<()> {
        self.folder.identity.raise(view.machine.members.level())?;
        let part = self.parts.written.clone();
        let since = since.or(part.as_ref());
        let size = |view: &View| view.machine.kv.size_bytes();
        if since.is_some_and(|since| size(since).saturating_sub(size(view)) >= self.outdated_bytes)
        {
            // Even a small chain can contain records that a compaction has made outdated.
            self.compact_threshold = 0;
        }
        let stored = catch_in_library(|| match self.due_base(since, view) {
            Some(plan) => {
                let stored = self.store_base(plan, view);
                self.base_lacked_space = stored.as_ref().is_err_and(lacks_space);
                stored
            }
            None => self.store_difference(since, view),
        });
        let stored = stored.unwrap_or_else(|| {
            Err(io::Error::other(
                "a panic occurred while the checkpoint was written",
            ))
        });
        for blocks in stored? {
            blocks.settle(&self.folder, |key, place| view.settle(key, place));
        }
        // The blocks no longer refer to the runs that this checkpoint has replaced.
        self.remove_others();
        Ok(())
    }

    /// Writes a checkpoint of `view` as a new base without outdated records. `since` has the same meaning as in
    /// [`Checkpoint::write`]. After an error, the next checkpoint may be a difference again.
    pub fn rewrite(&mut self, since: Option<&View>, view: &View) -> io::Result<()> {
        let required = std::mem::replace(&mut self.base_required, true);
        self.write(since, view)
            .inspect_err(|_| self.base_required = required)
    }

    /// Writes the difference from `since` as a new link of the chain and publishes the chain. Returns the blocks of the link's
    /// runs.
    fn store_difference(
        &mut self,
        since: Option<&View>,
        view: &View,
    ) -> io::Result<Vec<RunBlocks>> {
        let mut link = LinkWriter::new(&self.folder, self.installs, self.run_bytes);
        view.changes(since, &mut |change| link.add(change));
        let (runs, blocks) = link.finish()?;
        let mut chain = self.manifest.chain.clone();
        chain.links.push(runs);
        self.publish(chain, self.manifest.format)?;
        Ok(blocks)
    }

    /// Writes the planned base as a new chain with one link and publishes it. Returns the blocks of the new runs. Fails with
    /// `StorageFull` before any write if the base does not fit on the disk.
    fn store_base(&mut self, plan: BasePlan, view: &View) -> io::Result<Vec<RunBlocks>> {
        self.check_room(&plan, view)?;
        let mut link = LinkWriter::new(&self.folder, self.installs, self.run_bytes);
        plan.write(view, &mut link);
        let (runs, blocks) = link.finish()?;
        let size = plan.size(view).all;
        self.compact_threshold = self.compact_threshold(size);
        let chain = Chain { links: vec![[plan.kept, runs].concat()] };
        let outdated = chain.bytes().saturating_sub(size);
        let before = std::mem::replace(&mut self.outdated_in_chain, outdated);
        self.publish(chain, plan.format)
            .inspect_err(|_| self.outdated_in_chain = before)?;
        (self.base_required, self.fell_back) = (false, false);
        Ok(blocks)
    }

    /// Plans a base of `view`. Keeps runs of the published chain that have at least half of the maximum size, unless they are
    /// among the most outdated runs (`base_plan`). If a base is required, the kept runs have no outdated bytes. Does not keep
    /// any run if `since` is missing, if startup has fallen back, or if the format of the chain differs from the directory's.
    fn plan_base(&self, since: Option<&View>, view: &View) -> BasePlan {
        // A snapshot installed during this write may raise the directory's format. The snapshot then also replaces this base.
        let format = self.folder.identity.format();
        let keeps_runs = since.is_some() && !self.fell_back && format == self.manifest.format;
        let none = Chain::default();
        let chain = match keeps_runs {
            true => &self.manifest.chain,
            false => &none,
        };
        let rewritten = match self.base_required {
            true => RunsToRewrite::Outdated,
            false => {
                let slack_bytes = REMOVED_INTERVALS * self.outdated_bytes;
                RunsToRewrite::MostOutdated { slack_bytes }
            }
        };
        let which = (self.run_bytes / 2, rewritten);
        BasePlan::new(format, &self.folder, chain, view, which)
    }

    /// Plans a new base if the next write must be a base, for example because `since` is missing. Also plans a base if the
    /// chain is too long or has too many outdated bytes, and the base fits on the disk. Otherwise, and once after a base that
    /// lacked space, returns `None`, so that the next write is a difference. Updates `compact_threshold` whenever it computes
    /// the size of a base.
    fn due_base(&mut self, since: Option<&View>, view: &View) -> Option<BasePlan> {
        let chain = &self.manifest.chain;
        let (long, bytes) = (chain.links.len() >= LINKS_BEFORE_REWRITE, chain.bytes());
        let is_first = since.is_none() || chain.links.is_empty();
        if is_first || self.base_required || self.has_earlier_format() {
            return Some(self.plan_base(since, view));
        }
        if std::mem::take(&mut self.base_lacked_space) || !long && bytes < self.compact_threshold {
            return None;
        }
        let (plan, fits) = (self.plan_base(since, view), self.has_room(bytes));
        if long && fits {
            return Some(plan);
        }
        let size = plan.size(view);
        self.compact_threshold = self.compact_threshold(size.all);
        let outdated = bytes >= self.compact_threshold;
        // If the base does not fit, the chain grows beyond its limit rather than blocking checkpoints.
        ((long || outdated) && (fits || self.has_room(size.new))).then_some(plan)
    }

    /// Fails with `StorageFull` if a base does not fit on the disk. An unfinished base would take the log's space.
    fn check_room(&self, plan: &BasePlan, view: &View) -> io::Result<()> {
        let bytes_max = 2 * (self.manifest.chain.bytes() + self.outdated_bytes);
        if self.has_room(bytes_max) || self.has_room(plan.size(view).new) {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// Publishes a chain of this format atomically; the replaced chain then becomes outdated. It stays the previous chain in
    /// the manifest unless parts were written, because startup must not use a part. While a part is being written, changes only
    /// the manifest in memory.
    pub(super) fn publish(&mut self, chain: Chain, format: &'static DataFormat) -> io::Result<()> {
        // Startup must never use a part as the previous checkpoint.
        let before = match self.parts.written.is_some() {
            true => Chain::default(),
            false => self.manifest.chain.clone(),
        };
        let manifest = Manifest { before, ..Manifest::new(format, chain) };
        if self.parts.writing {
            self.manifest = manifest;
            return Ok(());
        }
        let copy = self.publish_manifest(&manifest)?;
        let runs = manifest.before.runs().cloned().collect();
        let copy = self.copy.replace(copy);
        self.outdated.push(OutdatedChain { copy, runs });
        (self.manifest, self.parts) = (manifest, Parts::default());
        Ok(())
    }

    /// Publishes the chain without the previous one, so that the base in a later format can use the space of the previous
    /// chain. Does nothing unless there is a previous chain and the next checkpoint must be a base in a later format.
    pub(super) fn drop_before(&mut self) -> io::Result<()> {
        let Manifest { format, chain, before, .. } = self.manifest.clone();
        match self.has_earlier_format() && !before.is_empty() && before != chain {
            true => self.publish(chain, format),
            false => Ok(()),
        }
    }

    /// Ends the retention of outdated chains that are too old, of the oldest chains while their total size is too large, and of
    /// all chains if the file system is small or lacks free space. Removes runs and manifest copies that are neither
    /// published nor kept. Logs a failure, because a leftover file only wastes space.
    pub(super) fn remove_others(&mut self) {
        let has_room = retention::has_room(&self.folder.dir);
        let max = self.manifest.chain.bytes() + retention::OUTDATED_INTERVALS * self.outdated_bytes;
        loop {
            let kept = self.outdated_chains_bytes();
            if self.outdated.pop(|_| !has_room || kept > max).is_none() {
                break;
            }
        }
        let outdated = self.outdated.iter().flat_map(|chain| &chain.runs);
        let runs = self.published().chain(outdated.map(|run| run.number));
        let copies = self.outdated.iter().filter_map(|chain| chain.copy);
        let copies = copies.chain(self.copy).collect();
        if let Err(error) = self.folder.remove_others(runs, &copies, self.installs) {
            let dir = self.folder.dir.display();
            tracing::warn!(%dir, %error, "failed to remove old files from the checkpoint directory");
        }
    }

    /// Returns the numbers of the runs in the published chain and in the previous chain.
    fn published(&self) -> impl Iterator<Item = u64> {
        let Manifest { chain, before, .. } = &self.manifest;
        chain.numbers().chain(before.numbers())
    }

    /// Returns the size in bytes of the runs that only outdated chains use.
    fn outdated_chains_bytes(&self) -> u64 {
        let published: BTreeSet<u64> = self.published().collect();
        let outdated = self.outdated.iter().flat_map(|chain| &chain.runs);
        let alone = outdated.filter(|run| !published.contains(&run.number));
        let bytes: BTreeMap<u64, u64> = alone.map(|run| (run.number, run.content.bytes)).collect();
        bytes.values().sum()
    }

    /// Publishes the manifest again, without an installation. Call this only once the log continues after the installed
    /// snapshot.
    pub(super) fn finish_install(&mut self) -> io::Result<()> {
        self.manifest.install = None;
        self.copy = Some(self.publish_manifest(&self.manifest)?);
        Ok(())
    }

    /// Publishes a manifest atomically and returns the number of its copy.
    fn publish_manifest(&self, manifest: &Manifest) -> io::Result<u64> {
        self.folder
            .publish(manifest, self.installs, self.outdated_in_chain)
    }

    /// Continues from the published chain of an installed snapshot and removes the replaced runs. `installs` is the number
    /// of snapshots that this process has installed.
    pub(super) fn adopt(&mut self, chain: Chain, installs: u64) -> io::Result<()> {
        // Only another snapshot can have changed the format since, and its chain then supersedes this one.
        let format = self.folder.identity.format();
        self.compact_threshold = self.compact_threshold(chain.bytes());
        self.manifest = Manifest::new(format, chain);
        self.outdated_in_chain = 0;
        self.installs = installs;
        self.outdated.clear();
        (self.base_required, self.fell_back) = (false, false);
        self.finish_install()?;
        self.remove_others();
        Ok(())
    }

    /// Returns whether runs of `bytes` bytes fit on the disk in addition to the log.
    fn has_room(&self, bytes: u64) -> bool {
        self.folder.ledger.has_room(&self.folder.dir, bytes)
    }

    /// Returns the chain size in bytes above which the chain's outdated bytes are counted, for a state of `bytes` bytes.
    fn compact_threshold(&self, bytes: u64) -> u64 {
        2 * bytes + self.outdated_bytes
    }
}

/// Returns a number greater than the number of every run in the directory.
fn next_number(dir: &Path) -> io::Result<u64> {
    let mut next = 1;
    for entry in fs::read_dir(dir)? {
        let number = run_number(&entry?.path());
        next = next.max(number.map_or(0, |number| number + 1));
    }
    Ok(next)
}
