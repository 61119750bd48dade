//! Listener metrics: gRPC calls (`calls`), client versions (`clients`) and TLS.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use witan_base::metrics::{Register, Striped};

use super::{
    calls::{CallLabels, CallSeries},
    clients::ClientVersions,
};

/// Series of connections.
#[derive(Debug)]
pub struct TransportMetrics {
    pub(super) calls: CallSeries,
    pub(super) clients: ClientVersions,
    pub(super) grpc_received_bytes: Striped<IntCounter>,
    pub(super) grpc_sent_bytes: Striped<IntCounter>,
    pub(super) tls: TlsMetrics,
    pub(super) peer_tls: TlsMetrics,
}

/// Series of [`super::ServerTls`].
#[derive(Clone, Debug)]
pub(super) struct TlsMetrics {
    pub(super) expires: IntGauge,
    pub(super) handshakes_failed: IntCounterVec,
}

impl TransportMetrics {
    /// Registers the metrics for the client ports and for the peer port's TLS; with `extensive` calls are timed, too.
    #[rustfmt::skip]
    pub fn register(on: &Register, extensive: bool) -> Self {
        let labels = ["grpc_method", "grpc_service", "grpc_type"];
        Self {
            calls: CallSeries::new(&CallLabels {
                started: on.striped_counters("grpc_server_started_total", "Calls begun.", &labels),
                received: on.striped_counters("grpc_server_msg_received_total", "Messages received in calls.", &labels),
                sent: on.striped_counters("grpc_server_msg_sent_total", "Messages sent in calls.", &labels),
                handled: on.counters("grpc_server_handled_total", "Calls ended, by code.", &["grpc_code", "grpc_method", "grpc_service", "grpc_type"]),
                handling: extensive.then(|| on.latencies("grpc_server_handling_seconds", "Durations of calls until their end.", &labels)),
            }),
            clients: ClientVersions::new(on.striped_counters("etcd_server_client_requests_total", "Requests of clients, by the version that they say they speak.", &["type", "client_api_version"])),
            grpc_received_bytes: on.striped_counters("etcd_network_client_grpc_received_bytes_total", "Bytes of messages received from gRPC clients.", &[]).with_label_values(&[]),
            grpc_sent_bytes: on.striped_counters("etcd_network_client_grpc_sent_bytes_total", "Bytes of messages sent to gRPC clients.", &[]).with_label_values(&[]),
            tls: TlsMetrics {
                expires: on.gauge("witan_tls_certificate_not_after_seconds", "Unix time at which the certificate of the client port ends, 0 without one."),
                handshakes_failed: on.counters("witan_tls_handshake_failures_total", "TLS handshakes with clients that failed, by reason.", &["reason"]),
            },
            peer_tls: TlsMetrics {
                expires: on.gauge("witan_peer_tls_certificate_not_after_seconds", "Unix time at which the certificate of the peer port ends, 0 without one."),
                handshakes_failed: on.counters("witan_peer_tls_handshake_failures_total", "TLS handshakes with other members that failed, by reason.", &["reason"]),
            },
        }
    }
}
