//! Checkpoints of a member. A separate thread takes a frozen view, writes it, syncs it and reports it.

use crate::world::{Event, World};

/// The steps of a checkpoint. A crash may happen between any two steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CheckpointStep {
    /// Takes a frozen view.
    Take,
    /// Writes the changed records in one batch.
    Write,
    /// Makes the batch durable. From now on, values can be read from it.
    Sync,
    /// Reports the checkpoint to the core and cuts the log at the index that the core returns.
    Report,
}

impl World {
    /// Schedules the first step of a member's next checkpoint after a random delay.
    pub(crate) fn next_checkpoint(&mut self, place: usize) {
        let incarnation = self.members[place].incarnation;
        let delay = self.chance.range(1, self.climate.checkpoint_pause);
        let step = CheckpointStep::Take;
        self.after(delay, Event::Checkpoint { place, incarnation, step });
    }

    /// Performs a step of a member's checkpoint and schedules the next step or checkpoint.
    pub(crate) fn checkpoint(&mut self, place: usize, step: CheckpointStep) {
        let next = match step {
            CheckpointStep::Take => self.take_checkpoint(place).then_some(CheckpointStep::Write),
            CheckpointStep::Write => self.write_checkpoint(place).then_some(CheckpointStep::Sync),
            CheckpointStep::Sync => {
                let view = self.members[place].checkpoint.clone();
                if let Some(view) = &view {
                    self.disks[place].sync_checkpoint(view);
                    self.read_back(place, view);
                }
                view.map(|_| CheckpointStep::Report)
            }
            CheckpointStep::Report => {
                self.report_checkpoint(place);
                None
            }
        };
        let incarnation = self.members[place].incarnation;
        match next {
            Some(step) => {
                let delay = self.chance.range(1, self.climate.checkpoint_step);
                self.after(delay, Event::Checkpoint { place, incarnation, step });
            }
            None => self.next_checkpoint(place),
        }
    }

    /// Takes a frozen view. Returns `false` if the member is down or has executed no entry since its last checkpoint.
    fn take_checkpoint(&mut self, place: usize) -> bool {
        let member = &mut self.members[place];
        let Some(view) = member.replica.as_ref().map(|replica| replica.view()) else {
            return false;
        };
        let moved = view.position.index > member.base.position.index;
        member.checkpoint = moved.then_some(view);
        moved
    }

    /// Writes the frozen view. Returns `false` if no view was taken.
    fn write_checkpoint(&mut self, place: usize) -> bool {
        self.go_cold(place);
        let member = &mut self.members[place];
        let Some(view) = &member.checkpoint else {
            return false;
        };
        self.disks[place].write_checkpoint(&member.base, view);
        member.base = view.clone();
        let index = view.position.index;
        self.trace.line(self.now, || {
            format!("m{} writes a checkpoint at {index}", place + 1)
        });
        true
    }

    /// Reports the durable checkpoint to the member's thread.
    fn report_checkpoint(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(view) = member.checkpoint.take() else {
            return;
        };
        let index = view.position.index;
        self.counts.checkpoints += 1;
        self.trace.line(self.now, || {
            format!("m{} has a durable checkpoint at {index}", place + 1)
        });
        self.members[place].inbox.durable(index);
        self.wake(place);
    }
}
