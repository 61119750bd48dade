//! Counts a connection's resources in two independent ways, so that tests can detect leaks.

use super::Connection;
use crate::Service;

/// Resource counts of a connection. The numbers in each pair are equal whenever no method of the connection is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Number of open streams.
    pub streams: usize,
    /// Number of request bytes: by the counter, and as the sum over all streams and the open header block.
    pub requests: (usize, usize),
    /// Number of response bytes: by the counter, and as the sum over all streams.
    pub answers: (usize, usize),
    /// Number of calls: by the counters, and as the sum over all streams.
    pub calls: (usize, usize),
    /// Number of deadline timers and of streams with a deadline.
    pub deadlines: (usize, usize),
    /// Number of bytes that are ready to be sent.
    pub output: usize,
    /// Number of slots in the send queue, including slots of closed streams.
    pub send_queue: usize,
    /// Capacity of the lists of ready and queued streams, in entries.
    pub lists_capacity: usize,
    /// Number of client errors, reduced by one for each completed stream.
    pub faults: u32,
    /// The connection's receive window in bytes.
    pub receive_window: i64,
    /// The connection's send window in bytes.
    pub send_window: i64,
    /// Number of received bytes for which no WINDOW_UPDATE has been sent.
    pub unacknowledged: usize,
}

impl<S: Service> Connection<S> {
    /// Counts the connection's resources. Takes time proportional to the number of streams.
    pub fn audit(&self) -> Audit {
        let block = self.open_block.as_ref();
        let mut audit = Audit {
            streams: self.streams.len(),
            requests: (
                self.meters.requests.used(),
                block.map_or(0, |open| open.charge.units()),
            ),
            answers: (self.meters.answers.used(), 0),
            calls: (
                self.meters.calls.used() + self.meters.streaming_calls.used(),
                0,
            ),
            deadlines: (self.timers.deadlines.len(), 0),
            output: self.writer.ready().len(),
            send_queue: self.writer.send_queue.len(),
            lists_capacity: self.ready.capacity()
                + self.drained.capacity()
                + self.woken.capacity()
                + self.writer.send_queue.capacity(),
            faults: self.faults,
            receive_window: self.writer.receive_window,
            send_window: self.writer.send_window,
            unacknowledged: self.writer.unacknowledged,
        };
        for (_, stream) in self.streams.iter() {
            audit.requests.1 += stream.request.units();
            audit.answers.1 += stream.answer.units();
            audit.calls.1 += stream.call_charge.units();
            audit.deadlines.1 += usize::from(stream.deadline.is_some());
        }
        audit
    }
}
