//! Maintains one stream to another member: opens it, writes queued messages, detects its end, and reopens it.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
    time::{MissedTickBehavior, interval_at, sleep, timeout},
};
use witan_base::sync::Mutex;
use witan_config::Url;
use witan_machine::member::MemberId;
use witan_replica::{host::Lane, replica::PeerEvent};

use super::{
    Shared,
    dial::{DialError, PeerConnection},
    frame::{self, Frame, FrameKind},
    handshake::{HANDSHAKE_BYTES_MAX, Handshake, StreamKind, announced_release},
    lanes::Lanes,
    metrics::PeerSeries,
    queue::LaneQueue,
};

/// Interval between pings, which measure round-trip times and show that the other side is still reading.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// First delay between attempts, after an immediate second attempt. It is short, so that failover starts early: an ending
/// process may accept and reset a connection just before its port refuses connections.
const RETRY_FIRST: Duration = Duration::from_millis(1);

/// Longest delay between attempts. A member that restarts opens streams to this member, which ends the delay.
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// Age at which an open stream is regarded as stable. After a stable stream ends, the next attempt follows immediately.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Another member and the state that both streams to it share.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: MemberId,
    urls: Mutex<Vec<Url>>,
    queues: [LaneQueue; 2],
    lanes: Mutex<Lanes>,
    /// Ends the delay before the next attempt.
    retry: Notify,
    /// Time at which bytes last arrived on the member's own streams, in milliseconds since startup.
    received_ms: AtomicU64,
    pub(super) series: PeerSeries,
}

impl Peer {
    /// Creates the state of the links to a member. A stream opens once [`Link::run`] is called.
    pub(super) fn new(id: MemberId, urls: Vec<Url>, series: PeerSeries, memory_bytes: u64) -> Self {
        // Export the series from startup.
        series.active.set(0);
        Self {
            id,
            urls: Mutex::new(urls),
            queues: [(); 2].map(|()| LaneQueue::new(memory_bytes)),
            lanes: Mutex::default(),
            retry: Notify::new(),
            received_ms: AtomicU64::new(0),
            series,
        }
    }

    pub(super) fn queue(&self, lane: Lane) -> &LaneQueue {
        &self.queues[lane as usize]
    }

    /// Replaces the member's URLs. If they have changed, retries immediately.
    pub(super) fn set_urls(&self, urls: Vec<Url>) {
        let mut known = self.urls.lock();
        if *known != urls {
            *known = urls;
            drop(known);
            self.retry_now();
        }
    }

    /// Makes each waiting link to the member retry immediately, without the rest of its delay.
    pub(super) fn retry_now(&self) {
        self.retry.notify_waiters();
    }

    /// Records that bytes arrived on the member's own streams, `since_start` after startup.
    pub(super) fn on_received(&self, since_start: Duration) {
        let ms = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        self.received_ms.store(ms, Relaxed);
    }

    /// Returns whether the member's process is known to have ended.
    pub(super) fn is_gone(&self) -> bool {
        self.lanes.lock().is_gone()
    }

    /// Completes when all messages that were queued for open streams have been written.
    pub(super) async fn flushed(&self) {
        for lane in [Lane::Control, Lane::Bulk] {
            if self.lanes.lock().is_open(lane) {
                self.queue(lane).emptied().await;
            }
        }
    }

    /// Returns whether both streams to the member are open.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.is_open(Lane::Control) && lanes.is_open(Lane::Bulk)
    }

    fn urls(&self) -> Vec<Url> {
        self.urls.lock().clone()
    }
}

