//! Metrics of the listeners: gRPC calls (`call_metrics`), client versions (`client_versions`) and TLS.

use std::{collections::HashMap, sync::Arc};

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use witan_base::metrics::{Register, Striped};

use super::{
    call_metrics::{CallLabels, CallMetrics, calls_by_path},
    client_versions::ClientVersions,
};

/// Metrics of connections and calls.
#[derive(Debug)]
pub struct TransportMetrics {
    /// The counters of each gRPC method, by request path.
    pub(super) calls: HashMap<&'static str, Arc<CallMetrics>>,
    pub(super) clients: ClientVersions,
    pub(super) grpc_received_bytes: Striped<IntCounter>,
    pub(super) grpc_sent_bytes: Striped<IntCounter>,
    pub(super) tls: TlsMetrics,
    pub(super) peer_tls: TlsMetrics,
}

#[derive(Clone, Debug)]
pub(super) struct TlsMetrics {
    pub(super) expires: IntGauge,
    pub(super) handshakes_failed: IntCounterVec,
}

impl TransportMetrics {
    /// Registers the metrics of the client port and of the peer port's TLS. With `extensive`, also measures the duration of
    /// calls.
    #[rustfmt::skip]
    pub fn register(on: &Register, extensive: bool) -> Self {
        let labels = ["grpc_method", "grpc_service", "grpc_type"];
        Self {
            calls: calls_by_path(&CallLabels {
                started: on.striped_counters("grpc_server_started_total", "Total number of RPCs started on the server.", &labels),
                received: on.striped_counters("grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.", &labels),
                sent: on.striped_counters("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.", &labels),
                handled: on.counters("grpc_server_handled_total", "Total number of RPCs completed on the server, regardless of success or failure.", &["grpc_code", "grpc_method", "grpc_service", "grpc_type"]),
                handling: extensive.then(|| on.latencies("grpc_server_handling_seconds", "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.", &labels)),
            }),
            clients: ClientVersions::new(on.striped_counters("etcd_server_client_requests_total", "The total number of client requests per client version.", &["type", "client_api_version"])),
            grpc_received_bytes: on.striped_counters("etcd_network_client_grpc_received_bytes_total", "The total number of bytes received from grpc clients.", &[]).with_label_values(&[]),
            grpc_sent_bytes: on.striped_counters("etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.", &[]).with_label_values(&[]),
            tls: TlsMetrics {
                expires: on.gauge("witan_tls_certificate_not_after_seconds", "Expiry time of the client port's certificate in seconds since the Unix epoch, or 0 without TLS."),
                handshakes_failed: on.counters("witan_tls_handshake_failures_total", "Total number of failed TLS handshakes with clients, by reason.", &["reason"]),
            },
            peer_tls: TlsMetrics {
                expires: on.gauge("witan_peer_tls_certificate_not_after_seconds", "Expiry time of the peer port's certificate in seconds since the Unix epoch, or 0 without TLS."),
                handshakes_failed: on.counters("witan_peer_tls_handshake_failures_total", "Total number of failed TLS handshakes with peers, by reason.", &["reason"]),
            },
        }
    }
}
