//! The reasons why the gateway does not start.

use std::io;

use witan_bootstrap::discover::DnsError;
use witan_client::ClientTlsError;

/// The reason why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum GatewayError {
    #[error(
        "Witan has no grpc-proxy. Give clients the URLs of all members, or run `gateway start`, which forwards TCP connections"
    )]
    GrpcProxy,
    #[error("cannot install the signal handlers: {0}")]
    Signals(io::Error),
    #[error("--listen-addr {0}: must be HOST:PORT")]
    ListenAddress(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("--endpoints {0:?}: an endpoint must be HOST:PORT or an http or https URL")]
    Endpoint(String),
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error(
        "the endpoint {endpoint} is the address of the gateway itself ({listen}), so no connection would reach a member"
    )]
    OwnAddress { endpoint: String, listen: String },
    #[error("--discovery-srv: {0}")]
    Dns(#[from] DnsError),
    #[error("--trusted-ca-file: {0}")]
    Tls(#[from] ClientTlsError),
    #[error(
        "--discovery-srv {0}: no discovered endpoint is verified. Give the CA with --trusted-ca-file, or use the endpoints \
         without verification with --insecure-discovery"
    )]
    NotVerified(String),
}
