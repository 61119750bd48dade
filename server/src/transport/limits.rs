//! Bounds of the client port, one sentence each.

use std::time::Duration;

/// A client that has not said which protocol it speaks by then is dropped.
pub(super) const SNIFF_TIMEOUT: Duration = Duration::from_secs(30);

/// The head of an HTTP/1 request must be whole within this time (Go's ReadHeaderTimeout).
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an HTTP/1 connection may idle; clients keep theirs for long, and actix's 5 s would
/// make them reconnect between polls.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// How long a failed HTTP/1 connection may take to close.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at a time; beyond it nothing is accepted until one closes.
pub(super) const CONNECTIONS_MAX: usize = 32_768;

/// File descriptors that connections leave to files and peers (etcd reserves as many).
pub(super) const DESCRIPTORS_RESERVED: usize = 150;

/// Connections that the kernel completes while the accepting thread is busy.
pub(super) const BACKLOG: u32 = 4096;

/// HTTP/2 flow-control window of a stream and of a connection: a large value takes one round trip.
pub(super) const WINDOW_BYTES: u32 = 1 << 20;

/// How long answers in flight may take after the stop signal.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections each of `workers` may have so that the whole stays within its bounds.
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
