//! Counts a connection's resources in two independent ways, for tests that nothing leaks.

use super::Connection;
use crate::Service;

/// Resource counts of a connection. The numbers of each pair are equal between two calls of the connection's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Open streams.
    pub streams: usize,
    /// Bytes of requests: as counted, and as the sum of all streams.
    pub requests: (usize, usize),
    /// Bytes of answers: as counted, and as the sum of all streams.
    pub answers: (usize, usize),
    /// Calls: as counted, and as the sum of all streams.
    pub calls: (usize, usize),
    /// Deadlines among the timers, and streams with a deadline.
    pub deadlines: (usize, usize),
    /// Bytes ready to be sent.
    pub output: usize,
    /// Length of the queue of streams that wait for the connection's window.
    pub send_queue: usize,
    /// Streams that ended in error, minus those that ended successfully.
    pub faults: u32,
    /// Receive window of the connection.
    pub receive_window: i64,
    /// Send window of the connection.
    pub send_window: i64,
    /// Received bytes that no WINDOW_UPDATE has acknowledged.
    pub unacknowledged: usize,
}

impl<S: Service> Connection<S> {
    /// Counts the connection's resources, in time proportional to the number of streams.
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
