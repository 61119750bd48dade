//! Known bugs, which the simulator switches on to show that it finds them. Without the feature
//! `known-bugs` a replica has no switch, and none is ever on.

use crate::machine::StateMachine;

/// A known bug. Each breaks one rule of this crate on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedBug {
    /// Entries are applied and answered before `persist`.
    AckBeforePersist,
    /// Reads are released at once, without a ReadIndex round.
    StaleRead,
    /// A vote is not part of what is persisted.
    VoteNotPersisted,
    /// Reads that raft dropped are not issued again.
    LostReadRetry,
    /// `Replica::durable` allows a cut above the checkpoint.
    CutTooHigh,
    /// The state is released to the checkpoint with a position beyond what it holds.
    PositionAhead,
    /// A keep-alive is answered and its lease ends all the same.
    RenewalLost,
    /// A proposal is proposed again as soon as there is another term, before it is known that the first copy was lost.
    ProposedTwice,
}

/// The switch of one replica.
#[derive(Default)]
pub(crate) struct Faults {
    #[cfg(feature = "known-bugs")]
    on: Option<InjectedBug>,
    /// The state before this turn.
    #[cfg(feature = "known-bugs")]
    behind: Option<StateMachine>,
}

#[cfg(not(feature = "known-bugs"))]
const _: () = assert!(size_of::<Faults>() == 0, "nothing can be switched on");

#[cfg(feature = "known-bugs")]
impl Faults {
    pub(crate) fn plant(&mut self, fault: InjectedBug) {
        self.on = Some(fault);
    }

    pub(crate) fn has(&self, fault: InjectedBug) -> bool {
        self.on == Some(fault)
    }

    /// The state that a checkpoint gets instead of the present one.
    pub(crate) fn behind(&self) -> Option<&StateMachine> {
        self.behind.as_ref()
    }

    /// A turn begins in this state.
    pub(crate) fn turn_begins(&mut self, machine: &StateMachine) {
        if self.has(InjectedBug::PositionAhead) {
            self.behind = Some(machine.clone());
        }
    }
}

#[cfg(not(feature = "known-bugs"))]
impl Faults {
    pub(crate) fn has(&self, _: InjectedBug) -> bool {
        false
    }

    pub(crate) fn behind(&self) -> Option<&StateMachine> {
        None
    }

    pub(crate) fn turn_begins(&self, _: &StateMachine) {}
}
