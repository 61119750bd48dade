//! Limits of the client port.

use std::time::Duration;

/// These limits apply to HTTP/1 and HTTP/2. The kernel wakes a writer only when a third of its buffer is free, so the stall
/// timeout affects only clients that read almost nothing.
pub(super) use witan_http2::limits::{
    BODY_TIMEOUT, CLOSE_TIMEOUT, PROGRESS_BYTES_MIN, STALL_TIMEOUT,
};

/// Time limit for a client's first bytes, which select the protocol.
pub(super) const SNIFF_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for the TLS handshake, as in etcd (GHSA-6vch-q96h-7gc3).
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a client has to read the reason for a failed TLS handshake.
pub(super) const REFUSED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time limit for the head of an HTTP/1 request, like Go's `ReadHeaderTimeout`.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that an HTTP/1 connection may be idle. Clients keep connections open between polls.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Idle time before TCP's first keep-alive probe of an accepted connection, and interval between probes, as in etcd. By
/// default, the kernel waits for two hours.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// Maximum size in bytes of a form or of another service's response; a longer body is refused. As in etcd, v2 forms are the
/// largest bodies. `--max-request-bytes` limits the bodies of JSON calls.
pub const BODY_BYTES_MAX: usize = 10 << 20;

/// Number of bytes by which the charge for a body of unknown length grows.
pub(super) const BODY_STEP_BYTES: usize = 256 << 10;

/// Maximum number of response bytes that an HTTP/2 stream takes from a body in one step.
pub(super) const BODY_PIECE_BYTES: usize = 128 << 10;

/// Maximum number of open client connections of a member or a gateway; when it is reached, none is accepted until a connection
/// closes. A member's metrics URLs have a separate limit: 1 connection for every `METRICS_PART` client connections.
pub const CONNECTIONS_MAX: usize = 32_768;

/// 1 of every `METRICS_PART` connections is reserved for the metrics URLs.
const METRICS_PART: usize = 32;

/// Number of file descriptors reserved for everything except clients, as in etcd.
const DESCRIPTORS_RESERVED: usize = 150;

/// Maximum number of connections to the peer port that have not completed the handshake; when it is exceeded, the oldest one is
/// closed. A member completes its handshake in milliseconds. Any process can open such connections, so a member reserves their
/// file descriptors. Without a free descriptor, it cannot read its disk.
pub const GREETINGS_MAX: usize = 256;

/// Length of the kernel's queue of connections to be accepted.
pub(super) const BACKLOG: u32 = 4096;

/// Time limit for requests in flight after the stop signal.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The limits on open connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// The limit of all client URLs together.
    pub(super) clients: usize,
    /// The limit of all metrics URLs together.
    pub(super) metrics: usize,
}

/// Returns the number of file descriptors that clients of a process without a peer port may use: the soft limit, or 1024 if it
/// is unknown, minus `DESCRIPTORS_RESERVED`.
pub fn client_descriptors() -> usize {
    let descriptors = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    descriptors.saturating_sub(DESCRIPTORS_RESERVED)
}

/// Returns the connection limits of a member.
pub(super) fn connections() -> ConnectionLimits {
    divide(client_descriptors())
}

/// Divides file descriptors between clients and metrics URLs. Leaves [`GREETINGS_MAX`] descriptors for the peer port.
fn divide(descriptors: usize) -> ConnectionLimits {
    let all = descriptors.saturating_sub(GREETINGS_MAX);
    let metrics = all.min(CONNECTIONS_MAX) / METRICS_PART;
    ConnectionLimits { clients: (all - metrics).min(CONNECTIONS_MAX), metrics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_peer_port() {
        for (descriptors, together) in [(0, 0), (874, 618), (1 << 20, CONNECTIONS_MAX + 1024)] {
            let ConnectionLimits { clients, metrics } = divide(descriptors);
            assert_eq!(clients + metrics, together, "{descriptors}");
        }
    }
}
