//! HTTP/1 on the peer port, served by actix-web: one short request per connection. The caller sets the time limit. A panic ends
//! only the request that caused it.

use std::{io, net::SocketAddr, time::Duration};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_service::{Service as _, ServiceFactory as _, boxed, map_config};
use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::AppConfig,
    web::{self, Payload},
};
use witan_base::panics::{self, PanicMetrics, PanicSource};

use super::{
    PeerStream, contain, http1_stream::Http1Stream, limits::REFUSED_CLOSE_TIMEOUT,
    sniffed::ReplayedStream,
};

/// A connection with one request.
type Connection = Http1Stream<ReplayedStream<Box<dyn PeerStream>>>;

/// Answers requests of the peer port on one thread.
#[derive(Clone)]
pub struct PeerHttp(
    boxed::RcService<(Connection, Protocol, Option<SocketAddr>), (), DispatchError>,
);

impl PeerHttp {
    /// Creates a service that calls `handler` and counts its panics in `metrics`.
    ///
    /// # Panics
    /// Panics outside a [`LocalSet`](tokio::task::LocalSet).
    pub async fn new<H, F>(handler: H, metrics: PanicMetrics) -> Self
    where
        H: Fn(HttpRequest, Payload) -> F + Clone + 'static,
        F: Future<Output = HttpResponse> + 'static,
    {
        let handler = move |request: HttpRequest, body: Payload| {
            let (handler, metrics) = (handler.clone(), metrics.clone());
            async move {
                // Creating the handler's future may also panic.
                let work = async move { handler(request, body).await };
                let done = panics::contain(&metrics, PanicSource::Http, work).await;
                contain::response(done, &metrics)
            }
        };
        let app = App::new().default_service(web::to(handler));
        let service = HttpService::<Connection, _, _>::build()
            .keep_alive(KeepAlive::Disabled)
            // The caller sets the time limit.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(REFUSED_CLOSE_TIMEOUT)
            .finish(map_config(app, |()| AppConfig::default()))
            .new_service(());
        let service = service.await.expect("creating the service cannot fail");
        Self(boxed::rc_service(service))
    }

    /// Answers the request that begins with the bytes `first` and continues in `stream`. `first` must not be longer than the
    /// HTTP/2 preface. Has no timeout.
    pub async fn answer(&self, stream: Box<dyn PeerStream>, first: &[u8]) -> io::Result<()> {
        let connection = Http1Stream::of_one_request(ReplayedStream::after(first, stream));
        let served = self.0.call((connection, Protocol::Http1, None)).await;
        served.map_err(|error| io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        task::LocalSet,
    };
    use witan_base::metrics::{MetricsPage, Register};

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_request() {
        let on = Register::default();
        let panics = PanicMetrics::register(&on);
        let handler = |request: HttpRequest, _: Payload| async move {
            assert_ne!(request.path(), "/panics", "on purpose");
            HttpResponse::Ok().finish()
        };
        let requests = async {
            let http = PeerHttp::new(handler, panics).await;
            for (path, status) in [("/panics", 500), ("/", 200)] {
                let (mut client, server) = duplex(4096);
                let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
                client.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                let (_, read) = tokio::join!(
                    http.answer(Box::new(server), &[]),
                    client.read_to_string(&mut answer)
                );
                read.unwrap();
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{answer}"
                );
            }
        };
        LocalSet::new().run_until(requests).await;
        let page = MetricsPage::new(on).render();
        assert!(
            page.contains("witan_panics_total{handler=\"http\"} 1"),
            "{page}"
        );
    }
}
