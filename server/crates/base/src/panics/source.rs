//! Sources of contained panics, and the metrics that count them.

use std::sync::Arc;

use prometheus::IntCounter;

use crate::metrics::Register;

/// The kind of work that panicked; a label value of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicSource {
    /// A gRPC call before its response begins.
    Grpc,
    /// The response stream of a gRPC call.
    GrpcStream,
    /// An HTTP/1 request before its response begins.
    Http,
    /// The body of an HTTP/1 response.
    HttpStream,
    /// A call of the JSON gateway, over HTTP/1 or a WebSocket.
    Gateway,
    /// The response stream of a call of the JSON gateway.
    GatewayStream,
    /// A connection's work between its requests.
    Connection,
    /// Work for a request that continues after its client has disconnected.
    Job,
}

impl PanicSource {
    /// The label values, in the order of the variants.
    const LABELS: [&'static str; 8] = [
        "grpc",
        "grpc_stream",
        "http",
        "http_stream",
        "gateway",
        "gateway_stream",
        "connection",
        "job",
    ];

    /// Returns the label value.
    pub fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }
}

/// Counters of contained panics by source. Clones share the counters.
#[derive(Clone, Debug)]
pub struct PanicMetrics(Arc<[IntCounter; PanicSource::LABELS.len()]>);

impl PanicMetrics {
    /// Registers the counters.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let all = on.counters("witan_panics_total", "Total number of panics that ended a request or connection, by handler.", &["handler"]);
        Self(Arc::new(PanicSource::LABELS.map(|source| all.with_label_values(&[source]))))
    }

    /// Counts a contained panic.
    pub fn panicked(&self, source: PanicSource) {
        self.0[source as usize].inc();
    }
}
