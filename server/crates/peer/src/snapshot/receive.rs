//! Receives the records of another member's state and writes them to the disk.

use std::{io, pin::pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use witan_base::panics::{self, PanicSource};
use witan_storage::{
    FORMATS, IncomingSnapshot, ReceivedSnapshot, SnapshotError, SnapshotId, SnapshotReceiver,
};

use super::{
    ALIVE_INTERVAL, CHUNK_BYTES, CHUNKS_AHEAD, Part, Transfer, out_of_order, read,
    wire::{Begin, Outcome, RECORDS_HEADER_BYTES, RecordParser, Resume},
    write,
};

/// Factor by which the records may exceed the sender's estimate.
const ESTIMATE_FACTOR: u64 = 4;
/// Number of additional bytes by which the records may exceed the estimate.
const ESTIMATE_SLACK_BYTES: u64 = 64 << 20;

/// The reason why a snapshot was not received. The state is unchanged.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ReceiveError {
    /// The stream broke. The next stream continues after the records on disk.
    #[error("the snapshot stream failed: {0}")]
    Stream(#[from] io::Error),
    /// Another snapshot is being received, the disk or the records are unusable, or a later release wrote the records.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot's state does not fit in memory in addition to this member's current state. `bytes` is the announced size,
    /// or the size of the received part.
    #[error(
        "{bytes} bytes of a received state do not fit in the memory budget in addition to the current state"
    )]
    NoMemory { bytes: u64 },
    /// The sender belongs to another cluster, uses an unknown format, or sent invalid or unexpected parts.
    #[error("the sender of the snapshot {0}")]
    Protocol(String),
    /// The panic is logged and counted.
    #[error("receiving the snapshot panicked")]
    Panicked,
}

impl ReceiveError {
    /// Returns the outcome to send, or `None` if the stream is broken.
    fn outcome(&self) -> Option<Outcome> {
        if let Self::Stream(_) = self {
            return None;
        }
        // After corruption, the next attempt starts over, because the records on disk may belong to another snapshot.
        let busy = matches!(
            self,
            Self::Snapshot(SnapshotError::Busy | SnapshotError::Corrupt(_))
        );
        Some(Outcome { delivered: false, busy, reason: self.to_string() })
    }
}

/// Receives a snapshot. On success, the snapshot is durable and in memory but not installed, and the sender waits for
/// [`answer`]. On failure, sends the outcome unless the stream is broken. Refuses a snapshot as soon as `fits` returns `false`
/// for its announced size, or for the size of the received part, in bytes.
pub(in super::super) async fn receive(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    into: &SnapshotReceiver,
    transfer: &Transfer,
    fits: impl Fn(u64) -> bool + Send + 'static,
) -> Result<ReceivedSnapshot, ReceiveError> {
    let timer = transfer.metrics.snapshot_receives.begin(transfer.member);
    let (mut reading, mut writing) = tokio::io::split(stream);
    let receiving = receive_parts(&mut reading, &mut writing, into, transfer, fits);
    let received = panics::contain(&transfer.metrics.panics, PanicSource::Job, receiving).await;
    let received = received.unwrap_or(Err(ReceiveError::Panicked));
    let member = transfer.member.to_string();
    match &received {
        Ok(received) => {
            let (index, took) = (received.view.position.index, timer.begun.elapsed());
            tracing::info!(index, member, ?took, "received a snapshot");
            timer.succeeded();
        }
        Err(error) => {
            tracing::warn!(member, %error, "failed to receive a snapshot");
            if let Some(outcome) = error.outcome() {
                // The sender may have disconnected.
                let _ = write(&mut writing, &Part::Outcome(outcome)).await;
            }
        }
    }
    received
}

/// Reads the announcement, answers with the records that are already durable, and receives the other records.
async fn receive_parts<R, W>(
    reading: &mut R,
    writing: &mut W,
    into: &SnapshotReceiver,
    transfer: &Transfer,
    fits: impl Fn(u64) -> bool + Send + 'static,
) -> Result<ReceivedSnapshot, ReceiveError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Part::Begin(begin) = next(reading).await? else {
        return Err(of_protocol(&out_of_order()));
    };
    check(&begin, transfer)?;
    if !fits(begin.bytes) {
        return Err(ReceiveError::NoMemory { bytes: begin.bytes });
    }
    let id = SnapshotId { index: begin.index, term: begin.term };
    let (into, bytes) = (into.clone(), begin.bytes);
    let begun = panics::run_blocking(move || into.begin(id, bytes)).await;
    let incoming = begun.map_err(io::Error::other)??;
    let (durable, last_key) = incoming.durable();
    let resume = Resume {
        records: durable.records,
        bytes: durable.bytes,
        last_key: last_key.to_vec(),
    };
    let (member, from_byte) = (transfer.member.to_string(), resume.bytes);
    tracing::info!(
        index = id.index,
        member,
        bytes,
        from_byte,
        "receiving a snapshot"
    );
    if let Err(error) = write(writing, &Part::Resume(resume)).await {
        // The next stream continues after the same records.
        incoming.park();
        return Err(error.into());
    }
    let limit = ESTIMATE_FACTOR
        .saturating_mul(bytes)
        .saturating_add(ESTIMATE_SLACK_BYTES);
    alive_while(writing, read_records(reading, incoming, limit, fits)).await
}

