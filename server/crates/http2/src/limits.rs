//! Bounds of one connection.

use std::time::Duration;

/// Bytes of a header list, as HTTP/2 counts them; a longer one is answered with 431. The settings announce it.
pub const HEADER_LIST_BYTES_MAX: usize = 64 << 10;

/// Header blocks that a connection caches, because a client repeats the few methods that it calls.
pub(crate) const CACHED_HEADS: usize = 4;

/// Largest header block that is cached.
pub(crate) const CACHED_HEAD_BYTES: usize = 4 << 10;

/// Largest head that is not charged to its request. Heads that requests share are never charged.
pub(crate) const HEAD_FREE_BYTES: usize = 1 << 10;

/// Open streams of one connection, however many are configured; more are refused.
pub const STREAMS_MAX: usize = 32_768;

/// Streams of one connection that do not count as calls of the whole server.
pub const STREAMS_FREE: usize = 64;

/// Streams to remember that ended before their requests were complete, so that late frames are ignored.
pub(crate) const ENDED_EARLY_REMEMBERED: usize = 1024;

/// Flow-control window of a stream and of a connection. A large message takes one round trip.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// Interval of the checks for slow messages and stalled clients.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Time in which a request message must be complete, in addition to the time that [`PROGRESS_BYTES_MIN`] allows for its bytes.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes a second of a message that takes longer than [`BODY_TIMEOUT`]; a slower one is refused. A client that
/// reads fewer in [`STALL_TIMEOUT`] while responses wait has stalled.
pub const PROGRESS_BYTES_MIN: u64 = 16 << 10;

/// How long a client can read almost nothing of pending responses before the connection ends.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a failed connection can take to close.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of output that are not sent; beyond them no call runs. Beyond twice as many, acknowledgments and
/// resets included, nothing is read.
pub const OUTPUT_MAX: usize = 128 << 10;

/// Bytes of each kind that a connection holds without a reservation.
pub(crate) const UNRESERVED_BYTES: usize = 32 << 10;

/// Bytes that are reserved at once.
pub(crate) const RESERVE_STEP_BYTES: usize = 64 << 10;

/// Memory of a queued request message in addition to its bytes.
pub(crate) const MESSAGE_OVERHEAD: usize = 96;

/// Bytes that are read and dropped after a failure, so that the client gets the last frames: closing a socket with unread bytes
/// discards them.
pub const LINGER_BYTES: usize = 4 << 20;

/// Faults of a client; beyond them its connection ends. A fault is a stream that ends in error, in excess of
/// those that succeed, or an empty DATA frame between two complete requests.
pub const FAULTS_MAX: u32 = 4096;

/// SETTINGS frames that a client can send at once.
pub const SETTINGS_BURST: u32 = 256;

/// SETTINGS frames that a client can send per second on average.
pub const SETTINGS_PER_SECOND: u32 = 16;

/// Work of one turn; the rest waits for the next turn. A frame counts [`FRAME_WORK`], a new call [`CALL_WORK`], and a decoded
/// byte or a byte of a large response 1.
pub(crate) const TURN_WORK: usize = 64 << 10;

/// Work of a frame; see [`TURN_WORK`].
pub(crate) const FRAME_WORK: usize = 64;

/// Work of a new call; see [`TURN_WORK`].
pub(crate) const CALL_WORK: usize = 256;

/// Calls that are polled in one turn; the rest wait for the next turn.
pub(crate) const TURN_CALLS: usize = 512;

/// Capacity above which an empty output buffer is freed.
pub(crate) const IDLE_OUTPUT_BYTES: usize = 4 << 10;

/// Bytes that a stream sends before the next stream in the queue. With half of that, a response of 3 MB costs 6 % more CPU,
/// because each write wakes the client.
pub(crate) const VISIT_BYTES: usize = 128 << 10;

/// Slots for streams that a connection without streams keeps allocated.
pub(crate) const SLOTS_KEPT: usize = 64;

/// Streams to remember that ended after complete requests, which tell why a late frame is an error.
pub(crate) const ENDED_REMEMBERED: usize = 32;
