//! Real storage under a simulated disk: what a run asks of it.

use std::fmt;

use witan_machine::view::View;
use witan_replica::host::{LogBatch, Recovered};

use crate::rng::Rng;

/// The data directory of one member, on files that lose what was not synced when the power goes.
pub trait DataDirectory: fmt::Debug {
    /// Appends a batch to the log, durably.
    fn append(&mut self, batch: &LogBatch);
    /// Drops the log records below `index`.
    fn cut(&mut self, index: u64);
    /// Writes a checkpoint of `view` as the difference to `base`, durably.
    fn write_checkpoint(&mut self, base: &View, view: &View);
    /// Replaces checkpoint and log by a received snapshot, durably.
    fn install(&mut self, snapshot: &View);
    /// The power goes, in the midst of a step if there is one. Fails if the next start refuses what it finds.
    fn lose_power(
        &mut self,
        during: Option<&InterruptedStep>,
        chance: &mut Rng,
    ) -> Result<PowerCut, String>;
    /// Flips a bit in one of the files while no process has them open. Returns what the next start reads;
    /// `None` if it refuses to.
    fn flip_bit(&mut self, chance: &mut Rng) -> Option<Recovered>;
}

/// The outcome of a power cut.
#[derive(Debug)]
pub struct PowerCut {
    /// The state that the next start reads.
    pub recovered: Recovered,
    /// Whether the step was still under way.
    pub interrupted: bool,
}

/// The step that a power cut interrupts.
#[derive(Clone, Debug)]
pub enum InterruptedStep {
    /// [`DataDirectory::append`].
    Append(LogBatch),
    /// [`DataDirectory::write_checkpoint`].
    WriteCheckpoint {
        /// The state of the checkpoint before.
        base: Box<View>,
        /// The state to write.
        view: Box<View>,
    },
    /// [`DataDirectory::install`].
    Install(Box<View>),
}

/// Makes the directory of a member whose first state is given, and says what its start reads.
pub type MakeDirectory = dyn FnMut(u64, &View) -> (Box<dyn DataDirectory>, Recovered);

/// Where the data directories of a run come from.
#[derive(Default)]
pub(crate) struct Directories(pub(crate) Option<Box<MakeDirectory>>);

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "files" } else { "none" })
    }
}
