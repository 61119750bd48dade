//! The client port: an HTTP/1 stack and an HTTP/2 stack on one port, on actix's workers. The crate depends on neither the
//! dialects nor the node. It calls one function for HTTP requests and one for gRPC calls.
//!
//! Reading order: `listen` binds sockets, `tls` secures connections, and `mux` selects the stack by the first bytes, which
//! `sniffed` replays. `http1_stream` filters HTTP/1 for actix. `grpc` handles gRPC calls, and `http2_requests` handles other
//! HTTP/2 requests. `stall_timeout` and `limits` restrict slow clients and large requests. `peer_http` serves HTTP/1 on the
//! peer port. `contain` catches panics, `signals` handles SIGTERM, `connect` connects to other hosts, and `http1_client` sends
//! requests. `metrics` counts connections and gRPC calls.

mod connect;
mod contain;
mod grpc;
mod http1_client;
mod http1_stream;
mod http2_requests;
mod limits;
mod listen;
mod metrics;
mod mux;
mod peer_http;
mod signals;
mod sniffed;
mod stall_timeout;
#[cfg(test)]
mod tests;
mod tls;

use std::{io, sync::Arc};

use actix_server::{Server, ServerHandle};
use actix_web::{HttpRequest, HttpResponse, web::Payload};
use tokio::{sync::watch, time::timeout};
use tonic::{body::Body, service::Routes};
use witan_base::{
    account::{Account, Totals},
    panics::PanicMetrics,
};
use witan_config::{Address, ConnectionSettings, Url};

pub use connect::{connect, first_of};
pub use grpc::MethodInfo;
pub use grpc::RequestMessages;
pub use http1_client::exchange;
pub use http1_stream::{ClientClosed, OverTls};
pub use limits::{BODY_BYTES_MAX, CONNECTIONS_MAX, GREETINGS_MAX, client_descriptors};
pub use listen::{
    AcceptedStream, BindError, Bound, BoundPeer, PeerListener, PeerStream, PolledStream, Surface,
    bind, bind_peers,
};
pub use metrics::TransportMetrics;
pub use peer_http::PeerHttp;
pub use signals::{Signal, first_signal};
pub use tls::{
    ClientCertificate, DialedStream, DirectWriter, MemberCertificate, PeerTls, ServerTls, TlsError,
    any_server, error_text, system_roots,
};
pub use witan_http2::{Body as RequestBody, MESSAGE_BYTES_MAX, limits::LINGER_BYTES};

use limits::ConnectionLimits;

/// Returns data about a request's connection, over HTTP/1 or HTTP/2, or `None` if the connection has no data of this type.
pub fn connection_data<T: 'static>(request: &HttpRequest) -> Option<&T> {
    request.conn_data().or_else(|| request.app_data())
}

/// The head of a gRPC request.
pub type Head = witan_http2::Head<MethodInfo>;

/// A gRPC request.
pub type Incoming = witan_http2::CallRequest<MethodInfo>;

/// A response to a gRPC call.
pub type Outgoing = witan_http2::CallResponse<Body>;

/// Answers gRPC calls.
pub trait CallHandler: Clone + Send + 'static {
    /// Creates a copy for one worker. By default, clones the handler. Override this if clones share reference counts that
    /// each call changes, because the workers would contend for them.
    fn clone_for_worker(&self) -> Self {
        self.clone()
    }

    /// Creates a copy for the connection with this account.
    fn of_connection(&self, _: &Account) -> Self {
        self.clone()
    }

    /// Handles a call of any method. For an unknown method, returns `Unimplemented` without a message.
    fn call(self, request: Incoming) -> impl Future<Output = Outgoing> + 'static;
}

impl CallHandler for Routes {
    async fn call(mut self, request: Incoming) -> Outgoing {
        let request = grpc::to_tonic(request);
        let Ok(response) = tower_service::Service::call(&mut self, request).await;
        Outgoing::Response(response)
    }
}

/// Handlers and settings of the port.
#[derive(Clone)]
pub struct Handlers<H, C> {
    /// Answers requests that are not gRPC: `Fn(Surface, HttpRequest, Payload) -> impl Future<Output = HttpResponse>`.
    pub http: H,
    /// The gRPC services. The port limits the size of messages, so the services must not.
    pub calls: C,
    /// Metrics of connections and calls.
    pub metrics: Arc<TransportMetrics>,
    /// Counts requests that panic.
    pub panics: PanicMetrics,
    /// Creates an account for each connection.
    pub totals: Totals,
    /// Settings of connections.
    pub connections: ConnectionSettings,
    /// TLS for the URLs that require it.
    pub security: Option<ServerTls>,
}

/// The running port. Only [`RunningServer::stop`] stops it; dropping the value does not.
#[derive(Debug)]
pub struct RunningServer {
    /// The server of clients and the server of the metrics URLs. Each server exists only if it has a URL.
    handles: Vec<ServerHandle>,
    stop: watch::Sender<bool>,
    /// Each open connection holds a receiver.
    open: watch::Sender<()>,
    unix_sockets: Vec<String>,
}

