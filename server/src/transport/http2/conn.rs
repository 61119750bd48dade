//! One connection: reads frames, lets calls run, writes what they answer, all in one task.
//!
//! Everything that became ready since the last look is handled before anything is written, so that
//! the answers of one turn of the replica leave in one write.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    PREFACE,
    frame::{self, Frame, Reason},
    head::Heads,
    limits::{FAULTS_MAX, KEPT_BYTES, READ_BYTES, READS_MAX, STREAMS_MAX},
    patience::Mark,
    pings::{self, Pings},
    receive::{ALIVE, Open, STOPPING},
    stream::{Board, Streams},
    wire::Wire,
};
use crate::{
    budget::Permit,
    config::Connections,
    metrics::ClientRequests,
    transport::{
        Calls,
        grpc::{Ends, Rules},
        limits::CLOSE_TIMEOUT,
    },
};

thread_local! {
    /// Where the connections of a worker read into.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a connection is told about the world.
pub(in crate::transport) struct Around<C> {
    pub(in crate::transport) calls: C,
    pub(in crate::transport) rules: Rc<Rules>,
    pub(in crate::transport) ends: Ends,
}

pub(in crate::transport) struct Connection<S, C> {
    io: S,
    pub(super) around: Around<C>,
    /// Bytes of the preface that are still to come; whoever chose this stack has looked at them.
    preface_left: usize,
    /// The beginning of a frame.
    partial: Vec<u8>,
    pub(super) open: Option<Open>,
    /// Whether the client's settings came.
    pub(super) greeted: bool,
    pub(super) heads: Heads,
    /// What the client says it speaks, and where its requests are counted.
    pub(super) client: Option<(Option<HeaderValue>, ClientRequests)>,
    /// The highest id that the client has used.
    pub(super) highest: u32,
    pub(super) streams: Streams,
    pub(super) streams_max: usize,
    pub(super) board: Arc<Board>,
    woken: Vec<usize>,
    pub(super) wire: Wire,
    /// Bytes of messages that are being collected.
    pub(super) unfinished: usize,
    /// Streams that ended badly, less those that ended well.
    pub(super) faults: u32,
    /// DATA frames without content since the last whole request.
    pub(super) empty: u32,
    alive: Option<Alive>,
    pub(super) pings: Pings,
    /// When to look at the client's pace again, while there are streams.
    pub(super) next_look: Option<Pin<Box<Sleep>>>,
    pub(super) mark: Option<Mark>,
    /// A place that the next stream takes.
    pub(super) place: Option<Permit>,
    /// It was said that the process stops.
    pub(super) stopping: bool,
    /// No new streams.
    pub(super) refusing: bool,
    /// Set when the connection has failed: how long its last words may take.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<S, C> Connection<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Calls,
{
    pub(in crate::transport) fn new(io: S, around: Around<C>, settings: &Connections) -> Self {
        let streams_max = settings.max_concurrent_streams;
        let at_once = usize::try_from(streams_max).unwrap_or(usize::MAX);
        Self {
            io,
            around,
            preface_left: PREFACE.len(),
            partial: Vec::new(),
            open: None,
            greeted: false,
            heads: Heads::new(),
            client: None,
            highest: 0,
            streams: Streams::default(),
            streams_max: at_once.min(STREAMS_MAX),
            board: Arc::default(),
            woken: Vec::new(),
            wire: Wire::new(streams_max),
            unfinished: 0,
            faults: 0,
            empty: 0,
            alive: settings
                .keepalive_interval
                .map(|interval| Alive::new(interval, settings.keepalive_timeout)),
            pings: Pings::new(settings.keepalive_min_time),
            next_look: None,
            mark: None,
            place: None,
            stopping: false,
            refusing: false,
            closing: None,
        }
    }

    /// Says that the process stops. What is in flight is completed, but streams end; two steps, so
    /// that a call that is on its way meanwhile is not lost.
    pub(in crate::transport) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            frame::goaway(&mut self.wire.output, (1 << 31) - 1, Reason::NoError);
            frame::ping(&mut self.wire.output, 0, STOPPING);
            let mut slots = Vec::new();
            self.streams.each(|slot, _| slots.push(slot));
            slots.into_iter().for_each(|slot| self.visit(slot));
        }
    }

    /// Resolves when the connection has ended.
    pub(in crate::transport) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.board.attend(cx.waker());
        let mut reads = 0;
        loop {
            self.work();
            let flushed = self.flush(cx)?;
            if let Some(closing) = &mut self.closing {
                let late = closing.as_mut().poll(cx).is_ready();
                let done = flushed.is_ready() || late;
                return if done {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            if flushed.is_ready() {
                if self.refusing && self.streams.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                if !self.wire.line.is_empty() && self.wire.send_window > 0 {
                    continue;
                }
                if reads == READS_MAX {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                reads += 1;
                if let Poll::Ready(read) = self.read(cx) {
                    if read? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    continue;
                }
            }
            if let Poll::Ready(looked) = self.look(cx) {
                if let Err(reason) = looked {
                    self.fail(reason);
                }
                continue;
            }
            match self.alive.as_mut().map(|alive| alive.poll(cx)) {
                Some(Poll::Ready(Beat::Ask)) => frame::ping(&mut self.wire.output, 0, ALIVE),
                Some(Poll::Ready(Beat::Dead)) => return Poll::Ready(Ok(())),
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }

    /// Ends the stream, after everything else.
    pub(in crate::transport) fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Lets everything run that woke or may send again, as long as there is room for answers.
    fn work(&mut self) {
        for _ in 0..self.wire.line.len() {
            if self.wire.is_full() || self.wire.send_window <= 0 {
                break;
            }
            let Some(slot) = self.wire.line.pop_front() else {
                break;
            };
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.in_line = false;
            }
            self.visit(slot);
        }
        let mut woken = std::mem::take(&mut self.woken);
        self.board.look(&mut woken);
        for slot in woken.drain(..) {
            self.visit(slot);
        }
        self.woken = woken;
    }

    fn visit(&mut self, slot: usize) {
        if let Some((stream, waker)) = self.streams.take(slot) {
            self.drive(slot, stream, waker);
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let wire = &mut self.wire;
        while wire.written < wire.output.len() {
            match Pin::new(&mut self.io).poll_write(cx, &wire.output[wire.written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => wire.written += written,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        wire.written = 0;
        wire.output.clear();
        if wire.output.capacity() > KEPT_BYTES {
            wire.output = Vec::new();
        }
        // TLS keeps what the socket did not take
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = SCRATCH.take();
        scratch.resize(READ_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        if polled.is_ready() && read > 0 {
            if let Some(alive) = &mut self.alive {
                alive.heard = Instant::now();
            }
            let skipped = self.preface_left.min(read);
            self.preface_left -= skipped;
            if let Err(reason) = self.take(&scratch[skipped..read]) {
                self.fail(reason);
            }
        }
        SCRATCH.set(scratch);
        ready!(polled)?;
        Poll::Ready(Ok(read))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        if self.partial.is_empty() {
            let used = self.take_frames(bytes)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.partial);
        held.extend_from_slice(bytes);
        let used = self.take_frames(&held)?;
        if used < held.len() {
            held.drain(..used);
            self.partial = held;
        }
        Ok(())
    }

    /// Handles every whole frame and says how many bytes they were.
    fn take_frames(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let mut used = 0;
        while let Some((frame, length)) = Frame::first(&bytes[used..])? {
            self.on_frame(frame)?;
            used += length;
        }
        Ok(used)
    }

    /// Ends the connection with a word about why.
    fn fail(&mut self, reason: Reason) {
        tracing::debug!(?reason, "an HTTP/2 connection failed");
        self.streams = Streams::default();
        self.wire.line.clear();
        let told = if self.pings.too_many() {
            pings::TOO_MANY
        } else {
            b""
        };
        frame::goaway_telling(&mut self.wire.output, self.highest, reason, told);
        self.closing = Some(Box::pin(sleep_until(Instant::now() + CLOSE_TIMEOUT)));
    }
}

impl<S, C> Connection<S, C> {
    /// The client knows that the process stops; what it has sent until now is the last.
    pub(super) fn refuse(&mut self) {
        if !std::mem::replace(&mut self.refusing, true) {
            frame::goaway(&mut self.wire.output, self.highest, Reason::NoError);
        }
    }

    /// A stream ended badly; too many of them end the connection.
    pub(super) fn fault(&mut self) -> Result<(), Reason> {
        self.faults += 1;
        if self.faults > FAULTS_MAX {
            return Err(Reason::Calm);
        }
        Ok(())
    }
}

/// Asks a client that is silent whether it is still there.
struct Alive {
    interval: Duration,
    timeout: Duration,
    heard: Instant,
    asked: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

enum Beat {
    Ask,
    Dead,
}

impl Alive {
    fn new(interval: Duration, timeout: Duration) -> Self {
        let heard = Instant::now();
        Self {
            interval,
            timeout,
            heard,
            asked: None,
            timer: Box::pin(sleep_until(heard + interval)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            match self.asked.take() {
                Some(asked) if self.heard <= asked => return Poll::Ready(Beat::Dead),
                _ if now >= self.heard + self.interval => {
                    self.asked = Some(now);
                    self.timer.as_mut().reset(now + self.timeout);
                    return Poll::Ready(Beat::Ask);
                }
                _ => self.timer.as_mut().reset(self.heard + self.interval),
            }
        }
    }
}
