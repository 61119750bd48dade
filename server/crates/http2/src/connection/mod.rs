//! A connection as a state machine. Inputs are received bytes, the time, and responses. Outputs are bytes, calls and wake-ups.
//!
//! A turn does a bounded amount of work. The connection processes input while its output has capacity, even if the client does
//! not read responses. Resets, pings and window updates therefore never wait behind a response.
//!
//! Reading order: this file (a turn) → `receive` (frames of requests) → `control` (other frames) → `call` (calls and their
//! responses) → `timers` → `ended` (closed streams), `audit` (resource counts).

mod audit;
mod call;
mod control;
mod ended;
mod receive;
mod timers;

use std::{collections::VecDeque, mem, rc::Rc, sync::Arc, task::Waker, time::Instant};

pub use audit::Audit;
pub(crate) use control::{KEEP_ALIVE, SHUTTING_DOWN};

use crate::{
    CallResponse, Config, PREFACE, Resource, Service,
    frame::{self, Frame, HEAD_BYTES, Reason},
    head_cache::HeadCache,
    limits::{
        CALL_BATCH, CLOSE_TIMEOUT, FAULTS_MAX, FRAME_WORK, OUTPUT_MAX, RESERVE_STEP_BYTES,
        STREAMS_FREE, STREAMS_MAX, TURN_CALLS, TURN_WORK, UNRESERVED_BYTES,
    },
    meter::ResourceMeter,
    ready::ReadyList,
    send::FrameWriter,
    stream::{ResourceMeters, Streams},
};
use control::{Pings, TOO_MANY_PINGS};
use ended::EndedStreams;
use receive::OpenBlock;
use timers::ConnectionTimers;

/// The connection of one client.
pub struct Connection<S: Service> {
    service: Rc<S>,
    config: Config,
    now: Instant,
    /// Number of missing bytes of the preface.
    preface_left: usize,
    /// The received part of an incomplete frame.
    partial: Vec<u8>,
    /// Number of work units that this turn has spent on received bytes and large responses (see [`crate::limits`]).
    work: usize,
    open_block: Option<OpenBlock<S>>,
    /// Whether the client's first SETTINGS frame has arrived.
    settings_received: bool,
    /// Whether the client has acknowledged the server's settings.
    settings_acknowledged: bool,
    heads: HeadCache<S::Method>,
    /// The highest stream id that the client has used.
    highest: u32,
    /// The last stream id in the latest GOAWAY frame, which later frames must not exceed.
    last_goaway_stream: u32,
    streams: Streams<S>,
    streams_max: usize,
    ended: EndedStreams,
    meters: ResourceMeters<S>,
    ready: Arc<ReadyList>,
    /// Slots of ready streams that have not been polled yet.
    woken: VecDeque<usize>,
    drained: Vec<usize>,
    /// Whether the last turn polled calls before it sent queued responses.
    calls_first: bool,
    writer: FrameWriter,
    /// Upper bound of the `send_credit` of all streams.
    credit_high: i64,
    /// Whether the initial window has grown, so that blocked streams must run.
    window_grown: bool,
    /// Number of client errors, reduced by one for each completed stream.
    faults: u32,
    pings: Pings,
    timers: ConnectionTimers,
    /// Whether a shutdown has started.
    shutting_down: bool,
    refuses_new_streams: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The connection has failed and is sending its last frames, until this time at the latest.
    Failed(Instant),
    /// The connection sends and receives nothing more.
    Closed,
}

