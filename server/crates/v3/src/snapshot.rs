//! Snapshot streams the state as a file in etcd's format, while writes continue.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::mpsc};
use tonic::Status;
use witan_api::v3::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use witan_base::{
    account::JobKind,
    panics::{self, PanicSource},
    version,
};
use witan_dialect::Context;
use witan_machine::view::View;
use witan_node::{Node, ViewEnd};
use witan_snapshot::SnapshotFile;

use super::{RpcResult, authorize};
use crate::error::RpcError;

/// Size of a chunk in bytes, as in etcd.
const CHUNK_BYTES: usize = 32 << 10;

/// Number of chunks buffered for a client. A slow client therefore slows down the producer.
const CHUNKS_AHEAD: usize = 8;

/// Minimum average rate, in bytes per second, at which a client must read a snapshot; the snapshot of a slower client is
/// aborted. Until a snapshot ends, it keeps a state in memory.
const BYTES_PER_SECOND_MIN: u64 = 512 << 10;

/// Time that a client gets in addition to the time at the minimum rate.
const PATIENCE: Duration = Duration::from_secs(60);

type Chunk = Result<SnapshotResponse, Status>;

/// Streams this member's state as a file in etcd's format, and then the file's digest. While authentication is enabled,
/// requires the root role. Another thread produces the file as fast as the client reads. Fails with `TooManyRequests` if no
/// snapshot permit is free. Ignores `_needs_leader`, because a required leader is checked only when the call starts.
pub(crate) async fn snapshot(
    ctx: &Context,
    _request: SnapshotRequest,
    _needs_leader: bool,
) -> RpcResult<impl Stream<Item = Chunk> + Send + use<>> {
    // Refuse instead of waiting, because a waiting client would occupy a connection without receiving data.
    let permit = ctx.account().try_permit(JobKind::Snapshot);
    let permit = permit.ok_or(RpcError::TooManyRequests)?;
    let job = ctx.node.job(permit).await?;
    authorize::check_admin_on(ctx, &job.machine)?;
    let (send, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let (took, metrics) = (ctx.v3_metrics.snapshot.clone(), ctx.panics.clone());
    let end = job.end_signal();
    let end_of_job = job.end_signal();
    let writer = ChunkWriter {
        send: send.clone(),
        end: job.end_signal(),
        runtime: Handle::current(),
        left: 0,
        chunk: BytesMut::with_capacity(CHUNK_BYTES),
        digest: Sha256::new(),
    };
    let file = move |view: &View| {
        let begun = Instant::now();
        let written = panics::catch(PanicSource::Job, || write(view, writer));
        let written = written.unwrap_or_else(|_| {
            metrics.panicked(PanicSource::Job);
            Err(io::Error::other("internal error"))
        });
        match written {
            Ok(bytes) => {
                let elapsed = begun.elapsed();
                took.observe(elapsed.as_secs_f64());
                tracing::info!(bytes, took = ?elapsed, "sent a snapshot");
            }
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let status = Status::internal(error.to_string());
                tracing::error!(error = status.message(), "failed to create a snapshot");
                let _ = send.blocking_send(Err(status));
            }
            Err(_) if end_of_job.is_told() => {
                tracing::warn!("ended a snapshot, because too much has changed since it started");
            }
            Err(_) => {
                tracing::warn!("a client disconnected during a snapshot or read it too slowly");
            }
        }
    };
    // The task ends when the file is complete, the client disconnects, or the snapshot pins too much memory.
    drop(panics::spawn(move || job.run_here(file)));
    let node = ctx.node.clone();
    let sending = SnapshotStream { chunks, node, end, pace: Pace::default(), digest_sent: false };
    Ok(stream::try_unfold(sending, |mut sending| async move {
        let chunk = sending.next().await?;
        Ok(chunk.map(|chunk| (chunk, sending)))
    }))
}

struct SnapshotStream {
    chunks: mpsc::Receiver<Chunk>,
    node: Node,
    end: ViewEnd,
    pace: Pace,
    /// Whether the digest, the last chunk, was sent.
    digest_sent: bool,
}

impl SnapshotStream {
    /// Waits for the next chunk. Returns `None` after the digest. Fails if the file is incomplete, the snapshot pins too much
    /// memory, the client is too slow, or the process stops.
    async fn next(&mut self) -> Result<Option<SnapshotResponse>, Status> {
        let chunk = tokio::select! {
            biased;
            () = self.end.wait() => return Err(RpcError::SnapshotOutdated.into()),
            () = self.node.stopping() => return Err(RpcError::Stopped.into()),
            chunk = self.chunks.recv() => chunk.transpose()?,
        };
        let Some(chunk) = chunk else {
            return match self.digest_sent {
                true => Ok(None),
                false => Err(Status::internal("the snapshot is incomplete")),
            };
        };
        if !self.pace.record(Instant::now(), chunk.blob.len()) {
            return Err(RpcError::SnapshotTooSlow.into());
        }
        // The last chunk of the file is longer than a digest, because the file consists of pages.
        self.digest_sent = chunk.remaining_bytes == 0 && chunk.blob.len() == Sha256::output_size();
        Ok(Some(chunk))
    }
}

