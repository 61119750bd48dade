//! The interface through which a run uses real storage on a simulated disk.

use std::fmt;

use witan_machine::view::View;
use witan_replica::host::{LogBatch, Recovered};

use crate::rng::Rng;

/// The data directory of one member. A power cut loses everything that its files have not synced.
pub trait DataDirectory: fmt::Debug {
    /// Appends a batch to the log and syncs it.
    fn append(&mut self, batch: &LogBatch);
    /// Drops the log records below `index`.
    fn cut(&mut self, index: u64);
    /// Durably writes a checkpoint of `view` as the difference from `base`.
    fn write_checkpoint(&mut self, base: &View, view: &View);
    /// Durably replaces the checkpoint and the log with a received snapshot.
    fn install(&mut self, snapshot: &View);
    /// Drops all values from memory that the storage can read again.
    fn drop_values(&self);
    /// Cuts the power, in the middle of `during` if it is given. Fails if the next startup refuses the files.
    fn lose_power(
        &mut self,
        during: Option<&InterruptedStep>,
        chance: &mut Rng,
    ) -> Result<PowerCut, String>;
    /// Flips a bit in a file while no process uses the files. Returns the state that the next startup reads, if it succeeds.
    fn flip_bit(&mut self, chance: &mut Rng) -> Option<Recovered>;
}

/// The outcome of a power cut.
#[derive(Debug)]
pub struct PowerCut {
    /// The state that the next startup reads.
    pub recovered: Recovered,
    /// Whether the power was cut during the step.
    pub interrupted: bool,
}

/// The step that a power cut interrupts.
#[derive(Clone, Debug)]
pub enum InterruptedStep {
    /// [`DataDirectory::append`].
    Append(LogBatch),
    /// [`DataDirectory::write_checkpoint`].
    WriteCheckpoint {
        /// The state of the previous checkpoint.
        base: Box<View>,
        /// The state to write.
        view: Box<View>,
    },
    /// [`DataDirectory::install`].
    Install(Box<View>),
}

/// Creates the data directory of a member with the given initial state. Also returns the state that its startup reads.
pub type MakeDirectory = dyn FnMut(u64, &View) -> (Box<dyn DataDirectory>, Recovered);

/// The source of a run's data directories.
#[derive(Default)]
pub(crate) struct Directories(pub(crate) Option<Box<MakeDirectory>>);

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "files" } else { "none" })
    }
}
