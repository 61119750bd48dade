//! Remembers closed streams, to classify frames that arrive for them later.

use std::collections::VecDeque;

use crate::limits::{ENDED_EARLY_REMEMBERED, ENDED_REMEMBERED};

/// The meaning of a frame for a stream that is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LateFrame {
    /// The client may have sent the frame before it received the end of the stream.
    Ignored,
    /// The client has ended the stream.
    Closed,
    /// The client never opened the stream, or the stream ended with a complete request too long ago to be remembered.
    Unused,
}

#[derive(Debug, Default)]
pub(super) struct EndedStreams {
    /// Streams that ended before their requests were complete, oldest first.
    ended_early: VecDeque<u32>,
    /// The highest id that `ended_early` has dropped.
    forgotten: u32,
    /// The last closed streams whose requests were complete, oldest first.
    ended_complete: VecDeque<u32>,
}

impl EndedStreams {
    /// Records a stream for which the client may still send frames.
    pub(super) fn push_early(&mut self, id: u32) {
        if self.ended_early.len() == ENDED_EARLY_REMEMBERED
            && let Some(oldest) = self.ended_early.pop_front()
        {
            self.forgotten = self.forgotten.max(oldest);
        }
        self.ended_early.push_back(id);
    }

    /// Records a stream for which the client must not send frames.
    pub(super) fn push_complete(&mut self, id: u32) {
        if self.ended_complete.len() == ENDED_REMEMBERED {
            self.ended_complete.pop_front();
        }
        self.ended_complete.push_back(id);
    }

    /// Classifies a frame for a stream that is not open. `last` says whether the frame ends the stream: later frames for the
    /// stream are then `Closed`. Ids up to the highest forgotten id are `Ignored` unless they are remembered as complete.
    pub(super) fn late(&mut self, id: u32, last: bool) -> LateFrame {
        if let Some(at) = self.ended_early.iter().position(|early| *early == id) {
            if last {
                self.ended_early.remove(at);
                self.push_complete(id);
            }
            return LateFrame::Ignored;
        }
        if self.ended_complete.contains(&id) {
            return LateFrame::Closed;
        }
        if id <= self.forgotten {
            return LateFrame::Ignored;
        }
        LateFrame::Unused
    }
}
