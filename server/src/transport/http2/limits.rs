//! Bounds of one HTTP/2 connection, one sentence each.

use std::time::Duration;

/// A block of headers, before and after its compression is undone.
pub(super) const HEADERS_MAX: usize = 16 << 10;

/// CONTINUATION frames of one block; they need not carry anything.
pub(super) const CONTINUATIONS_MAX: usize = 32;

/// Streams of one connection, when `--max-concurrent-streams` allows more.
pub(super) const STREAMS_MAX: usize = 32_768;

/// Streams of one connection that are not counted among those of the whole process.
pub(super) const STREAMS_FREE: usize = 64;

/// How often it is looked whether a client keeps its streams waiting.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A client that takes less than this in `STALL_TIMEOUT` while answers wait has stalled.
pub(super) const STALL_BYTES_MIN: u64 = 64 << 10;

/// Bytes ready to be sent; while there are more, no answer is taken and nothing is read.
pub(super) const OUTPUT_MAX: usize = 256 << 10;

/// Bytes of unfinished requests that one connection may have; beyond, calls are refused.
pub(super) const UNFINISHED_MAX: usize = 64 << 20;

/// Streams that may end badly (reset by the client, or for its fault) beyond those that ended well.
pub(super) const FAULTS_MAX: u32 = 4096;

/// Chunks of a request that its call has not taken; their bytes are bounded by the window.
pub(super) const CHUNKS_MAX: usize = 1 << 16;

/// DATA frames without content between two requests that became whole.
pub(super) const EMPTY_MAX: u32 = 4096;

/// Reads from the socket before other connections of the worker have their turn.
pub(super) const READS_MAX: usize = 8;

/// Bytes read at once, into a buffer that the connections of a worker share.
pub(super) const READ_BYTES: usize = 64 << 10;

/// An empty output buffer larger than this is given back.
pub(super) const KEPT_BYTES: usize = 4 << 10;

/// Bytes that one stream sends before the next one has its turn.
pub(super) const VISIT_BYTES: usize = 64 << 10;

/// Slots for streams that a connection without any keeps.
pub(super) const SLOTS_KEPT: usize = 64;
