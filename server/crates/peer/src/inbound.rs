//! Streams from other members after their handshakes. The replica's thread reads these streams itself and waits for them
//! together with its other work. A message therefore does not wake a second thread.

use std::{
    io,
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;
use witan_base::{account::SMALL_BYTES, sync::Mutex};
use witan_machine::member::MemberId;
use witan_node::Waker;
use witan_replica::host::{Envelope, Lane};
use witan_transport::PolledStream;

use super::{
    Shared,
    frame::{self, FRAME_BYTES_MAX, Frame, FrameKind},
    link::Peer,
    metrics::PeerSeries,
};

/// Maximum number of bytes read from a stream in one turn, so that heartbeats are answered while a member catches up.
const TURN_BYTES: usize = 16 << 20;

/// Maximum number of bytes that one read of a stream returns.
const READ_BYTES: usize = 64 << 10;

/// A stream that carries another member's messages to the replica.
#[derive(Debug)]
pub(super) struct InboundStream {
    pub(super) stream: Box<dyn PolledStream>,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    /// The link to the sender, or `None` if this member does not know the sender yet.
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) lane: Lane,
    pub(super) series: PeerSeries,
    /// Sends the result when the stream ends. If the receiver is dropped, the stream is closed.
    pub(super) ended: oneshot::Sender<io::Result<()>>,
    /// The received part of an incomplete frame.
    pub(super) buffer: BytesMut,
    /// Time at which bytes were last received.
    pub(super) received: Instant,
    /// Whether the stream may have bytes to read even though the socket has none.
    pub(super) more: bool,
}

/// Streams that the replica's thread has not taken over yet.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Vec<InboundStream>>);

impl Arrivals {
    /// Hands a stream over to the replica's thread without waking it. Drops waiting streams that were closed.
    pub(super) fn add(&self, stream: InboundStream) {
        let mut arrivals = self.0.lock();
        arrivals.retain(|stream| !stream.ended.is_closed());
        arrivals.push(stream);
    }
}

/// The streams that the replica's thread reads, control streams first.
#[derive(Debug)]
pub(super) struct Inbound {
    streams: Vec<InboundStream>,
    /// The buffer for all reads, reused so that no read has to clear memory.
    target: Box<[u8]>,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self { streams: Vec::new(), target: vec![0; READ_BYTES].into() }
    }

    /// Implements `Post::wait`. Drops streams that have ended or were silent for longer than the read timeout.
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
                    let ended = self.streams.remove(at).ended;
                    // An error means that this member has closed the stream.
                    let _ = ended.send(end.map(drop));
                }
            }
        }
    }

    /// Takes over new streams and drops streams whose receiver was dropped. Keeps control streams first.
    fn take_arrivals(&mut self, arrivals: &Arrivals) {
        self.streams.retain(|stream| !stream.ended.is_closed());
        let mut arrivals = arrivals.0.lock();
        if arrivals.is_empty() {
            return;
        }
        self.streams.append(&mut arrivals);
        self.streams.sort_by_key(|stream| stream.lane == Lane::Bulk);
    }

    /// Waits until a stream has bytes, the thread is woken or `timeout` has passed. Returns, for each stream, whether it has
    /// bytes or has ended. Resets the waker.
    fn poll(&self, timeout: Duration, waker: &Waker) -> Vec<bool> {
        let streams = self.streams.iter();
        let sockets =
            streams.map(|stream| PollFd::from_borrowed_fd(stream.stream.as_fd(), PollFlags::IN));
        let mut polled: Vec<PollFd<'_>> = sockets.collect();
        polled.push(PollFd::new(waker, PollFlags::IN));
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        // Ignore errors such as an interruption. If an error persists, reading the sockets reports it.
        let _ = poll(&mut polled, Some(&timeout));
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

impl InboundStream {
    /// Reads up to about [`TURN_BYTES`] bytes, counting at least [`SMALL_BYTES`] for each frame and each read. Adds messages to
    /// `messages` and answers the last ping. `target` is a buffer for reads, whose previous content is overwritten, and `now`
    /// is the time at which the bytes arrived. Returns whether the stream is still open. Fails for an invalid frame, if the
    /// socket does not accept the pong immediately, and if the stream ends within a frame.
    fn read(
        &mut self,
        now: Instant,
        target: &mut [u8],
        shared: &Shared,
        messages: &mut Vec<Envelope>,
    ) -> io::Result<bool> {
        let (mut read_bytes, mut frame_bytes) = (0, 0);
        let (mut ping, mut is_drained) = (None, false);
        let is_open = loop {
            self.more = read_bytes >= TURN_BYTES || frame_bytes >= TURN_BYTES;
            if self.more {
                break true;
            }
            if let Some(frame) = frame::decode(&mut self.buffer, FRAME_BYTES_MAX)? {
                frame_bytes += frame.contents.len().max(SMALL_BYTES);
                ping = self.take(frame, shared, messages)?.or(ping);
                continue;
            }
            if is_drained {
                break true;
            }
            match self.stream.read(target) {
                Ok(0) => break false,
                Ok(read) => {
                    self.on_received(now, shared);
                    is_drained = read < target.len() && !self.stream.keeps_bytes();
                    read_bytes += read.max(SMALL_BYTES);
                    self.buffer.extend_from_slice(&target[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if let Some(ping) = ping {
            // Answer only the last ping of a turn, because a correct member sends one per second.
            let pong = frame::encode(FrameKind::Pong, &ping);
            self.stream.write_all(&pong)?;
            self.stream.flush()?;
        }
        match is_open || self.buffer.is_empty() {
            true => Ok(is_open),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Records when bytes arrived, for this stream and for its member.
    fn on_received(&mut self, now: Instant, shared: &Shared) {
        self.received = now;
        if let Some(peer) = &self.peer {
            peer.on_received(now.saturating_duration_since(shared.started.into_std()));
        }
    }

    /// Returns `true`, because a silent stream is still open. Fails if no bytes were received for longer than `silence`.
    fn check_silence(&self, now: Instant, silence: Duration) -> io::Result<bool> {
        match now.saturating_duration_since(self.received) > silence {
            true => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no data received from the peer in time",
            )),
            false => Ok(true),
        }
    }

    /// Adds a message to `messages`, or returns the contents of a ping. Fails for any other frame. Counts the received bytes.
    /// Also counts the bytes of bulk messages in the node's statistics.
    fn take(
        &self,
        Frame { kind, contents }: Frame,
        shared: &Shared,
        messages: &mut Vec<Envelope>,
    ) -> io::Result<Option<Bytes>> {
        let Self { from, to, lane, series, .. } = self;
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
                Ok(None)
            }
            FrameKind::Ping => Ok(Some(contents)),
            FrameKind::Handshake | FrameKind::Answer | FrameKind::Pong | FrameKind::Snapshot => {
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an unexpected frame in an open stream",
                ))
            }
        }
    }
}
