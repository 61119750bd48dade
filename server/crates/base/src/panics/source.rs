//! Sources of contained panics.

/// The kind of work that panicked, a label of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicSource {
    /// A gRPC call before its answer begins.
    Grpc,
    /// The response stream of a gRPC call.
    GrpcStream,
    /// An HTTP/1 request before its answer begins.
    Http,
    /// The body of an HTTP/1 answer.
    HttpStream,
    /// A call of the JSON gateway, over HTTP/1 or a WebSocket.
    Gateway,
    /// The response stream of a call of the JSON gateway.
    GatewayStream,
    /// Work of a connection between its requests.
    Connection,
    /// Work for a request that continues after its client has disconnected.
    Job,
}

impl PanicSource {
    /// All sources; a source's position here is its counter's index.
    pub(super) const ALL: [Self; 8] = [
        Self::Grpc,
        Self::GrpcStream,
        Self::Http,
        Self::HttpStream,
        Self::Gateway,
        Self::GatewayStream,
        Self::Connection,
        Self::Job,
    ];

    /// Returns the value of the label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcStream => "grpc_stream",
            Self::Http => "http",
            Self::HttpStream => "http_stream",
            Self::Gateway => "gateway",
            Self::GatewayStream => "gateway_stream",
            Self::Connection => "connection",
            Self::Job => "job",
        }
    }
}
