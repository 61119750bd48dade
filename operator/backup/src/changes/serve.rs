//! Serves the progress as JSON over HTTP, at any path.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use witan_api::backup::ChangesStatus;

use crate::reason::BackupError;

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of clients that are served concurrently; further clients wait to be accepted. A few slow clients do not keep
/// the operator waiting.
const CONNECTIONS_MAX: usize = 64;
/// Pause after a failed accept, so that a process without free file descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Listens on an address and serves the status until the process ends. Returns the bound address. `[::]` falls back to 0.0.0.0
/// if the kernel has no IPv6.
pub(super) async fn serve(
    on: SocketAddr,
    status: watch::Receiver<ChangesStatus>,
) -> Result<SocketAddr, BackupError> {
    let mut bound = TcpListener::bind(on).await;
    if bound.is_err() && on.is_ipv6() && on.ip().is_unspecified() {
        // The kernel may lack IPv6.
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, on.port())).await;
    }
    let failed = |error| BackupError::internal(format!("--listen {on}: {error}"));
    let listener = bound.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let mut served = JoinSet::new();
        loop {
            while served.len() >= CONNECTIONS_MAX {
                drop(served.join_next().await);
            }
            while served.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection; retrying");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let status = status.clone();
            served.spawn(async move {
                let answer = service_fn(move |_| std::future::ready(answer(&status.borrow())));
                let served = http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                // Ignore the errors and timeouts of a client.
                drop(tokio::time::timeout(CONNECTION_TIMEOUT, served).await);
            });
        }
    });
    Ok(address)
}

/// Responds with the status as JSON.
fn answer(status: &ChangesStatus) -> Result<Response<Full<Bytes>>, Infallible> {
    let json = serde_json::to_vec(status).unwrap_or_default();
    let mut answer = Response::new(Full::new(json.into()));
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    /// Any pod can connect, and the operator waits for only 2 s.
    #[tokio::test]
    async fn silent_clients_do_not_block_others() {
        let status = ChangesStatus { revision: 7, ..ChangesStatus::default() };
        let (_tell, status) = watch::channel(status);
        let on = serve((Ipv4Addr::LOCALHOST, 0).into(), status)
            .await
            .unwrap();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX / 2 {
            silent.push(TcpStream::connect(on).await.unwrap());
        }
        let mut client = TcpStream::connect(on).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("\"revision\":7"), "{text}");
        // No silent connection had to be closed first.
        let read = silent[0].try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(std::io::ErrorKind::WouldBlock));
    }
}