impl<S: Service> Connection<S> {
    /// Creates the state of an accepted connection. Its output starts with SETTINGS, and its input must start with the preface.
    pub fn new(service: S, config: Config, now: Instant) -> Self {
        let service = Rc::new(service);
        let at_once = usize::try_from(config.streams_max).unwrap_or(usize::MAX);
        let streams_max = at_once.min(STREAMS_MAX);
        let meter = |what, free, step| ResourceMeter::new(service.clone(), what, free, step);
        let ready = Arc::<ReadyList>::default();
        Self {
            meters: ResourceMeters {
                requests: meter(Resource::Requests, UNRESERVED_BYTES, RESERVE_STEP_BYTES),
                answers: meter(Resource::Answers, UNRESERVED_BYTES, RESERVE_STEP_BYTES),
                calls: meter(Resource::Calls, STREAMS_FREE, 1),
                streaming_calls: meter(Resource::Calls, 0, 1),
            },
            service,
            config,
            now,
            preface_left: PREFACE.len(),
            partial: Vec::new(),
            work: 0,
            open_block: None,
            settings_received: false,
            settings_acknowledged: false,
            heads: HeadCache::new(),
            highest: 0,
            last_goaway_stream: u32::MAX >> 1,
            streams: Streams::new(ready.clone()),
            streams_max,
            ended: EndedStreams::default(),
            ready,
            woken: VecDeque::new(),
            drained: Vec::new(),
            calls_first: false,
            // `streams_max` is at most `STREAMS_MAX`.
            writer: FrameWriter::new(streams_max as u32),
            credit_high: 0,
            window_grown: false,
            faults: 0,
            pings: Pings::new(config.ping_interval_min),
            timers: ConnectionTimers::new(config.keepalive, now),
            shutting_down: false,
            refuses_new_streams: false,
            phase: Phase::Open,
        }
    }

    /// Sets the waker that is woken when a call can continue.
    pub fn register(&mut self, waker: &Waker) {
        self.ready.register(waker);
    }

    /// Returns whether [`Connection::receive`] would now process bytes.
    pub fn wants_input(&self) -> bool {
        self.phase == Phase::Open && !self.writer.is_control_full() && self.work < TURN_WORK
    }

