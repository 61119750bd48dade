//! HTTP/1 on the peer port, served by actix-web: one short request per connection. The caller limits the time.

use std::{io, net::SocketAddr, time::Duration};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_service::{Service as _, ServiceFactory as _, boxed, map_config};
use actix_web::{
    App, Handler, HttpRequest, HttpResponse,
    dev::AppConfig,
    web::{self, Payload},
};

use super::{
    PeerStream, http1_stream::Http1Stream, limits::REFUSED_CLOSE_TIMEOUT, sniffed::ReplayedStream,
};

/// A connection with one request.
type Connection = Http1Stream<ReplayedStream<Box<dyn PeerStream>>>;

/// Answers requests of the peer port on one thread.
#[derive(Clone)]
pub struct PeerHttp(
    boxed::RcService<(Connection, Protocol, Option<SocketAddr>), (), DispatchError>,
);

impl PeerHttp {
    /// Creates a service that calls `handler`.
    ///
    /// # Panics
    /// Panics outside a [`LocalSet`](tokio::task::LocalSet).
    pub async fn new(handler: impl Handler<(HttpRequest, Payload), Output = HttpResponse>) -> Self {
        let app = App::new().default_service(web::to(handler));
        let service = HttpService::<Connection, _, _>::build()
            .keep_alive(KeepAlive::Disabled)
            // The caller limits the time.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(REFUSED_CLOSE_TIMEOUT)
            .finish(map_config(app, |()| AppConfig::default()))
            .new_service(());
        let service = service.await.expect("the app has no data to create");
        Self(boxed::rc_service(service))
    }

    /// Answers the request that begins with `first`, which must not be longer than the HTTP/2 preface. Has no timeout.
    pub async fn answer(&self, stream: Box<dyn PeerStream>, first: &[u8]) -> io::Result<()> {
        let connection = Http1Stream::of_one_request(ReplayedStream::after(first, stream));
        let served = self.0.call((connection, Protocol::Http1, None)).await;
        served.map_err(|error| io::Error::other(error.to_string()))
    }
}
