//! Detects that another member's process has ended: the other side closed both streams, and its port refused a new one.

use witan_replica::host::Lane;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LaneState {
    /// The stream was never open, this member has closed it, or an attempt after a refusal failed for another reason.
    #[default]
    Unknown,
    Open,
    Closed,
    /// The other side closed the stream, and its port now refuses connections.
    Refused,
}

/// The state of both streams to a member.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    states: [LaneState; 2],
    /// Whether the process is known to have ended. Reset when a stream opens.
    gone: bool,
}

impl Lanes {
    /// Returns whether this stream is open.
    pub(super) fn is_open(&self, lane: Lane) -> bool {
        self.states[lane as usize] == LaneState::Open
    }

    /// Records that a stream is open. Returns whether the process was believed to have ended.
    pub(super) fn on_opened(&mut self, lane: Lane) -> bool {
        self.states[lane as usize] = LaneState::Open;
        std::mem::take(&mut self.gone)
    }

    /// Returns whether the process is known to have ended and no stream has opened since.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Records that a stream has ended. Only an end `by_other_side` can show that the member's process has ended. Returns
    /// whether the process is now known to have ended, but was not before.
    pub(super) fn on_ended(&mut self, lane: Lane, by_other_side: bool) -> bool {
        self.states[lane as usize] = match by_other_side {
            true => LaneState::Closed,
            false => LaneState::Unknown,
        };
        self.newly_gone()
    }

    /// Records that a stream could not be opened; `refused` means that the port refused the connection. Returns whether the
    /// process is now known to have ended, but was not before.
    pub(super) fn on_failed(&mut self, lane: Lane, refused: bool) -> bool {
        let state = &mut self.states[lane as usize];
        *state = match (*state, refused) {
            (LaneState::Closed | LaneState::Refused, true) => LaneState::Refused,
            (LaneState::Closed, false) => LaneState::Closed,
            _ => LaneState::Unknown,
        };
        self.newly_gone()
    }

    /// Determines whether the process has ended. Returns `false` if its end was known before.
    fn newly_gone(&mut self) -> bool {
        let closed = |state: &LaneState| matches!(state, LaneState::Closed | LaneState::Refused);
        let gone = self.states.iter().all(closed) && self.states.contains(&LaneState::Refused);
        let newly = gone && !self.gone;
        self.gone |= gone;
        newly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Lane::{Bulk, Control};

    fn open() -> Lanes {
        let mut lanes = Lanes::default();
        lanes.on_opened(Control);
        lanes.on_opened(Bulk);
        lanes
    }

    #[test]
    fn a_process_has_ended_if_both_streams_are_closed_and_nothing_listens() {
        let mut lanes = open();
        assert!(!lanes.on_ended(Control, true));
        assert!(!lanes.on_failed(Control, true), "the other stream is open");
        assert!(lanes.on_ended(Bulk, true), "both streams are closed");
        assert!(!lanes.on_failed(Bulk, true), "already reported");
        assert!(lanes.is_gone());
        assert!(lanes.on_opened(Bulk), "the process was gone");
        assert!(!lanes.is_gone() && !lanes.on_opened(Control));
        assert!(!lanes.on_ended(Bulk, true));
        assert!(
            !lanes.on_ended(Control, true),
            "the port may still accept connections"
        );
        assert!(lanes.on_failed(Bulk, true), "the port refuses connections");
    }

    #[test]
    fn silence_or_an_unreachable_host_does_not_show_that_a_process_has_ended() {
        let mut lanes = open();
        assert!(!lanes.on_ended(Control, false));
        assert!(!lanes.on_ended(Bulk, true));
        assert!(!lanes.on_failed(Bulk, true));
        assert!(
            !lanes.on_failed(Control, true),
            "never closed by the other side"
        );
        let mut lanes = open();
        assert!(!lanes.on_ended(Control, true));
        assert!(!lanes.on_ended(Bulk, true));
        assert!(!lanes.on_failed(Control, false), "a timeout");
        // This member was never reached.
        let mut lanes = Lanes::default();
        assert!(!lanes.on_failed(Control, true));
        assert!(!lanes.on_failed(Bulk, true));
    }
}
