//! A snapshot on the wire: the records of a frozen view, from the leader's memory to the disk of a lagging member.
//!
//! ```text
//! sender                                  receiver
//! begin: format, cluster, index, term →
//!                                       ← resume: durable records
//! records, in chunks …                  →   written as runs; the sender waits for the disk
//! end: totals                           →   the state is built, and the replica decides
//!                                       ← alive, every second
//!                                       ← outcome: installed, not needed, or refused with a reason
//! ```
//!
//! The sender reads the view only as fast as the stream accepts chunks. It holds a few chunks and the view, but no second copy
//! of the state. The receiver holds the new state in addition to its current state. A broken stream can be resumed while the
//! sender keeps the view and the receiver keeps its records.
//!
//! The replica decides when a snapshot is sent, and `storage` writes it to the disk.
//!
//! Reading order: this file (timeouts, transfers) → `wire` (frames) → `send` → `receive`.

mod receive;
mod send;
#[cfg(test)]
mod tests;
mod wire;

use std::{io, time::Duration};

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(test)]
use receive::ReceiveError;
use witan_machine::member::MemberId;

pub(super) use receive::{answer, receive};
pub(super) use send::{SendError, send};
pub(super) use wire::Part;
#[cfg(feature = "fuzz")]
pub(super) use wire::RecordParser;

use super::{
    frame::{self, FrameKind},
    link::write_all,
    metrics::PeerMetrics,
};

/// Size in bytes of the records in one frame.
const CHUNK_BYTES: usize = 256 << 10;

/// Number of chunks buffered on each side, between the stream and the thread that reads or writes the state.
const CHUNKS_AHEAD: usize = 4;

/// Time without progress after which a transfer fails. It exceeds the time that a slow disk takes to write a run.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval at which a busy receiver reports that it is alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the progress of a transfer is logged.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// The cluster and the other member of a transfer, and the metrics.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) cluster_id: u64,
    pub(super) member: MemberId,
    pub(super) metrics: PeerMetrics,
}

/// Writes one part as a frame. Fails if the other side reads nothing for [`STALL_TIMEOUT`].
async fn write(stream: &mut (impl AsyncWrite + Unpin), part: &Part) -> io::Result<()> {
    let (start, records) = part.encode();
    let start = frame::encode_before(FrameKind::Snapshot, &start, records);
    write_all(stream, (&start[..]).chain(records), STALL_TIMEOUT).await
}

/// Reads the next part, of at most `max` bytes. Fails with `InvalidData` if the part is invalid, and with `TimedOut` after
/// [`STALL_TIMEOUT`] without a byte.
async fn read(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Part> {
    let frame = frame::read(stream, max, STALL_TIMEOUT).await?;
    Part::decode(frame.contents).ok_or_else(|| invalid("an invalid frame"))
}

/// Returns the error for a part that the other side must not send now.
fn out_of_order() -> io::Error {
    invalid("a part out of order")
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
