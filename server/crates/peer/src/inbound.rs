//! The streams of other members after their handshake. The replica's thread reads them by itself: it waits at their
//! sockets and for its other work at once, so that a message wakes no second thread on its way.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;
use witan_machine::member::MemberId;
use witan_node::Waker;
use witan_replica::host::{Envelope, Lane};
use witan_transport::PolledStream;

use super::{
    Shared,
    frame::{self, FRAME_BYTES_MAX, Frame, FrameKind},
    metrics::PeerSeries,
};

/// Bytes of a stream that are read in one turn, so that a follower that catches up goes on answering heartbeats. The
/// rest waits in the socket.
const TURN_BYTES: usize = 16 << 20;

/// Bytes that one system call reads.
const READ_BYTES: usize = 64 << 10;

/// A stream of another member, whose messages are for this member's replica.
#[derive(Debug)]
pub(super) struct InboundStream {
    pub(super) stream: Box<dyn PolledStream>,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) lane: Lane,
    pub(super) series: PeerSeries,
    /// Receives how the stream ended. When the other side of the channel is dropped, the stream is closed.
    pub(super) ended: oneshot::Sender<io::Result<()>>,
}

/// Streams that were accepted since the replica's thread looked last.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Vec<InboundStream>>);

impl Arrivals {
    /// Hands a stream over to the replica's thread, and wakes nobody.
    pub(super) fn add(&self, stream: InboundStream) {
        self.lock().push(stream);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<InboundStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams that the replica's thread reads, control streams first.
#[derive(Debug)]
pub(super) struct Inbound {
    streams: Vec<OpenStream>,
    /// The target of all reads, so that none of them clears memory.
    target: Box<[u8]>,
}

#[derive(Debug)]
struct OpenStream {
    inbound: InboundStream,
    /// Received bytes that are no whole frame yet.
    buffer: BytesMut,
    /// When bytes were last received.
    heard: Instant,
    /// Whether a turn has ended before everything was read.
    more: bool,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self { streams: Vec::new(), target: vec![0; READ_BYTES].into() }
    }

    /// Implements `Post::wait`.
    pub(super) fn wait(
        &mut self,
        shared: &Shared,
        timeout: Duration,
        waker: &Waker,
        messages: &mut Vec<Envelope>,
    ) {
        self.take_arrivals(&shared.arrivals);
        let more = self.streams.iter().any(|stream| stream.more);
        let timeout = if more { Duration::ZERO } else { timeout };
        if self.streams.is_empty() && timeout.is_zero() {
            return;
        }
        let readable = self.poll(timeout, waker);
        let now = Instant::now();
        let mut at = 0;
        for readable in readable {
            let stream = &mut self.streams[at];
            let end = match readable || stream.more {
                true => stream.read(now, &mut self.target, shared, messages),
                false => stream.check_silence(now, shared.settings.read_timeout),
            };
            match end {
                Ok(true) => at += 1,
                end => {
                    let ended = self.streams.remove(at).inbound.ended;
                    // an error means that this member has closed the stream
                    let _ = ended.send(end.map(drop));
                }
            }
        }
    }

    /// Adds the streams that were accepted, and closes those that are to be.
    fn take_arrivals(&mut self, arrivals: &Arrivals) {
        self.streams
            .retain(|stream| !stream.inbound.ended.is_closed());
        let mut arrivals = arrivals.lock();
        if arrivals.is_empty() {
            return;
        }
        let opened = arrivals.drain(..).map(OpenStream::new);
        self.streams.extend(opened);
        self.streams
            .sort_by_key(|stream| stream.inbound.lane == Lane::Bulk);
    }

    /// Waits until a stream has bytes or the thread is woken; returns for each stream whether it has.
    fn poll(&self, timeout: Duration, waker: &Waker) -> Vec<bool> {
        let streams = self.streams.iter();
        let sockets = streams
            .map(|stream| PollFd::from_borrowed_fd(stream.inbound.stream.as_fd(), PollFlags::IN));
        let mut polled: Vec<PollFd<'_>> = sockets.collect();
        polled.push(PollFd::new(waker, PollFlags::IN));
        let timeout = Timespec::try_from(timeout).ok();
        // an error, such as an interruption, is a wake-up: the sockets say what is wrong when they are read
        let _ = poll(&mut polled, timeout.as_ref());
        let woken = polled
            .pop()
            .is_some_and(|waker| !waker.revents().is_empty());
        if woken {
            waker.drain();
        }
        polled
            .iter()
            .map(|socket| !socket.revents().is_empty())
            .collect()
    }
}

impl OpenStream {
    fn new(inbound: InboundStream) -> Self {
        Self {
            inbound,
            buffer: BytesMut::new(),
            heard: Instant::now(),
            more: false,
        }
    }

    /// Reads what has arrived, [`TURN_BYTES`] or a little more; returns whether the stream is still open.
    fn read(
        &mut self,
        now: Instant,
        target: &mut [u8],
        shared: &Shared,
        messages: &mut Vec<Envelope>,
    ) -> io::Result<bool> {
        self.heard = now;
        let mut taken = 0;
        loop {
            self.more = taken >= TURN_BYTES;
            if self.more {
                return Ok(true);
            }
            let read = match self.inbound.stream.read(target) {
                Ok(0) if self.buffer.is_empty() => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            taken += read;
            self.buffer.extend_from_slice(&target[..read]);
            while let Some(frame) = frame::decode(&mut self.buffer, FRAME_BYTES_MAX)? {
                self.take(frame, shared, messages)?;
            }
            if read < target.len() && !self.inbound.stream.keeps_bytes() {
                return Ok(true);
            }
        }
    }

    /// Fails if nothing was received for longer than `silence`.
    fn check_silence(&self, now: Instant, silence: Duration) -> io::Result<bool> {
        match now.saturating_duration_since(self.heard) > silence {
            true => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the other side sent nothing",
            )),
            false => Ok(true),
        }
    }

    /// Appends a message to those of the turn, or answers a ping.
    fn take(
        &mut self,
        Frame { kind, contents }: Frame,
        shared: &Shared,
        messages: &mut Vec<Envelope>,
    ) -> io::Result<()> {
        let InboundStream { stream, from, to, lane, series, .. } = &mut self.inbound;
        let bytes = contents.len();
        series
            .received_bytes
            .inc_by((frame::HEADER_BYTES + bytes) as u64);
        match kind {
            FrameKind::Message => {
                if *lane == Lane::Bulk {
                    shared.node.entries_received(*from, bytes as u64);
                }
                messages.push(Envelope {
                    to: *to,
                    from: *from,
                    lane: *lane,
                    message: contents,
                    snapshot: None,
                });
                Ok(())
            }
            FrameKind::Ping => {
                let pong = frame::encode(FrameKind::Pong, &contents);
                stream.write_all(&pong)?;
                stream.flush()
            }
            FrameKind::Handshake | FrameKind::Answer | FrameKind::Pong | FrameKind::Snapshot => {
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an unexpected frame in an open stream",
                ))
            }
        }
    }
}
