//! The state of a request's connection: whether the client has disconnected, and whether the connection uses TLS.

use actix_web::HttpRequest;
use witan_transport::{ClientClosed, OverTls, connection_data};

/// Signals to a long poll that its client has disconnected. Does not keep the request in memory.
#[derive(Clone, Debug)]
pub struct Disconnect(Option<ClientClosed>);

impl Disconnect {
    /// Returns the signal for the client of this request.
    pub fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<ClientClosed>().cloned())
    }

    /// Waits until the client has closed its side of the connection or disconnected. Never completes over HTTP/2, where the
    /// connection drops the request instead.
    pub async fn disconnected(&self) {
        match self.0.clone() {
            Some(ended) => ended.wait().await,
            None => std::future::pending().await,
        }
    }
}

/// Returns whether a request arrived over TLS.
pub fn is_over_tls(request: &HttpRequest) -> bool {
    connection_data::<OverTls>(request).is_some()
}
