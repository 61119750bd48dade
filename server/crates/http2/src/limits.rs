//! Limits of one connection.

use std::time::Duration;

/// Maximum size in bytes of a header list, as HTTP/2 counts it; a longer list is refused with status 431. The settings announce
/// the limit.
pub const HEADER_LIST_BYTES_MAX: usize = 64 << 10;

/// Number of header blocks that a connection caches. Most clients call the same few methods repeatedly.
pub(crate) const CACHED_HEADS: usize = 4;

/// Maximum size in bytes of a cached header block, and of its decoded header list, as HTTP/2 counts it.
pub(crate) const CACHED_HEAD_BYTES: usize = 4 << 10;

/// Maximum number of open streams of one connection, regardless of the configured number; further streams are refused.
pub const STREAMS_MAX: usize = 32_768;

/// Number of calls per connection, each with one request message, that do not count against the server's budget of calls.
pub const STREAMS_FREE: usize = 64;

/// Number of remembered streams that ended before their requests were complete. Frames that arrive later for them are ignored.
pub(crate) const ENDED_EARLY_REMEMBERED: usize = 1024;

/// Size in bytes of the receive window of each stream and each connection. A message up to this size arrives without waiting
/// for a WINDOW_UPDATE.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// Interval between checks for slow messages and stalled clients.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Time limit for a request message, in addition to the time that [`PROGRESS_BYTES_MIN`] allows for its size.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Minimum rate in bytes per second of a message that takes longer than [`BODY_TIMEOUT`]; a slower message is refused. A client
/// has stalled if it reads fewer than this number of bytes in [`STALL_TIMEOUT`] while responses wait.
pub const PROGRESS_BYTES_MIN: u64 = 16 << 10;

/// Time after which the connection of a stalled client ends.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit for closing a failed connection.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size in bytes of unsent output; when it is exceeded, no call runs. When the output, including acknowledgments and
/// resets, exceeds twice this size, the connection reads nothing.
pub const OUTPUT_MAX: usize = 128 << 10;

/// Number of bytes of requests, and of responses, that a connection may hold without a reservation.
pub(crate) const UNRESERVED_BYTES: usize = 32 << 10;

/// Minimum number of bytes that a connection reserves at a time. If the service refuses them, only the missing bytes are
/// reserved.
pub(crate) const RESERVE_STEP_BYTES: usize = 64 << 10;

/// Size in bytes of the memory that a queued request message takes in addition to its content.
pub(crate) const MESSAGE_OVERHEAD: usize = 96;

/// Number of unwanted bytes that are read and dropped before a connection closes. Closing a socket with unread bytes could
/// discard the last output.
pub const LINGER_BYTES: usize = 4 << 20;

/// Maximum number of protocol errors by a client; when the limit is exceeded, the connection is closed. Each completed
/// response, even with an error status, cancels one error.
pub const FAULTS_MAX: u32 = 4096;

/// Number of work units of one turn; the remaining work waits for the next turn. A frame costs [`FRAME_WORK`] and a new call
/// [`CALL_WORK`]. Each decoded byte, each byte of a large or streamed response, and each stream that a setting affects costs 1.
pub(crate) const TURN_WORK: usize = 64 << 10;

/// Number of work units of a frame (see [`TURN_WORK`]).
pub(crate) const FRAME_WORK: usize = 64;

/// Number of work units of a new call (see [`TURN_WORK`]).
pub(crate) const CALL_WORK: usize = 256;

/// Number of calls that a turn polls; further calls wait for the next turn. Empty lists of streams shrink to this capacity.
pub(crate) const TURN_CALLS: usize = 512;

/// Number of calls that a connection polls before it writes their responses.
pub(crate) const CALL_BATCH: usize = 32;

/// Number of bytes that a stream sends before it yields to the next queued stream. With half of this number, a response of 3 MB
/// takes 6 % more CPU time, because each write wakes the client.
pub(crate) const VISIT_BYTES: usize = 128 << 10;

/// Number of stream slots that a connection may keep when it has no streams. A connection with more slots frees all of them.
pub(crate) const SLOTS_KEPT: usize = 64;

/// Number of remembered streams that ended after their requests were complete. A later frame for another closed stream can
/// cause a different error.
pub(crate) const ENDED_REMEMBERED: usize = 32;