    /// Processes received bytes and returns the number of processed bytes. This number includes the start of an incomplete
    /// frame, which the connection keeps. An invalid frame fails the connection, which then drops the other bytes and returns
    /// the number of all bytes. Pass the remaining bytes again once [`Connection::wants_input`] returns `true`.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.now = now;
        if !bytes.is_empty() {
            self.timers.received(now);
        }
        match self.take(bytes) {
            Ok(taken) => taken,
            Err(reason) => {
                self.fail(reason);
                bytes.len()
            }
        }
    }

    /// Runs ready calls and expired timers, up to a bounded amount of work. Returns whether to run again immediately. Closes a
    /// failed or shut-down connection once its output is sent.
    pub fn run(&mut self, now: Instant) -> bool {
        self.now = now;
        self.work = 0;
        if let Phase::Failed(until) = self.phase {
            if self.writer.ready().is_empty() || now >= until {
                self.phase = Phase::Closed;
            }
            return false;
        }
        if self.phase == Phase::Closed {
            return false;
        }
        if let Err(reason) = self.run_timers() {
            self.fail(reason);
            return false;
        }
        self.run_streams();
        if self.refuses_new_streams && self.streams.is_empty() && self.writer.ready().is_empty() {
            self.phase = Phase::Closed;
            return false;
        }
        // After an exhausted turn, no other event wakes the connection for the remaining input.
        let exhausted = self.work >= TURN_WORK;
        let ready = !self.woken.is_empty()
            || !self.writer.send_queue.is_empty() && self.writer.send_window > 0;
        exhausted || ready && !self.writer.is_full()
    }

    /// Moves the memory of `buffer`, which must be empty, to the output, unless the output already has memory.
    pub fn borrow_output(&mut self, buffer: &mut Vec<u8>) {
        if self.writer.output.capacity() == 0 {
            mem::swap(&mut self.writer.output, buffer);
        }
    }

    /// Moves the output's buffer to `buffer` if all output is sent. If `buffer` already has memory, frees the output's buffer
    /// instead.
    pub fn return_output(&mut self, buffer: &mut Vec<u8>) {
        if self.writer.output.is_empty() {
            let own = mem::take(&mut self.writer.output);
            if buffer.capacity() == 0 {
                *buffer = own;
            }
        }
    }

    /// Returns the bytes that are ready to be sent.
    pub fn output(&self) -> &[u8] {
        self.writer.ready()
    }

    /// Removes the first `bytes` bytes of the output, which have been sent.
    pub fn sent(&mut self, bytes: usize) {
        self.writer.advance(bytes);
    }

    /// Returns the latest time at which [`Connection::run`] must be called, or `None` if no timer is set.
    pub fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => self.next_timer(),
            Phase::Failed(until) => Some(until),
            Phase::Closed => None,
        }
    }

    /// Starts a graceful shutdown: completes the calls in progress, but ends each call that may run forever as soon as its
    /// response has started. The first GOAWAY refuses no stream. A second GOAWAY follows when the client has acknowledged a
    /// ping, so that no call in transit is lost.
    pub fn shut_down(&mut self) {
        if self.phase == Phase::Open && !mem::replace(&mut self.shutting_down, true) {
            frame::goaway(&mut self.writer.output, (1 << 31) - 1, Reason::NoError, b"");
            frame::ping(&mut self.writer.output, 0, SHUTTING_DOWN);
            for (slot, _) in self.streams.iter() {
                self.streams.wake(slot);
            }
        }
    }

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Runs the streams that were woken or whose window has grown, while the output has capacity.
    fn run_streams(&mut self) {
        if mem::take(&mut self.window_grown) {
            self.work += self.streams.len();
            let writer = &mut self.writer;
            self.streams.each(|slot, stream| {
                if !stream.pending.is_empty() {
                    writer.enqueue(stream, slot);
                }
            });
        }
        self.prune_send_queue();
        if self.writer.is_full() {
            return;
        }
        // Alternate the order, because the first step may fill the output.
        self.calls_first = !self.calls_first;
        if self.calls_first {
            self.run_calls();
            self.send_queued();
        } else {
            self.send_queued();
            self.run_calls();
        }
    }

    /// Sends a part of each queued response while the output and the connection's window have capacity.
    fn send_queued(&mut self) {
        for _ in 0..self.writer.send_queue.len() {
            if self.writer.is_full() || self.writer.send_window <= 0 {
                break;
            }
            let Some(slot) = self.writer.send_queue.pop_front() else {
                break;
            };
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.queued = false;
            }
            self.visit(slot, None);
        }
        if self.writer.send_queue.is_empty() {
            self.writer.send_queue.shrink_to(TURN_CALLS);
        }
    }

    /// Polls calls that were started or woken, up to `TURN_CALLS`, while the output and the turn have capacity. Polls several
    /// calls before it writes their responses. The code for parsing requests, running calls or writing responses fits into the
    /// processor's instruction cache, but the code for all three does not.
    fn run_calls(&mut self) {
        let mut drained = mem::take(&mut self.drained);
        self.ready.drain(&mut drained);
        self.woken.extend(drained.drain(..));
        // Each drain swaps the buffers of this list and the list of ready streams, so both buffers shrink over time.
        drained.shrink_to(TURN_CALLS);
        self.drained = drained;
        let (mut polled, mut unwritten) = (Vec::new(), 0);
        for _ in 0..TURN_CALLS {
            if self.writer.is_full() || self.work >= TURN_WORK {
                break;
            }
            let Some(slot) = self.woken.pop_front() else {
                break;
            };
            self.streams.unlisted(slot);
            let response = self.poll_call(slot);
            // A single call needs no batch, and thus no allocation.
            if polled.is_empty() && self.woken.is_empty() {
                self.visit(slot, response);
                continue;
            }
            unwritten += match &response {
                None => 0,
                Some(CallResponse::Message(message)) => message.len(),
                // The body of the response can fill the output.
                Some(CallResponse::Response(_)) => OUTPUT_MAX,
            };
            polled.push((slot, response));
            if polled.len() == CALL_BATCH || self.writer.ready().len() + unwritten >= OUTPUT_MAX {
                self.write_responses(&mut polled);
                unwritten = 0;
            }
        }
        self.write_responses(&mut polled);
        if self.woken.is_empty() {
            self.woken.shrink_to(TURN_CALLS);
        }
    }

    /// Removes repeated slots and slots without unsent content from the send queue if it has far more slots than streams.
    fn prune_send_queue(&mut self) {
        let (queue, streams) = (&mut self.writer.send_queue, &mut self.streams);
        if queue.len() > 2 * streams.len() + STREAMS_FREE {
            streams.each(|_, stream| stream.queued = false);
            queue.retain(|slot| {
                streams
                    .get_mut(*slot)
                    .is_some_and(|s| !s.pending.is_empty() && !mem::replace(&mut s.queued, true))
            });
        }
    }

    /// Visits the streams whose calls were polled, with the responses that are ready.
    fn write_responses(&mut self, polled: &mut Vec<(usize, Option<CallResponse<S::Body>>)>) {
        for (slot, response) in polled.drain(..) {
            self.visit(slot, response);
        }
    }

    /// Checks the preface, then handles the complete frames in received bytes while the connection accepts input. Keeps the
    /// start of an incomplete frame. Returns the number of processed and kept bytes. Fails if the connection must end.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let mut left = self.take_preface(bytes)?;
        while !left.is_empty() && self.wants_input() {
            if !self.partial.is_empty() {
                left = self.complete_frame(left)?;
            } else if let Some((frame, length)) = Frame::first(left)? {
                self.work += FRAME_WORK;
                self.on_frame(frame)?;
                left = &left[length..];
            } else {
                self.partial.extend_from_slice(left);
                left = &[];
            }
        }
        Ok(bytes.len() - left.len())
    }

    /// Appends bytes to the incomplete frame. If the frame is then complete, handles it. Returns the bytes after the frame.
    /// Fails if the connection must end.
    fn complete_frame<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reason> {
        let mut partial = mem::take(&mut self.partial);
        let mut left = bytes;
        for _ in ["head", "payload"] {
            let whole = Frame::length(&partial)?.unwrap_or(HEAD_BYTES);
            let (more, rest) = left.split_at(left.len().min(whole - partial.len()));
            partial.extend_from_slice(more);
            left = rest;
        }
        if let Some((frame, _)) = Frame::first(&partial)? {
            self.work += FRAME_WORK;
            self.on_frame(frame)?;
        } else {
            self.partial = partial;
        }
        Ok(left)
    }

    /// Checks received bytes against the preface and returns the bytes after it. Fails if the bytes differ.
    fn take_preface<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reason> {
        if self.preface_left == 0 {
            return Ok(bytes);
        }
        let (begin, rest) = bytes.split_at(bytes.len().min(self.preface_left));
        let expected = &PREFACE[PREFACE.len() - self.preface_left..];
        if !expected.starts_with(begin) {
            return Err(Reason::Protocol);
        }
        self.preface_left -= begin.len();
        Ok(rest)
    }

    /// Ends the connection: drops all streams and sends a GOAWAY with this reason. The connection closes within
    /// [`CLOSE_TIMEOUT`].
    fn fail(&mut self, reason: Reason) {
        self.streams.clear();
        self.timers.deadlines.clear();
        self.writer.send_queue.clear();
        self.woken.clear();
        self.open_block = None;
        self.partial = Vec::new();
        let debug_data = if self.pings.too_many() {
            TOO_MANY_PINGS
        } else {
            b""
        };
        self.goaway(reason, debug_data);
        self.phase = Phase::Failed(self.now + CLOSE_TIMEOUT);
    }

    /// Sends a shutdown's final GOAWAY, unless it was sent before. New streams are then refused.
    fn refuse_new(&mut self) {
        if !mem::replace(&mut self.refuses_new_streams, true) {
            self.goaway(Reason::NoError, b"");
        }
    }

    /// Sends a GOAWAY with the last accepted stream, whose id never increases from one GOAWAY to the next.
    fn goaway(&mut self, reason: Reason, debug_data: &[u8]) {
        let last = self.last_goaway_stream.min(self.highest);
        self.last_goaway_stream = last;
        frame::goaway(&mut self.writer.output, last, reason, debug_data);
    }

    /// Counts a client error. Fails if the number exceeds [`FAULTS_MAX`], so that the connection ends.
    fn fault(&mut self) -> Result<(), Reason> {
        self.faults += 1;
        if self.faults > FAULTS_MAX {
            return Err(Reason::Calm);
        }
        Ok(())
    }
}
