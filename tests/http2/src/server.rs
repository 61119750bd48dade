//! The interface of a server in these tests, without I/O, and a client that drives it. The two servers are in `subject` and
//! `reference`.

use crate::{
    check::Checker,
    frame::{Frame, PREFACE, code, flag, kind},
};

/// A server's side of a connection.
pub trait Server {
    /// Processes bytes from the network as far as possible.
    fn feed(&mut self, bytes: &[u8]);
    /// Removes and returns the bytes that the server sends.
    fn take(&mut self) -> Vec<u8>;
    /// Returns whether the server has closed the connection.
    fn closed(&self) -> bool;
    /// Returns whether the server has no more output.
    fn is_drained(&self) -> bool {
        true
    }
}

/// A server's reaction to a client's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The connection continues.
    Fine,
    /// The stream with this id is reset with this code.
    Stream(u32, u32),
    /// The connection ends with this code.
    Connection(u32),
    /// The connection ends without a frame.
    Closed,
}

/// A client that sends frames and that checks and keeps the frames it receives.
#[derive(Debug)]
pub struct Client<S> {
    /// The server.
    pub server: S,
    /// The received frames in order.
    pub seen: Vec<Frame>,
    rest: Vec<u8>,
    /// The first rule violation in the received frames.
    pub wrong: Option<String>,
    checker: Checker,
    outgoing: Vec<u8>,
    /// Sent RST_STREAM frames. Frames that the server sent earlier may still arrive.
    resets: Vec<Frame>,
}

impl<S: Server> Client<S> {
    /// Creates a client that has sent nothing.
    pub fn new(server: S) -> Self {
        Self {
            server,
            seen: Vec::new(),
            rest: Vec::new(),
            wrong: None,
            checker: Checker::default(),
            outgoing: Vec::new(),
            resets: Vec::new(),
        }
    }

    /// Creates a client with these settings, whose preface was accepted.
    pub fn greeted(server: S, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::new(server);
        let mut bytes = PREFACE.to_vec();
        Frame::settings(settings).write(&mut bytes);
        Frame::new(kind::SETTINGS, flag::ACK, 0, []).write(&mut bytes);
        client.raw(&bytes);
        client
    }

    /// Sends bytes, which may end inside a frame, and receives the server's output.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
        if self.outgoing.starts_with(PREFACE) {
            self.outgoing.drain(..PREFACE.len());
        }
        if !PREFACE.starts_with(&self.outgoing) {
            while let Some(frame) = Frame::read(&mut self.outgoing) {
                // The server may have answered before it received the reset.
                if frame.kind == kind::RST_STREAM {
                    self.resets.push(frame);
                } else {
                    self.checker.sent(&frame);
                }
            }
        }
        self.server.feed(bytes);
        self.listen();
    }

    /// Sends frames together.
    pub fn send(&mut self, frames: &[Frame]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        self.raw(&bytes);
    }

    /// Receives and checks the server's output.
    pub fn listen(&mut self) {
        self.rest.extend(self.server.take());
        while let Some(frame) = Frame::read(&mut self.rest) {
            if let Err(wrong) = self.checker.received(&frame) {
                self.wrong.get_or_insert(wrong);
            }
            self.seen.push(frame);
        }
        if self.server.is_drained() {
            let resets = self.resets.drain(..);
            resets.for_each(|frame| self.checker.sent(&frame));
        }
    }

    /// Returns the most severe reaction of the server so far. Resets with `NO_ERROR` do not count.
    pub fn verdict(&self) -> Verdict {
        let went = self.seen.iter().find(|frame| frame.kind == kind::GOAWAY);
        let reset = self
            .seen
            .iter()
            .find(|frame| frame.kind == kind::RST_STREAM && frame.number_at(0) != code::NO_ERROR);
        match (went, reset) {
            (Some(frame), _) if frame.number_at(4) != code::NO_ERROR => {
                Verdict::Connection(frame.number_at(4))
            }
            (_, Some(frame)) => Verdict::Stream(frame.stream, frame.number_at(0)),
            _ if self.server.closed() => Verdict::Closed,
            _ => Verdict::Fine,
        }
    }

    /// Returns the frames of a kind on a stream.
    pub fn of(&self, kind: u8, stream: u32) -> Vec<&Frame> {
        let wanted = |frame: &&Frame| frame.kind == kind && frame.stream == stream;
        self.seen.iter().filter(wanted).collect()
    }

    /// Returns whether the stream has a complete answer.
    pub fn answered(&self, stream: u32) -> bool {
        let ends = |frame: &Frame| {
            frame.stream == stream
                && matches!(frame.kind, kind::DATA | kind::HEADERS)
                && frame.has(flag::END_STREAM)
        };
        self.seen.iter().any(ends)
    }
}
