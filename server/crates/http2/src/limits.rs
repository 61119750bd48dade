//! Bounds of one connection, one sentence each.

use std::time::Duration;

/// A list of headers, by the standard's measure; announced, and answered by 431 beyond.
pub const HEADER_LIST_BYTES_MAX: usize = 64 << 10;

/// A block of headers before its decompression; beyond, the connection ends.
pub const HEADER_BLOCK_BYTES_MAX: usize = 128 << 10;

/// CONTINUATION frames of one block; they need not carry anything.
pub const CONTINUATIONS_MAX: usize = 32;

/// Blocks of headers that a connection remembers: a client repeats the few methods that it calls.
pub(crate) const CACHED_HEADS: usize = 4;

/// Larger blocks are not remembered.
pub(crate) const CACHED_HEAD_BYTES_MAX: usize = 4 << 10;

/// A head that is larger and not shared counts among the bytes of requests.
pub(crate) const HEAD_FREE_BYTES: usize = 1 << 10;

/// Streams of one connection, when its configuration allows more.
pub const STREAMS_MAX: usize = 32_768;

/// Streams of one connection that are not counted among the calls of the whole server.
pub const STREAMS_FREE: usize = 64;

/// Streams whose answers are out while their requests may still come: frames of them are ignored.
pub(crate) const ENDED_EARLY_MAX: usize = 1024;

/// Flow-control window of a stream and of a connection: a large message takes one round trip.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// How often it is looked whether a client keeps its streams waiting.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A client that takes less than this in [`crate::Config::stall_timeout`] while answers wait has
/// stalled.
pub(crate) const STALL_BYTES_MIN: u64 = 64 << 10;

/// Bytes ready to be sent; while there are more, no call runs.
pub const OUTPUT_MAX: usize = 128 << 10;

/// Bytes of acknowledgments and resets beyond [`OUTPUT_MAX`]; while there are more, nothing is read.
pub const CONTROL_MAX: usize = 64 << 10;

/// Bytes of requests that one connection may have, unfinished or being worked on; beyond, calls are
/// refused.
pub const UNFINISHED_MAX: usize = 64 << 20;

/// Bytes of each kind that a connection holds without a reservation.
pub(crate) const UNRESERVED_BYTES: usize = 32 << 10;

/// Bytes that are reserved at once.
pub(crate) const RESERVE_STEP_BYTES: usize = 64 << 10;

/// What a message takes beyond its bytes while it waits for its call.
pub(crate) const MESSAGE_OVERHEAD: usize = 96;

/// Streams that may end badly (reset by the client, or for its fault) beyond those that ended well.
pub const FAULTS_MAX: u32 = 4096;

/// DATA frames without content between two requests that became whole.
pub const EMPTY_MAX: u32 = 4096;

/// SETTINGS frames that may come at once.
pub const SETTINGS_BURST: u32 = 256;

/// SETTINGS frames that may come in a second in the long run.
pub const SETTINGS_PER_SECOND: u32 = 16;

/// Work before the rest waits for the connection's next turn: a frame is [`FRAME_WORK`], a call that
/// begins [`CALL_WORK`], a byte that has to be decoded is one, and so is a byte of a large answer.
pub(crate) const TURN_WORK: usize = 64 << 10;

/// See [`TURN_WORK`].
pub(crate) const FRAME_WORK: usize = 64;

/// See [`TURN_WORK`].
pub(crate) const CALL_WORK: usize = 256;

/// Calls that run before the rest waits for the connection's next turn.
pub(crate) const TURN_CALLS: usize = 512;

/// An empty output buffer larger than this is given back.
pub(crate) const IDLE_OUTPUT_BYTES: usize = 4 << 10;

/// Bytes that one stream sends before the next one has its turn.
pub(crate) const VISIT_BYTES: usize = 64 << 10;

/// Slots for streams that a connection without any keeps.
pub(crate) const SLOTS_KEPT: usize = 64;

/// The last streams that ended as they should; it is known of them why a frame is wrong.
pub(crate) const ENDED_MAX: usize = 32;