/// Fails if this member cannot read the format of the snapshot, or if the snapshot belongs to another cluster.
fn check(begin: &Begin, transfer: &Transfer) -> Result<(), ReceiveError> {
    let format = begin.format;
    if FORMATS.iter().all(|known| known.snapshot != format) {
        let what = format!("uses format {format}, which this member does not read");
        return Err(ReceiveError::Protocol(what));
    }
    if begin.cluster_id != transfer.cluster_id {
        return Err(ReceiveError::Protocol(format!(
            "belongs to cluster {:x}, but this member belongs to cluster {:x}",
            begin.cluster_id, transfer.cluster_id
        )));
    }
    Ok(())
}

/// Reads all records while another thread writes them with [`write_records`], which enforces `limit` and `fits`. Rethrows a
/// panic of that thread.
async fn read_records<S: AsyncRead + Unpin>(
    reading: &mut S,
    incoming: IncomingSnapshot,
    limit: u64,
    fits: impl Fn(u64) -> bool + Send + 'static,
) -> Result<ReceivedSnapshot, ReceiveError> {
    let (parts, waiting) = mpsc::channel(CHUNKS_AHEAD);
    let writer = panics::spawn(move || write_records(incoming, waiting, limit, fits));
    let read = async {
        loop {
            let part = next(reading).await?;
            let more = matches!(part, Part::Records(..));
            // An error means that the writer has failed, and its result says why.
            if parts.send(part).await.is_err() || !more {
                return Ok(());
            }
        }
    };
    let read = read.await;
    drop(parts);
    let written = writer.await.map_err(io::Error::other)?;
    let written = written.unwrap_or_else(|panicked| panics::rethrow(panicked));
    match (read, written) {
        (Ok(()), written) => written,
        // The reason for a failed write is more specific than the stream's end.
        (Err(ReceiveError::Stream(_)), Err(error)) => Err(error),
        (Err(error), _) => Err(error),
    }
}

/// Adds the parts' records to the snapshot. Runs on a blocking thread. Fails if the records exceed `limit` bytes, and as soon
/// as `fits` returns `false` for the received bytes. If the stream breaks or a part of a wrong kind arrives, keeps the durable
/// records.
fn write_records(
    mut incoming: IncomingSnapshot,
    mut parts: mpsc::Receiver<Part>,
    limit: u64,
    fits: impl Fn(u64) -> bool,
) -> Result<ReceivedSnapshot, ReceiveError> {
    let mut parser = RecordParser::default();
    let mut offset = incoming.totals().bytes;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Records(at, bytes) => {
                if at != offset {
                    let what = format!("sent byte {at} of the records instead of byte {offset}");
                    return Err(ReceiveError::Protocol(what));
                }
                offset += bytes.len() as u64;
                if offset > limit {
                    let what =
                        format!("sent more than {limit} bytes, which exceeds the announced size");
                    return Err(ReceiveError::Protocol(what));
                }
                if !fits(offset) {
                    return Err(ReceiveError::NoMemory { bytes: offset });
                }
                parser.push(bytes);
                let damaged = |error: io::Error| SnapshotError::Corrupt(error.to_string());
                while let Some((key, value)) = parser.next().map_err(damaged)? {
                    incoming.add(key, value)?;
                }
            }
            Part::End(_) if !parser.is_empty() => {
                return Err(ReceiveError::Protocol("ended within a record".into()));
            }
            Part::End(totals) => return Ok(incoming.finish(totals, &|| fits(offset))?),
            Part::Restart => {
                let what = "sent records that differ from the records of an earlier stream";
                return Err(SnapshotError::Corrupt(what.into()).into());
            }
            Part::Begin(_) | Part::Resume(_) | Part::Alive | Part::Outcome(_) => {
                incoming.park();
                return Err(of_protocol(&out_of_order()));
            }
        }
    }
    incoming.park();
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
}

/// Waits for the replica's decision and meanwhile tells the sender that this side is alive. Then tells the sender that the
/// snapshot was delivered: it was installed, or not needed.
pub(in super::super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    decided: impl Future<Output = ()>,
) -> io::Result<()> {
    let (_reading, mut writing) = tokio::io::split(stream);
    alive_while(&mut writing, decided).await;
    let outcome = Outcome { delivered: true, ..Outcome::default() };
    write(&mut writing, &Part::Outcome(outcome)).await
}

/// Waits for `work` and returns its result. Tells the other side every [`ALIVE_INTERVAL`] that this side is alive.
async fn alive_while<T>(
    writing: &mut (impl AsyncWrite + Unpin),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut ticks = interval(ALIVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listens = true;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick(), if listens => {
                // If the sender has disconnected, `work` or the caller's next write detects that.
                listens = write(writing, &Part::Alive).await.is_ok();
            }
        }
    }
}

/// Reads the sender's next part. Invalid data is a [`ReceiveError::Protocol`].
async fn next<S: AsyncRead + Unpin>(reading: &mut S) -> Result<Part, ReceiveError> {
    let read = read(reading, CHUNK_BYTES + RECORDS_HEADER_BYTES).await;
    read.map_err(|error| match error.kind() == io::ErrorKind::InvalidData {
        true => of_protocol(&error),
        false => error.into(),
    })
}

/// Returns the error for invalid data from the sender.
fn of_protocol(error: &io::Error) -> ReceiveError {
    ReceiveError::Protocol(format!("sent {error}"))
}
