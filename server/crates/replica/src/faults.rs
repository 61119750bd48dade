//! Known bugs, which the simulator switches on to show that it finds them. Without the feature
//! `known-bugs` a replica has no switch, and none is ever on.

use crate::machine::Machine;

/// A known bug. Each breaks one rule of this crate on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Entries are applied and answered before `persist`.
    AckBeforePersist,
    /// Reads are released at once, without a ReadIndex round.
    StaleRead,
    /// A vote is not part of what is persisted.
    VoteNotPersisted,
    /// Reads that raft dropped are not issued again.
    LostReadRetry,
    /// `durable` allows a cut above the checkpoint.
    CutTooHigh,
    /// The state is released to the checkpoint with a position beyond what it holds.
    PositionAhead,
    /// A keep-alive is answered and its lease ends all the same.
    RenewalLost,
}

/// The switch of one replica.
#[derive(Default)]
pub(crate) struct Faults {
    #[cfg(feature = "known-bugs")]
    on: Option<Fault>,
    /// The state before this turn.
    #[cfg(feature = "known-bugs")]
    behind: Option<Machine>,
}

#[cfg(not(feature = "known-bugs"))]
const _: () = assert!(size_of::<Faults>() == 0, "nothing can be switched on");

#[cfg(feature = "known-bugs")]
impl Faults {
    pub(crate) fn plant(&mut self, fault: Fault) {
        self.on = Some(fault);
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.on == Some(fault)
    }

    /// The state that a checkpoint gets instead of the present one.
    pub(crate) fn behind(&self) -> Option<&Machine> {
        self.behind.as_ref()
    }

    /// A turn begins in this state.
    pub(crate) fn turn_begins(&mut self, machine: &Machine) {
        if self.has(Fault::PositionAhead) {
            self.behind = Some(machine.clone());
        }
    }
}

#[cfg(not(feature = "known-bugs"))]
impl Faults {
    pub(crate) fn has(&self, _: Fault) -> bool {
        false
    }

    pub(crate) fn behind(&self) -> Option<&Machine> {
        None
    }

    pub(crate) fn turn_begins(&self, _: &Machine) {}
}