/// A stream to a member.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    kind: StreamKind,
    /// The last error that was logged as a warning.
    warned: String,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>, peer: Arc<Peer>, kind: StreamKind) -> Self {
        Self { shared, peer, kind, warned: String::new() }
    }

    /// Keeps the stream open, with delays between attempts, until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut delays = Delays::new();
        loop {
            let mut open_for = Duration::ZERO;
            match self.open().await {
                Ok(stream) => {
                    let begun = Instant::now();
                    self.on_opened();
                    let end = self.serve(stream).await;
                    self.on_ended(&end);
                    open_for = begun.elapsed();
                }
                Err(error) => self.on_failed(&error),
            }
            let delay = delays.next(open_for);
            if !delay.is_zero() {
                tokio::select! {
                    () = sleep(delay) => {}
                    () = self.peer.retry.notified() => delays.start_over(),
                }
            }
        }
    }

    /// Tries each URL once until a stream opens. If all fail, returns the last error other than a refused connection, if there
    /// is one. Fails with `NoUrl` if the member has no URL.
    pub(super) async fn open(&self) -> Result<PeerConnection, DialError> {
        let own_id = self.shared.own_id();
        let members = self.shared.members();
        let own = members.by_id.get(&own_id);
        let target = members.by_id.get(&self.peer.id);
        let hello = Handshake {
            cluster_id: self.shared.node.identity().cluster_id,
            from: own_id,
            to: self.peer.id,
            store: self.shared.node.identity().store.clone(),
            to_store: target.map_or(0, |target| target.store_id),
            kind: self.kind,
            release: announced_release(),
            peer_urls: own.map(|own| own.peer_urls.clone()).unwrap_or_default(),
        };
        let mut worst = DialError::NoUrl;
        for url in self.peer.urls() {
            match self.shared.dialer.open(&url, &hello).await {
                Ok(stream) => return Ok(stream),
                // If any URL does not refuse connections, the process may be running.
                Err(error) if error.nothing_listens() && !matches!(worst, DialError::NoUrl) => {}
                Err(error) => worst = error,
            }
        }
        Err(worst)
    }

    /// Records that the stream is open, so that its queue accepts messages. The control stream marks the member as connected;
    /// the bulk stream reports [`PeerEvent::StreamOpened`] to the replica.
    fn on_opened(&mut self) {
        self.peer.queue(self.kind.lane()).open();
        if self.peer.lanes.lock().on_opened(self.kind.lane()) {
            // Let the other lane's link retry, so that its queue opens before the replica replies to a message from the member.
            self.peer.retry_now();
        }
        self.warned.clear();
        if self.kind == StreamKind::Control {
            self.peer.series.active.set(1);
            self.shared.node.peer_link(self.peer.id, true);
        }
        if self.kind == StreamKind::Bulk {
            let node = &self.shared.node;
            node.peer_event(self.peer.id, PeerEvent::StreamOpened);
        }
        let (kind, remote_peer_id) = (self.kind.label(), self.peer.id.to_string());
        tracing::info!(kind, remote_peer_id, "opened a stream to a peer");
    }

    /// Records and reports to the replica that an open stream has ended with this error. The queue accepts messages until an
    /// attempt to reopen the stream fails.
    fn on_ended(&self, end: &io::Error) {
        let (kind, remote_peer_id) = (self.kind.label(), self.peer.id.to_string());
        tracing::warn!(kind, remote_peer_id, error = %end, "lost the stream to a peer");
        if self.kind == StreamKind::Control {
            self.peer.series.active.set(0);
            self.peer.series.disconnected.inc();
            self.shared.node.peer_link(self.peer.id, false);
        }
        let gone = self
            .peer
            .lanes
            .lock()
            .on_ended(self.kind.lane(), by_other_side(end));
        // The batch that was being written may be lost, so report the member as unreachable.
        self.report(gone);
    }

    /// Records a failed attempt to open the stream and informs the replica. Drops queued messages, and new messages until the
    /// stream opens. Logs a repeated error at debug level.
    fn on_failed(&mut self, error: &DialError) {
        self.peer.series.sent_failures.inc();
        if self.kind == StreamKind::Bulk {
            self.shared.node.entries_lost(self.peer.id);
        }
        self.peer.queue(self.kind.lane()).close();
        let text = error.to_string();
        let (kind, remote_peer_id) = (self.kind.label(), self.peer.id.to_string());
        if text == self.warned {
            tracing::debug!(kind, remote_peer_id, error = text, "failed to reach a peer");
        } else {
            tracing::warn!(
                kind,
                remote_peer_id,
                error = text,
                "failed to reach a peer; retrying"
            );
            self.warned = text;
        }
        if let DialError::Refused(refusal) = error
            && let Some(event) = refusal.event()
        {
            self.shared.node.peer_event(self.peer.id, event);
        }
        let gone = self
            .peer
            .lanes
            .lock()
            .on_failed(self.kind.lane(), error.nothing_listens());
        self.report(gone);
    }

    /// Reports to the replica that the member is unreachable and, if `gone`, that its process has ended.
    fn report(&self, gone: bool) {
        let node = &self.shared.node;
        node.peer_event(self.peer.id, PeerEvent::Unreachable);
        if gone {
            node.peer_event(self.peer.id, PeerEvent::ProcessGone);
        }
    }

    /// Writes to and reads from an open stream until either fails. Returns the error.
    async fn serve(&self, PeerConnection { stream, writer }: PeerConnection) -> io::Error {
        // A firewall may drop only the packets of this stream. The member's own streams then do not show the failure.
        if let Some(writer) = &writer
            && let Err(error) =
                writer.set_acknowledgment_timeout(self.shared.settings.write_timeout)
        {
            return error;
        }
        let _attached = self.peer.queue(self.kind.lane()).attach(writer);
        let (reading, writing) = tokio::io::split(stream);
        let begun = Instant::now();
        tokio::select! {
            end = self.write(writing, begun) => end,
            end = self.read(reading, begun) => end,
        }
    }

    /// Writes queued messages, and every [`PING_INTERVAL`] a ping with the time since `begun`, until a write fails. Returns the
    /// error.
    async fn write(&self, mut stream: impl AsyncWrite + Unpin, begun: Instant) -> io::Error {
        // Ping on all streams at the same moment, so that one wake-up serves all of them.
        let mut pings = interval_at(self.shared.started, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let queue = self.peer.queue(self.kind.lane());
        loop {
            let mut pings_now = false;
            let messages = tokio::select! {
                messages = queue.next_batch() => messages,
                _ = pings.tick() => {
                    pings_now = true;
                    queue.hold();
                    Vec::new()
                }
            };
            let count = messages.len() as u64;
            let mut batch = Vec::new();
            // Free each message before the next one is copied.
            for message in messages {
                frame::append(&mut batch, FrameKind::Message, &message);
            }
            if pings_now {
                let now = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                frame::append(&mut batch, FrameKind::Ping, &now.to_be_bytes());
            }
            let writing = write_all(&mut stream, &batch[..], self.shared.settings.write_timeout);
            if let Err(error) = writing.await {
                return error;
            }
            let bytes = batch.len() as u64;
            self.shared
                .on_written(&self.peer, self.kind.lane(), count, bytes);
        }
    }

    /// Returns whether bytes arrived on the member's own streams within the read timeout.
    fn is_receiving(&self) -> bool {
        let received = Duration::from_millis(self.peer.received_ms.load(Relaxed));
        let silence = self.shared.started.elapsed().saturating_sub(received);
        silence < self.shared.settings.read_timeout
    }

    /// Reads pongs and measures round-trip times until the stream ends. Returns the error. A read timeout ends the stream only
    /// if the member's own streams are also silent, because a member whose disk hangs does not answer pings. The kernel's
    /// timeout always ends the stream.
    async fn read(&self, mut stream: impl AsyncRead + Unpin, begun: Instant) -> io::Error {
        let silence = self.shared.settings.read_timeout;
        loop {
            let frame = match frame::read(&mut stream, HANDSHAKE_BYTES_MAX, silence).await {
                Ok(frame) => frame,
                Err(error) if is_silence(&error) && self.is_receiving() => continue,
                Err(error) => return error,
            };
            if let Some(sent_ns) = ping_sent_ns(&frame) {
                let took = begun
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(sent_ns));
                self.peer.series.round_trips.observe(took.as_secs_f64());
                self.shared.node.round_trip(self.peer.id, took);
            }
        }
    }
}

