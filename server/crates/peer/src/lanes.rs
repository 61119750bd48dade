//! What is known of the streams to one other member: when both were closed by the other side and a
//! new one was refused, its process is gone.

use super::handshake::StreamKind;

/// What became of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LaneState {
    /// It was never open, or it ended here.
    #[default]
    Unknown,
    Open,
    /// The other side closed it.
    Closed,
    /// The other side closed it, and nothing listens there any more.
    Refused,
}

/// Both streams to a member.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    states: [LaneState; 2],
    /// Whether the end of the process was noticed since a stream was open.
    gone: bool,
}

impl Lanes {
    pub(super) fn is_open(&self, kind: StreamKind) -> bool {
        self.states[slot(kind)] == LaneState::Open
    }

    /// Notes that a stream is open, so that the process is not gone; returns whether it counted as gone.
    pub(super) fn opened(&mut self, kind: StreamKind) -> bool {
        self.states[slot(kind)] = LaneState::Open;
        std::mem::take(&mut self.gone)
    }

    /// Whether the end of the process was noticed, and no stream to it was open since.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Notes that a stream has ended; returns whether this shows that the process is gone.
    pub(super) fn ended(&mut self, kind: StreamKind, by_other_side: bool) -> bool {
        self.states[slot(kind)] = match by_other_side {
            true => LaneState::Closed,
            false => LaneState::Unknown,
        };
        self.newly_gone()
    }

    /// Notes that a stream could not be opened; returns whether this shows that the process is gone.
    /// `refused`: nothing listens there.
    pub(super) fn failed(&mut self, kind: StreamKind, refused: bool) -> bool {
        let state = &mut self.states[slot(kind)];
        *state = match (*state, refused) {
            (LaneState::Closed | LaneState::Refused, true) => LaneState::Refused,
            (LaneState::Closed, false) => LaneState::Closed,
            _ => LaneState::Unknown,
        };
        self.newly_gone()
    }

    /// Whether the process is gone for the first time since a stream was open: both streams were ended by the
    /// other side, and a new one was refused.
    fn newly_gone(&mut self) -> bool {
        let closed = |state: &LaneState| matches!(state, LaneState::Closed | LaneState::Refused);
        let gone = self.states.iter().all(closed) && self.states.contains(&LaneState::Refused);
        let newly = gone && !self.gone;
        self.gone |= gone;
        newly
    }
}

/// Returns the place of a stream's state: bulk and snapshot streams share one.
fn slot(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Control => 0,
        StreamKind::Bulk | StreamKind::Snapshot => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StreamKind::{Bulk, Control};

    fn open() -> Lanes {
        let mut lanes = Lanes::default();
        lanes.opened(Control);
        lanes.opened(Bulk);
        lanes
    }

    #[test]
    fn a_process_is_gone_when_both_streams_were_closed_and_nothing_listens() {
        let mut lanes = open();
        assert!(!lanes.ended(Control, true));
        assert!(!lanes.failed(Control, true), "the other stream is open");
        assert!(lanes.ended(Bulk, true), "closed, too");
        assert!(!lanes.failed(Bulk, true), "once is enough");
        assert!(lanes.is_gone());
        assert!(lanes.opened(Bulk), "it counted as gone");
        assert!(!lanes.is_gone() && !lanes.opened(Control));
        assert!(!lanes.ended(Bulk, true));
        assert!(!lanes.ended(Control, true), "a listener may still answer");
        assert!(lanes.failed(Bulk, true), "it does not");
    }

    #[test]
    fn silence_and_unreachable_hosts_say_nothing_about_the_process() {
        let mut lanes = open();
        assert!(!lanes.ended(Control, false));
        assert!(!lanes.ended(Bulk, true));
        assert!(!lanes.failed(Bulk, true));
        assert!(
            !lanes.failed(Control, true),
            "never closed by the other side"
        );
        let mut lanes = open();
        assert!(!lanes.ended(Control, true));
        assert!(!lanes.ended(Bulk, true));
        assert!(!lanes.failed(Control, false), "a timeout");
        // a member that was never reached
        let mut lanes = Lanes::default();
        assert!(!lanes.failed(Control, true));
        assert!(!lanes.failed(Bulk, true));
    }
}
