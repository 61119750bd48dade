//! The interface of a server in these tests: bytes in, bytes out, nothing by itself. What does *not*
//! live here: the two servers.

use crate::{
    check::Checker,
    frame::{Frame, PREFACE, code, flag, kind},
};

/// A connection of a server, driven by hand.
pub trait Server {
    /// Takes bytes as they come from the network and does all that can be done with them.
    fn feed(&mut self, bytes: &[u8]);
    /// Takes what it has to send.
    fn take(&mut self) -> Vec<u8>;
    /// Whether it has closed the connection.
    fn closed(&self) -> bool;
    /// Whether all that it has to send was taken.
    fn is_drained(&self) -> bool {
        true
    }
}

/// How a server answers a frame that it does not like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It goes on.
    Fine,
    /// The stream ends with this code.
    Stream(u32, u32),
    /// The connection ends with this code.
    Connection(u32),
    /// The connection ends without a word.
    Closed,
}

/// A client that sends frame after frame, and checks and keeps what comes back.
#[derive(Debug)]
pub struct Client<S> {
    /// The other side.
    pub server: S,
    /// Frames that came, in their order.
    pub seen: Vec<Frame>,
    rest: Vec<u8>,
    /// The first breach of a rule in the received frames.
    pub wrong: Option<String>,
    checker: Checker,
    outgoing: Vec<u8>,
    /// Sent, while frames of before may still come.
    resets: Vec<Frame>,
}

impl<S: Server> Client<S> {
    /// A client that has sent nothing.
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

    /// A client whose preface was taken, with these settings.
    pub fn greeted(server: S, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::new(server);
        let mut bytes = PREFACE.to_vec();
        Frame::settings(settings).write(&mut bytes);
        Frame::new(kind::SETTINGS, flag::ACK, 0, []).write(&mut bytes);
        client.raw(&bytes);
        client
    }

    /// Sends bytes, cut anywhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
        if self.outgoing.starts_with(PREFACE) {
            self.outgoing.drain(..PREFACE.len());
        }
        if !PREFACE.starts_with(&self.outgoing) {
            while let Some(frame) = Frame::read(&mut self.outgoing) {
                // an answer may have been under way before
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

    /// Sends frames at once.
    pub fn send(&mut self, frames: &[Frame]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        self.raw(&bytes);
    }

    /// Takes what came.
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

    /// How the server has judged so far: the worst of what it has said.
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

    /// Frames of a kind on a stream.
    pub fn of(&self, kind: u8, stream: u32) -> Vec<&Frame> {
        let wanted = |frame: &&Frame| frame.kind == kind && frame.stream == stream;
        self.seen.iter().filter(wanted).collect()
    }

    /// Whether the stream was answered to its end.
    pub fn answered(&self, stream: u32) -> bool {
        let ends = |frame: &Frame| {
            frame.stream == stream
                && matches!(frame.kind, kind::DATA | kind::HEADERS)
                && frame.has(flag::END_STREAM)
        };
        self.seen.iter().any(ends)
    }
}
