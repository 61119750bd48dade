//! Accepts connections and copies their bytes to endpoints. Retries endpoints that failed.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::join_all;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use witan_logging::LogLimit;
use witan_transport::{self as transport, CONNECTIONS_MAX, client_descriptors};

use super::pool::{Endpoint, Pool};

/// Timeout for connecting to an endpoint. It limits the delay that an unresponsive host causes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle time before TCP's first keep-alive probe, and interval between probes, as in Go.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Pause after a failed accept, for example because the system has no free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Limits log lines about connections, which any client can cause.
static CONNECTIONS: LogLimit = LogLimit::new();

/// Serves all clients and retries failed endpoints after each `retry_delay`. Ends only when the future is dropped.
pub(super) async fn run(listener: TcpListener, pool: Pool, retry_delay: Duration) {
    let pool = Rc::new(pool);
    actix_rt::spawn(retry_failed(Rc::clone(&pool), retry_delay));
    let free = Arc::new(Semaphore::new(connections_max()));
    loop {
        let permit = permit(&free).await;
        match listener.accept().await {
            Ok((client, _)) => {
                let pool = Rc::clone(&pool);
                actix_rt::spawn(async move {
                    serve(client, &pool, retry_delay).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Returns `CONNECTIONS_MAX`, or less (but at least 1) if the limit on open files is lower. A connection uses two file
/// descriptors.
fn connections_max() -> usize {
    (client_descriptors() / 2).clamp(1, CONNECTIONS_MAX)
}

/// Waits until another connection may be opened and returns its permit. Logs some of the waits.
async fn permit(free: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    if free.available_permits() == 0
        && let Some(left_out) = CONNECTIONS.admit()
    {
        tracing::warn!(
            left_out,
            "the limit on connections is reached; clients wait until a connection closes"
        );
    }
    let permit = Arc::clone(free).acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

/// Copies bytes between a client and an endpoint until both directions have ended or one has failed. Closes the client's
/// connection if no endpoint can be reached.
async fn serve(mut client: TcpStream, pool: &Pool, retry_delay: Duration) {
    let Some(mut member) = open(pool, retry_delay).await else {
        if let Some(left_out) = CONNECTIONS.admit() {
            tracing::warn!(
                left_out,
                "closed a client's connection: no connection to an endpoint could be opened"
            );
        }
        return;
    };
    for stream in [&client, &member] {
        if let Err(error) = configure(stream) {
            tracing::debug!(%error, "failed to configure a connection");
        }
    }
    // Clients and members can end connections at any time, so errors are expected.
    let _ = copy_bidirectional(&mut client, &mut member).await;
}

/// Disables Nagle's algorithm and enables TCP keep-alive.
fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Connects to an active endpoint. Deactivates endpoints that fail. Returns `None` if no active endpoint is left or this host
/// has no free port.
async fn open(pool: &Pool, retry_delay: Duration) -> Option<TcpStream> {
    while let Some(endpoint) = pool.choose() {
        match connect(endpoint).await {
            Ok(stream) => return Some(stream),
            // This host has no free port; the endpoint may be healthy.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                tracing::warn!(%error, "failed to open a connection");
                return None;
            }
            Err(error) => {
                if endpoint.set_active(false) {
                    let address = &endpoint.address;
                    tracing::warn!(%address, interval = ?retry_delay, %error, "deactivated endpoint");
                }
            }
        }
    }
    None
}

/// Connects to an endpoint. Fails after [`DIAL_TIMEOUT`].
async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let address = (endpoint.address.host.as_str(), endpoint.address.port);
    match timeout(DIAL_TIMEOUT, transport::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Connects to the inactive endpoints after each `retry_delay` and activates each endpoint that accepts the connection.
async fn retry_failed(pool: Rc<Pool>, retry_delay: Duration) {
    loop {
        sleep(retry_delay).await;
        join_all(pool.inactive().map(|endpoint| retry(endpoint, retry_delay))).await;
    }
}

/// Connects to an inactive endpoint once and activates it on success. Logs the result, and after a failure also `retry_delay`,
/// which the caller waits before the next attempt.
async fn retry(endpoint: &Endpoint, retry_delay: Duration) {
    let address = &endpoint.address;
    match connect(endpoint).await {
        Ok(_) => {
            endpoint.set_active(true);
            tracing::info!(%address, "activated");
        }
        Err(error) => tracing::warn!(
            %address,
            interval = ?retry_delay,
            %error,
            "failed to activate endpoint (stay inactive for another interval)"
        ),
    }
}
