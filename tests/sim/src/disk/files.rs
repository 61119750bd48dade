//! Compares real storage with the simulated disk after a power cut or a flipped bit.

use bytes::Bytes;
use witan_replica::host::{LogBatch, Recovered};

use super::{Disk, Log, saved::Saved};
use crate::{
    data_directory::{DataDirectory, InterruptedStep, PowerCut},
    rng::Rng,
};

/// A member's data directory and the current step in it.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: Box<dyn DataDirectory>,
    /// The state that the next startup reads.
    pub(super) recovered: Option<Recovered>,
    /// The step in progress, which the next power cut interrupts.
    pub(super) step: Option<InterruptedStep>,
}

/// The states that the files may have after a power cut.
struct Expected {
    /// Logs, each with the index of its checkpoint.
    states: Vec<(Log, u64)>,
    /// The possible hard states. A hard state that need not be synced may or may not survive until the next batch.
    hard_states: Vec<Option<Bytes>>,
}

impl Expected {
    /// Adds an appended batch. Earlier states are then no longer expected.
    fn takes(&mut self, batch: &LogBatch) {
        let (log, checkpoint) = &mut self.states[0];
        log.write(batch);
        if batch.must_sync || !batch.records.is_empty() {
            self.hard_states.clear();
        }
        self.hard_states.push(log.hard_state.clone());
        self.states = vec![(log.clone(), *checkpoint)];
    }

    /// Adds a step. Earlier states remain possible if the power cut interrupted the step.
    fn steps(&mut self, step: &InterruptedStep, interrupted: bool) {
        let (before, hard_states) = (self.states.clone(), self.hard_states.clone());
        let log = &self.states[0].0;
        match step {
            InterruptedStep::Append(batch) => self.takes(batch),
            InterruptedStep::WriteCheckpoint { view, .. } => {
                self.states = vec![(log.clone(), view.position.index)];
            }
            InterruptedStep::Install(snapshot) => {
                self.states = vec![(Log::default(), snapshot.position.index)];
            }
        }
        if interrupted {
            self.states.extend(before);
            self.hard_states.extend(hard_states);
        }
    }

    /// Returns whether the files contain one of the expected states.
    fn is(&self, recovered: &Recovered) -> bool {
        let found = Log::of(recovered);
        let index = checkpoint_index(recovered);
        let is = |(log, checkpoint): &(Log, u64)| {
            index == *checkpoint && log.above(index) == found.above(index)
        };
        self.states.iter().any(is) && self.hard_states.contains(&recovered.hard_state)
    }
}

fn checkpoint_index(recovered: &Recovered) -> u64 {
    let view = recovered.checkpoint.as_ref();
    view.map_or(0, |view| view.position.index)
}

impl Disk {
    /// Adds real storage to the disk, whose first startup reads `first`.
    pub(crate) fn keep_in(&mut self, directory: Box<dyn DataDirectory>, first: Recovered) {
        self.files = Some(Files { directory, recovered: Some(first), step: None });
    }

    /// Releases the real storage of a member that never starts again.
    pub(crate) fn abandon(&mut self) {
        self.files = None;
    }

    /// Appends the first `whole` of the batches to real storage, or all before an installation. Then cuts the power in the next
    /// batch or in another step. Fails if real storage does not keep exactly the durable state. Does nothing if there is no
    /// real storage.
    pub(super) fn crash_files(
        &mut self,
        batches: &[LogBatch],
        whole: usize,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        let step = files.step.take();
        // An installation follows everything that was written before.
        let installs = matches!(step, Some(InterruptedStep::Install(_)));
        let whole = if installs { batches.len() } else { whole };
        let torn = batches.get(whole).cloned().map(InterruptedStep::Append);
        let step = torn.or(step);
        let mut expected = Expected {
            states: vec![(self.durable.clone(), self.newest.index)],
            hard_states: vec![self.durable.hard_state.clone()],
        };
        for batch in &batches[..whole] {
            files.directory.append(batch);
            expected.takes(batch);
        }
        let PowerCut { recovered, interrupted } = files.directory.lose_power(step.as_ref(), rng)?;
        if let Some(step) = &step {
            expected.steps(step, interrupted);
        }
        if !expected.is(&recovered) {
            let spans = expected.states.iter().map(|(log, at)| (*at, log.span()));
            return Err(format!(
                "a power cut in {step:?} (interrupted: {interrupted}) left a checkpoint at {}, entries {:?}, hard \
                 state {:?} instead of {:?}, {:?}",
                checkpoint_index(&recovered),
                Log::of(&recovered).span(),
                recovered.hard_state,
                spans.collect::<Vec<_>>(),
                expected.hard_states,
            ));
        }
        self.reflect(recovered);
        Ok(())
    }

    /// Flips a bit in a file while the member is down. Returns `true` if the member cannot start or has no files. Fails if it
    /// would start from a different state.
    pub(crate) fn flip_bit(&mut self, rng: &mut Rng) -> Result<bool, String> {
        let Some(files) = &mut self.files else {
            return Ok(true);
        };
        let Some(recovered) = files.directory.flip_bit(rng) else {
            return Ok(true);
        };
        let found = Log::of(&recovered);
        let index = checkpoint_index(&recovered);
        // Storage may have fallen back to the previous checkpoint, but its log must have the same end.
        let last = |log: &Log| log.span().1.max(index);
        let same = last(&found) >= last(&self.durable).max(self.newest.index)
            && self.durable.above(index) == found.above(index)
            && self.durable.hard_state == found.hard_state;
        if !same {
            return Err(format!(
                "with a flipped bit, it starts from a checkpoint at {index}, entries {:?}, hard state {:?}; there \
                 were {}, {:?}, {:?}",
                found.span(),
                found.hard_state,
                self.newest.index,
                self.durable.span(),
                self.durable.hard_state,
            ));
        }
        self.reflect(recovered);
        Ok(false)
    }

    /// Makes the contents of the files the state of the disk.
    fn reflect(&mut self, recovered: Recovered) {
        self.durable = Log::of(&recovered);
        self.live = self.durable.clone();
        if let Some(view) = &recovered.checkpoint
            && view.position.index != self.newest.index
        {
            self.older = None;
            self.newest = Saved::whole(view, self.next_run());
        }
        self.written = None;
        if let Some(files) = &mut self.files {
            files.recovered = Some(recovered);
        }
    }
}
