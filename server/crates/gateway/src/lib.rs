//! `witan gateway start`: a TCP proxy in front of a cluster, with the flags of `etcd gateway start`. The proxy accepts client
//! connections and copies their bytes to a member. It reads neither TLS nor HTTP.
//!
//! A connection stays with its member. After a member refuses a connection, the gateway does not open other connections to that
//! member until a test connection succeeds.
//!
//! Not here: the lookup of SRV records (`witan_bootstrap::discover`).
//!
//! Reading order: this file (start and stop) → `arguments` → `endpoints` (the members) → `pool` (the member of the next
//! connection) → `proxy` (connections, retries of failed members) → `error`.

mod arguments;
mod endpoints;
mod error;
mod pool;
mod proxy;

use std::ffi::OsString;

use clap::Parser as _;
use tokio::net::TcpListener;
use witan_transport::first_signal;

pub use arguments::StartArguments;
pub use error::GatewayError;

use arguments::{GatewayArguments, GatewayVerb};
use pool::Pool;

/// Name of the subcommand.
pub const GATEWAY: &str = "gateway";

/// Name of etcd's subcommand for a gRPC proxy, which Witan lacks ([`GatewayError::GrpcProxy`]).
pub const GRPC_PROXY: &str = "grpc-proxy";

/// Parses the arguments after [`GATEWAY`]. Fails with the error or help text if the arguments are invalid or request help.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<StartArguments, clap::Error> {
    let program = std::iter::once(OsString::from(GATEWAY));
    let line = GatewayArguments::try_parse_from(program.chain(arguments))?;
    let GatewayVerb::Start = line.verb;
    Ok(line.start)
}

/// Runs the gateway until a signal stops it. Calls `ready` when clients can connect. Requires an actix system. Fails if the
/// gateway cannot start.
pub async fn run(arguments: StartArguments, ready: impl FnOnce()) -> Result<(), GatewayError> {
    let signal = first_signal().map_err(GatewayError::Signals)?;
    tokio::select! {
        signal = signal => {
            tracing::info!(signal = signal.name(), "received signal; stopping the gateway");
            Ok(())
        }
        ended = serve(arguments, ready) => ended,
    }
}

/// Finds the endpoints, listens, calls `ready`, and serves clients until the future is dropped. Fails if the gateway cannot
/// start.
async fn serve(arguments: StartArguments, ready: impl FnOnce()) -> Result<(), GatewayError> {
    let listen = endpoints::listen_address(&arguments.listen_addr)?;
    let found = endpoints::find(&arguments).await?;
    endpoints::check_distinct(&listen, &found).await?;
    let bound = TcpListener::bind((listen.host.as_str(), listen.port)).await;
    let listener = bound.map_err(|source| GatewayError::Listen {
        address: arguments.listen_addr.clone(),
        source,
    })?;
    let shown: Vec<String> = found
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    tracing::info!(
        address = %listen,
        endpoints = shown.join(","),
        "ready to proxy client requests"
    );
    ready();
    proxy::run(listener, Pool::new(found), arguments.retry_delay).await;
    Ok(())
}
