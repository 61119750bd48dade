//! Ended streams, to classify frames that still arrive for them.

use std::collections::VecDeque;

use crate::limits::{ENDED_EARLY_MAX, ENDED_MAX};

/// Classification of a frame for a stream that is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It may have been sent before the end was known.
    Ignored,
    /// The client had ended the stream itself.
    Closed,
    /// The client never opened the stream, and cannot any more.
    Unused,
}

/// Ids of streams that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Streams that ended before their requests were complete, oldest first.
    early: VecDeque<u32>,
    /// The highest id that was dropped of `early`.
    forgotten: u32,
    /// The last few of the others, oldest first.
    whole: VecDeque<u32>,
}

impl Ended {
    /// The client may still send frames of it.
    pub(super) fn push_early(&mut self, id: u32) {
        if self.early.len() == ENDED_EARLY_MAX
            && let Some(oldest) = self.early.pop_front()
        {
            self.forgotten = self.forgotten.max(oldest);
        }
        self.early.push_back(id);
    }

    /// The client must not send frames of it.
    pub(super) fn push_whole(&mut self, id: u32) {
        if self.whole.len() == ENDED_MAX {
            self.whole.pop_front();
        }
        self.whole.push_back(id);
    }

    /// Classifies a frame of this stream; `last` says that the client ends it.
    pub(super) fn late(&mut self, id: u32, last: bool) -> Late {
        if let Some(place) = self.early.iter().position(|early| *early == id) {
            if last {
                self.early.remove(place);
                self.push_whole(id);
            }
            return Late::Ignored;
        }
        if self.whole.contains(&id) {
            return Late::Closed;
        }
        if id <= self.forgotten {
            return Late::Ignored;
        }
        Late::Unused
    }
}
