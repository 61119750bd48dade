//! Tells over HTTP how far the changes are stored, as JSON at any path.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::watch};

use crate::reason::{BackupError, Reason};

/// How long a client may take. Clients are served one after the other.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the changes of a cluster are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesStatus {
    /// Id of the cluster in hex; empty before a member has answered.
    pub cluster_id: String,
    /// The last stored revision.
    pub revision: i64,
    /// All changes that were made until this time are stored.
    pub time: Option<Timestamp>,
    /// How often revisions were compacted before they could be stored, since this process began.
    pub gaps: u64,
    /// Why changes are not stored at the moment, for people.
    pub error: Option<String>,
}

/// Listens on an address and serves the status for as long as the process runs.
pub(super) async fn serve(
    on: SocketAddr,
    status: watch::Receiver<ChangesStatus>,
) -> Result<(), BackupError> {
    let mut bound = TcpListener::bind(on).await;
    if bound.is_err() && on.is_ipv6() && on.ip().is_unspecified() {
        // the kernel has no IPv6
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, on.port())).await;
    }
    let listener = bound
        .map_err(|error| BackupError::new(Reason::Internal, format!("--listen {on}: {error}")))?;
    tokio::spawn(async move {
        loop {
            // a connection that fails at once says nothing about the next one
            let Ok((stream, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let status = Arc::new(status.borrow().clone());
            let answer = service_fn(move |_| std::future::ready(answer(&status)));
            let served = http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // a client that is slow or gone is its own trouble
            drop(tokio::time::timeout(CONNECTION_TIMEOUT, served).await);
        }
    });
    Ok(())
}

fn answer(status: &ChangesStatus) -> Result<Response<Full<Bytes>>, Infallible> {
    let json = serde_json::to_vec(status).unwrap_or_default();
    let mut answer = Response::new(Full::new(json.into()));
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}
