//! Sources of contained panics.

/// The kind of work that panicked, a label value of the counter.
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
    pub(super) const LABELS: [&'static str; 8] = [
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