/// Starts to serve the bound URLs on worker threads. Must run inside an actix system.
pub fn serve<H, F, C>(bound: Vec<Bound>, served: Handlers<H, C>) -> io::Result<RunningServer>
where
    C: CallHandler,
    H: Fn(Surface, HttpRequest, Payload) -> F + Clone + Send + 'static,
    F: Future<Output = HttpResponse> + 'static,
{
    serve_within(limits::connections(), bound, served)
}

/// Serves with these limits. A separate server serves the metrics URLs, so probes get responses even if clients use all of
/// their connections. Without these responses, Kubernetes would restart the member.
fn serve_within<H, F, C>(
    limits: ConnectionLimits,
    bound: Vec<Bound>,
    served: Handlers<H, C>,
) -> io::Result<RunningServer>
where
    C: CallHandler,
    H: Fn(Surface, HttpRequest, Payload) -> F + Clone + Send + 'static,
    F: Future<Output = HttpResponse> + 'static,
{
    let unix_path = |bound: &Bound| match bound.url.address() {
        Address::Unix(path) => Some(path.clone()),
        Address::Tcp(..) => None,
    };
    let unix_sockets = bound.iter().filter_map(unix_path).collect();
    let (metrics, clients): (Vec<Bound>, Vec<Bound>) = bound
        .into_iter()
        .partition(|bound| bound.surface == Surface::Metrics);
    let (stop, stopped) = watch::channel(false);
    let open = watch::Sender::new(());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut handles = Vec::new();
    for (bound, workers, connections) in [
        (clients, workers, limits.clients),
        (metrics, 1, limits.metrics),
    ] {
        if !bound.is_empty() {
            let size = (workers, connections);
            handles.push(start(bound, &served, size, (&stopped, &open))?);
        }
    }
    Ok(RunningServer { handles, stop, open, unix_sockets })
}

/// Starts a server on these sockets and logs their URLs. Must run inside an actix system. `connections` is the limit of all
/// workers together. When `stopped` becomes true, the connections end after the responses in flight. Each connection holds a
/// receiver of `open`, so that the caller can wait for the last connection to end.
fn start<H, F, C>(
    bound: Vec<Bound>,
    served: &Handlers<H, C>,
    (workers, connections): (usize, usize),
    (stopped, open): (&watch::Receiver<bool>, &watch::Sender<()>),
) -> io::Result<ServerHandle>
where
    C: CallHandler,
    H: Fn(Surface, HttpRequest, Payload) -> F + Clone + Send + 'static,
    F: Future<Output = HttpResponse> + 'static,
{
    let mut builder = Server::build()
        .workers(workers)
        .max_concurrent_connections((connections / workers).max(1))
        .disable_signals()
        .shutdown_timeout(limits::DRAIN_TIMEOUT.as_secs());
    for bound in bound {
        let (surface, url) = (bound.surface, bound.url.clone());
        let mux = mux::Mux {
            surface,
            security: served
                .security
                .clone()
                .filter(|_| bound.urls().any(Url::is_tls)),
            plain: !bound.urls().all(Url::is_tls),
            served: served.clone(),
            stopped: stopped.clone(),
            open: open.clone(),
        };
        for url in bound.urls() {
            let (traffic, address) = (surface.label(), url.to_string());
            if url.is_tls() {
                tracing::info!(traffic, address, "serving client traffic securely");
            } else {
                tracing::info!(
                    traffic,
                    address,
                    "serving client traffic insecurely; this is strongly discouraged!"
                );
            }
        }
        let name = url.to_string();
        builder = match bound.socket {
            listen::Socket::Tcp(listener) => {
                builder.listen(name, listener, move || mux.clone().factory())?
            }
            listen::Socket::Unix(listener) => {
                builder.listen_uds(name, listener, move || mux.clone().factory())?
            }
        };
    }
    let server = builder.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}

impl RunningServer {
    /// Stops the port: accepts no further connections and waits up to `DRAIN_TIMEOUT` for responses in flight, then closes all
    /// connections. Long responses must end by themselves when the node stops. Removes the files of Unix sockets.
    pub async fn stop(self) {
        for handle in &self.handles {
            handle.pause().await;
        }
        self.stop.send_replace(true);
        let drained = timeout(limits::DRAIN_TIMEOUT, self.open.closed()).await;
        if drained.is_err() {
            tracing::warn!(
                connections = self.open.receiver_count(),
                "requests in flight did not end in time; closing their connections"
            );
        }
        for handle in &self.handles {
            handle.stop(drained.is_ok()).await;
        }
        for path in &self.unix_sockets {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!(%error, path, "failed to remove a Unix socket");
            }
        }
    }
}