/// Returns whether an error is the timeout of [`frame::read`], not of the kernel.
fn is_silence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// Returns the time in nanoseconds from the opening of the stream until the pong's ping was sent. Returns `None` for any other
/// frame.
fn ping_sent_ns(frame: &Frame) -> Option<u64> {
    let sent = frame.contents.first_chunk().copied()?;
    (frame.kind == FrameKind::Pong).then_some(u64::from_be_bytes(sent))
}

/// Writes all bytes and flushes them. Fails if the other side accepts no bytes for `patience`.
pub(super) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: impl Buf,
    patience: Duration,
) -> io::Result<()> {
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not read");
    while bytes.has_remaining() {
        let writing = timeout(patience, stream.write_buf(&mut bytes));
        if writing.await.map_err(too_slow)?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    timeout(patience, stream.flush()).await.map_err(too_slow)?
}

/// Returns whether an error means that the other side has closed or reset the stream.
fn by_other_side(end: &io::Error) -> bool {
    matches!(
        end.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// Delays between attempts: none, then a delay that doubles. Jitter keeps members from reconnecting at the same time.
#[derive(Debug)]
struct Delays {
    /// Delay before the next attempt, without jitter.
    next: Duration,
    random: RandomState,
    /// Number of attempts, from which the jitter is computed.
    attempts: u64,
}

impl Delays {
    fn new() -> Self {
        Self {
            next: Duration::ZERO,
            random: RandomState::new(),
            attempts: 0,
        }
    }

    /// Makes the next attempt follow without a delay.
    fn start_over(&mut self) {
        self.next = Duration::ZERO;
    }

    /// Returns the delay before the next attempt, minus the time for which the last stream was open. The delay doubles up to
    /// [`RETRY_LONGEST`] before jitter shortens it by up to half.
    fn next(&mut self, open_for: Duration) -> Duration {
        if open_for >= STABLE_AFTER {
            self.start_over();
        }
        let delay = self.next;
        self.next = (2 * delay).clamp(RETRY_FIRST, RETRY_LONGEST);
        self.attempts += 1;
        let share = self.random.hash_one(self.attempts) % 512 + 512;
        let delay = delay * u32::try_from(share).unwrap_or(1024) / 1024;
        delay.saturating_sub(open_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_start_immediately_and_become_less_frequent() {
        let mut delays = Delays::new();
        assert_eq!(delays.next(Duration::ZERO), Duration::ZERO);
        let mut bound = RETRY_FIRST;
        for _ in 0..20 {
            let delay = delays.next(Duration::ZERO);
            assert!(
                delay >= bound / 2 && delay <= bound,
                "{delay:?} of {bound:?}"
            );
            bound = (2 * bound).min(RETRY_LONGEST);
        }
        assert_eq!(delays.next(STABLE_AFTER), Duration::ZERO);
        let flaps = RETRY_FIRST / 4;
        assert!(!delays.next(flaps).is_zero(), "a stream that flaps");
        let open = 2 * RETRY_FIRST;
        assert!(delays.next(open).is_zero(), "a stream open for longer");
    }
}
