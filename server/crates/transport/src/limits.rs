//! Bounds of the client port, one sentence each.

use std::time::Duration;

/// These bounds hold for HTTP/1 and HTTP/2 alike. The kernel wakes a writer only when a third of its buffer is free, so
/// the stall timeout affects clients that read next to nothing.
pub(super) use witan_http2::limits::{
    BODY_TIMEOUT, CLOSE_TIMEOUT, PROGRESS_BYTES_MIN, STALL_TIMEOUT,
};

/// Time to send the first bytes, which select the protocol.
pub(super) const SNIFF_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for the TLS handshake, as in etcd (GHSA-6vch-q96h-7gc3).
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a client whose TLS handshake failed to read why.
pub(super) const REFUSED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of bytes to read and drop before closing; a client that sends more can lose the last bytes of the
/// answer.
pub(super) const DRAIN_BYTES_MAX: u64 = 64 << 10;

/// The head of an HTTP/1 request must be whole within this time (Go's ReadHeaderTimeout).
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an HTTP/1 connection may idle. Clients keep theirs open between polls; actix's 5 s would make them
/// reconnect.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Maximum size of a form, or of an answer of another service, in bytes; a longer body is refused. v2's forms are the largest
/// bodies, as in etcd. Bodies of JSON calls follow `--max-request-bytes`.
pub const BODY_BYTES_MAX: usize = 10 << 20;

/// Bytes by which the charge of a body of unknown length grows.
pub(super) const BODY_STEP_BYTES: usize = 256 << 10;

/// Bytes of a response that an HTTP/2 stream takes at once.
pub(super) const BODY_PIECE_BYTES: usize = 128 << 10;

/// Size of an HTTP/2 frame's head in bytes, which an honest client sends at once.
pub(super) const FRAME_HEAD_BYTES: usize = 9;

/// Consecutive reads of fewer bytes than a frame's head; the next one ends the connection.
pub(super) const SHORT_READS_MAX: u32 = 16;

/// Open connections; beyond them none is accepted until one closes.
pub(super) const CONNECTIONS_MAX: usize = 32_768;

/// File descriptors that connections leave to files and peers (etcd reserves as many).
pub(super) const DESCRIPTORS_RESERVED: usize = 150;

/// Connections that the kernel completes while the accepting thread is busy.
pub(super) const BACKLOG: u32 = 4096;

/// How long requests in flight may take after the stop signal.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the connection limit of each worker: its share of `CONNECTIONS_MAX`, or of the limit on file
/// descriptors without `DESCRIPTORS_RESERVED` if that is lower.
pub(super) fn connections_per_worker(workers: usize) -> usize {
    let descriptors = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let all = descriptors
        .saturating_sub(DESCRIPTORS_RESERVED)
        .min(CONNECTIONS_MAX);
    (all / workers).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_worker_gets_its_share_and_at_least_one() {
        let alone = super::connections_per_worker(1);
        assert!((1..=super::CONNECTIONS_MAX).contains(&alone));
        assert_eq!(super::connections_per_worker(2), (alone / 2).max(1));
        assert_eq!(super::connections_per_worker(usize::MAX), 1);
    }
}