/// The rate at which a client reads a snapshot.
#[derive(Debug, Default)]
struct Pace {
    /// The time at which the client took the first chunk.
    begun: Option<Instant>,
    taken_bytes: u64,
}

impl Pace {
    /// Records that the client takes a chunk. Returns whether the client has taken the earlier chunks fast enough. A snapshot
    /// therefore takes at most [`PATIENCE`] plus its size divided by [`BYTES_PER_SECOND_MIN`].
    fn record(&mut self, now: Instant, chunk_bytes: usize) -> bool {
        let time = now - *self.begun.get_or_insert(now);
        let due_ms = time.saturating_sub(PATIENCE).as_millis();
        let due_bytes = due_ms * u128::from(BYTES_PER_SECOND_MIN) / 1000;
        let keeps_up = u128::from(self.taken_bytes) >= due_bytes;
        self.taken_bytes += chunk_bytes as u64;
        keeps_up
    }
}

/// Sends the file and its digest. Returns the file's size in bytes, without the digest. Fails with `BrokenPipe` if the stream or
/// the snapshot ends first.
fn write(view: &View, mut writer: ChunkWriter) -> io::Result<u64> {
    let must_end = || writer.end.is_told() || writer.send.is_closed();
    let file = SnapshotFile::of(view, &must_end)?;
    let bytes = file.bytes();
    tracing::info!(bytes, "sending a snapshot");
    writer.left = bytes;
    file.write(&mut |part| writer.take(part))?;
    if !writer.chunk.is_empty() {
        writer.flush(writer.chunk.len())?;
    }
    let digest = writer.digest.clone().finalize();
    writer.post(Bytes::copy_from_slice(&digest))?;
    Ok(bytes)
}

/// Cuts the file into chunks and passes them from the producing thread to the client's stream.
struct ChunkWriter {
    send: mpsc::Sender<Chunk>,
    end: ViewEnd,
    runtime: Handle,
    /// Number of unsent bytes of the file.
    left: u64,
    /// The buffered start of the next chunk.
    chunk: BytesMut,
    digest: Sha256,
}

impl ChunkWriter {
    /// Adds a part of the file to the digest and sends it in chunks of `CHUNK_BYTES`. Buffers the remaining bytes.
    fn take(&mut self, part: &[u8]) -> io::Result<()> {
        self.digest.update(part);
        self.chunk.extend_from_slice(part);
        while self.chunk.len() >= CHUNK_BYTES {
            self.flush(CHUNK_BYTES)?;
        }
        Ok(())
    }

    /// Sends the first `bytes` bytes of the buffer as one chunk.
    fn flush(&mut self, bytes: usize) -> io::Result<()> {
        self.left -= bytes as u64;
        let chunk = self.chunk.split_to(bytes).freeze();
        self.post(chunk)
    }

    /// Waits for a free slot in the channel and sends a chunk with these bytes and the number of remaining bytes. Fails with
    /// `BrokenPipe` if the stream or the snapshot has ended.
    fn post(&mut self, blob: Bytes) -> io::Result<()> {
        let chunk = SnapshotResponse {
            remaining_bytes: self.left,
            blob,
            version: version::SNAPSHOT.into(),
            ..SnapshotResponse::default()
        };
        let Self { send, end, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = end.wait() => Err(io::ErrorKind::BrokenPipe.into()),
                sent = send.send(Ok(chunk)) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::{kv::Kv, values::test_support::drop_kv_values};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::put;

    #[test]
    fn a_snapshot_ends_before_its_first_chunk_if_the_client_disconnects() {
        let mut kv = Kv::default();
        for at in 0..100 {
            put(&mut kv, vec![b'k', at], vec![at; 10_000]);
        }
        let cache = drop_kv_values(&kv);
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&kv);
            let job = states.node.job(()).await.expect("a state");
            let (send, chunks) = mpsc::channel(CHUNKS_AHEAD);
            drop(chunks);
            let writer = ChunkWriter {
                send,
                end: job.end_signal(),
                runtime: Handle::current(),
                left: 0,
                chunk: BytesMut::new(),
                digest: Sha256::new(),
            };
            let written = job.run(move |view: &View| write(view, writer)).await;
            let (written, ()) = written.expect("nothing else ends the job");
            let error = written.expect_err("no client");
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(cache.reads(), 0);
        });
    }

    #[test]
    fn a_client_must_read_a_snapshot_at_the_minimum_rate() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        // The minimum rate applies only after `PATIENCE`.
        assert!(pace.record(begun, CHUNK_BYTES));
        for at in 0..100 {
            let now = begun + PATIENCE + second * at;
            assert!(pace.record(now, BYTES_PER_SECOND_MIN as usize), "{at}");
        }
        assert!(!pace.record(begun + PATIENCE + second * 102, CHUNK_BYTES));
        // Bytes that were read early are credited to the client later.
        let mut pace = Pace::default();
        assert!(pace.record(begun, 100 * BYTES_PER_SECOND_MIN as usize));
        assert!(pace.record(begun + PATIENCE + second * 100, 1));
        assert!(!pace.record(begun + PATIENCE + second * 101, 1));
    }
}
