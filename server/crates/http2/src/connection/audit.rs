//! Two independent counts of a connection's resources, for tests that nothing leaks.

use super::Connection;
use crate::Service;

/// Counts of a connection. Each pair is equal at any time between two calls of the connection's
/// methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Streams that are open.
    pub streams: usize,
    /// Bytes of requests: as counted, and as the sum of all streams.
    pub requests: (usize, usize),
    /// Bytes of answers: as counted, and as the sum of all streams.
    pub answers: (usize, usize),
    /// Calls: as counted, and as the sum of all streams.
    pub calls: (usize, usize),
    /// Deadlines among the timers, and streams that have one.
    pub deadlines: (usize, usize),
    /// Bytes that are ready to be sent.
    pub output: usize,
    /// Length of the queue of streams that wait for the connection's window.
    pub send_queue: usize,
    /// Streams that ended in error, minus those that ended successfully.
    pub faults: u32,
    /// Receive window of the connection.
    pub receive_window: i64,
    /// Send window of the connection.
    pub send_window: i64,
    /// Bytes that were received and for which no WINDOW_UPDATE was sent.
    pub unacknowledged: usize,
}

impl<S: Service> Connection<S> {
    /// Counts what the connection holds, in time proportional to the number of streams.
    pub fn audit(&self) -> Audit {
        let block = self.open_block.as_ref().map_or(0, |open| open.charged());
        let mut audit = Audit {
            streams: self.streams.len(),
            requests: (self.meters.requests.used(), block),
            answers: (self.meters.answers.used(), 0),
            calls: (self.meters.calls.used(), 0),
            deadlines: (self.timers.len(), 0),
            output: self.writer.ready().len(),
            send_queue: self.writer.send_queue.len(),
            faults: self.faults,
            receive_window: self.writer.receive_window,
            send_window: self.writer.send_window,
            unacknowledged: self.writer.unacknowledged,
        };
        for (_, stream) in self.streams.iter() {
            audit.requests.1 += stream.request.bytes();
            audit.answers.1 += stream.answer.bytes();
            audit.calls.1 += stream.call_charge.bytes();
            audit.deadlines.1 += usize::from(stream.deadline.is_some());
        }
        audit
    }
}
