//! Sends the records of a frozen view.

use std::{io, pin::pin, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use witan_base::panics::{self, PanicSource};
use witan_machine::{
    record::{self, RecordChange},
    view::View,
};
use witan_storage::{RecordCounter, encode_record, format_of};

use super::{
    ALIVE_INTERVAL, CHUNK_BYTES, CHUNKS_AHEAD, PROGRESS_INTERVAL, Part, Transfer, out_of_order,
    read,
    wire::{Begin, Outcome, Resume},
    write,
};
use crate::frame::FRAME_BYTES_MAX;

/// Memory in bytes for a chunk and the rest of its last record, which is usually a block of less than 64 KiB.
const CHUNK_ROOM_BYTES: usize = CHUNK_BYTES + (64 << 10);

/// The reason why a snapshot was not sent.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SendError {
    /// The stream broke. The next stream continues after the receiver's records.
    #[error("the snapshot stream failed: {0}")]
    Stream(#[from] io::Error),
    /// The receiver is busy and may accept the snapshot soon.
    #[error("the receiver is busy: {0}")]
    Busy(String),
    #[error("the receiver refuses the snapshot: {0}")]
    Refused(String),
    /// The receiver's records belong to another snapshot. The next attempt starts over.
    #[error("the receiver has records of another snapshot")]
    Restarted,
}

impl SendError {
    /// Returns whether sending the same view again may succeed.
    pub(in super::super) fn may_retry(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl From<Outcome> for SendError {
    fn from(outcome: Outcome) -> Self {
        match outcome.busy {
            true => Self::Busy(outcome.reason),
            false => Self::Refused(outcome.reason),
        }
    }
}

/// Sends a snapshot, except the records that are already durable at the receiver. Completes when the receiver has the state.
/// Fails if the receiver reports a failure.
pub(in super::super) async fn send(
    view: View,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    transfer: &Transfer,
) -> Result<(), SendError> {
    let timer = transfer.metrics.snapshot_sends.begin(transfer.member);
    let (mut reading, mut writing) = tokio::io::split(stream);
    let position = &view.position;
    let begin = Begin {
        format: format_of(view.machine.members.level()).snapshot,
        cluster_id: transfer.cluster_id,
        index: position.index,
        term: position.term,
        bytes: estimate(&view),
    };
    let (index, member) = (begin.index, transfer.member.to_string());
    write(&mut writing, &Part::Begin(begin.clone())).await?;
    let resume = match read(&mut reading, FRAME_BYTES_MAX).await? {
        Part::Resume(resume) => resume,
        Part::Outcome(outcome) => return Err(outcome.into()),
        Part::Begin(_) | Part::Records(..) | Part::End(_) | Part::Alive | Part::Restart => {
            return Err(out_of_order().into());
        }
    };
    let (bytes, from_byte) = (begin.bytes, resume.bytes);
    tracing::info!(
        index,
        member,
        bytes,
        from_byte,
        "sending a snapshot to a member"
    );

    let (parts, waiting) = mpsc::channel(CHUNKS_AHEAD);
    let panic_metrics = transfer.metrics.panics.clone();
    drop(panics::spawn(move || {
        // After a panic, the parts end too early, which fails the transfer.
        let queued = panics::catch(PanicSource::Job, || queue_parts(&view, &resume, &parts));
        if queued.is_err() {
            panic_metrics.panicked(PanicSource::Job);
        }
    }));
    let sending = send_parts(&mut writing, waiting, &member, bytes);
    let mut outcome = pin!(outcome(&mut reading));
    // A receiver can report a failure before it has received all records.
    let outcome = tokio::select! {
        sent = sending => {
            sent?;
            outcome.await?
        }
        early = &mut outcome => early?,
    };
    if !outcome.delivered {
        return Err(outcome.into());
    }
    let took = timer.begun.elapsed();
    timer.succeeded();
    tracing::info!(index, member, ?took, "a member accepted the snapshot");
    Ok(())
}

/// Estimates the size in bytes of a state's records, from the sizes that count against the quota.
fn estimate(view: &View) -> u64 {
    let machine = &view.machine;
    let sizes = [
        machine.kv.size_bytes(),
        machine.tree.size_bytes(),
        machine.auth.size_bytes(),
        machine.members.size_bytes(),
    ];
    sizes.into_iter().sum()
}

/// Writes all `parts` to the receiver and logs progress; `bytes` is the estimated size of all records. Fails if the parts end
/// early. Fails with [`SendError::Restarted`] if the receiver has records of another state.
async fn send_parts(
    writing: &mut (impl AsyncWrite + Unpin),
    mut parts: mpsc::Receiver<Part>,
    member: &str,
    bytes: u64,
) -> Result<(), SendError> {
    let mut logged = Instant::now();
    while let Some(part) = parts.recv().await {
        write(writing, &part).await?;
        let sent = match part {
            Part::Records(offset, _) => offset,
            Part::Restart => return Err(SendError::Restarted),
            Part::End(_) | Part::Begin(_) | Part::Resume(_) | Part::Alive | Part::Outcome(_) => {
                return Ok(());
            }
        };
        if logged.elapsed() >= PROGRESS_INTERVAL {
            logged = Instant::now();
            tracing::info!(member, sent, bytes, "sending a snapshot");
        }
    }
    Err(io::Error::other("the iteration over the view ended early").into())
}

/// Sends the view's records, in checkpoint order, and their totals to `parts`. Skips the records that the receiver has, and
/// meanwhile sends empty parts. Sends a restart instead if the receiver has records of another snapshot. Blocks while `parts`
/// is full. Stops early if the stream has ended.
pub(super) fn queue_parts(view: &View, resume: &Resume, parts: &mpsc::Sender<Part>) {
    let mut count = RecordCounter::default();
    let (mut offset, mut begun) = (resume.bytes, Instant::now());
    let mut chunk = BytesMut::new();
    let queue = |part| parts.blocking_send(part).is_ok();
    let is_complete = each_record(view, &mut |change| {
        let RecordChange::Put { key, value } = change else {
            // A complete state has no deletions.
            return true;
        };
        count.add(&key, &value);
        if count.records() <= resume.records {
            let is_last = count.records() == resume.records;
            if is_last && (count.bytes(), &key) != (resume.bytes, &resume.last_key) {
                queue(Part::Restart);
                return false;
            }
            if begun.elapsed() < ALIVE_INTERVAL {
                return true;
            }
            // Reading the skipped records from the disk may take longer than the receiver waits for a part.
            begun = Instant::now();
            return queue(Part::Records(offset, Bytes::new()));
        }
        if chunk.capacity() < CHUNK_ROOM_BYTES {
            chunk.reserve(CHUNK_ROOM_BYTES);
        }
        encode_record(&mut chunk, &key, &value);
        while chunk.len() >= CHUNK_BYTES {
            let bytes = chunk.split_to(CHUNK_BYTES).freeze();
            if !queue(Part::Records(offset, bytes)) {
                return false;
            }
            offset += CHUNK_BYTES as u64;
        }
        true
    });
    if !is_complete {
        return;
    }
    if count.records() < resume.records {
        queue(Part::Restart);
        return;
    }
    if !chunk.is_empty() {
        queue(Part::Records(offset, chunk.freeze()));
    }
    queue(Part::End(count.totals()));
}

/// Passes the records of a state to `take`, in the order of [`View::changes`], until `take` returns `false`. Returns whether
/// `take` got all records. Reads one block at a time if values are only on disk, and no block after `take` returned `false`.
pub(super) fn each_record(view: &View, take: &mut dyn FnMut(RecordChange) -> bool) -> bool {
    let (mut more, mut is_first) = (true, true);
    view.records_except_blocks(&mut |change| {
        more = more && take(change);
        // The first record contains the counters of the key space. The blocks of the key space follow.
        if std::mem::take(&mut is_first) && more {
            let mut blocks = view.machine.kv.blocks();
            more = blocks.all(|block| {
                let key = record::block_key(block.number());
                take(RecordChange::Put { key, value: block.encode() })
            });
        }
    });
    more
}

/// Waits for the receiver's outcome, as long as the receiver reports that it is alive. Fails at any other part.
async fn outcome(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Outcome> {
    loop {
        match read(stream, FRAME_BYTES_MAX).await? {
            Part::Outcome(outcome) => return Ok(outcome),
            Part::Alive => {}
            Part::Begin(_) | Part::Resume(_) | Part::Records(..) | Part::End(_) | Part::Restart => {
                return Err(out_of_order());
            }
        }
    }
}
