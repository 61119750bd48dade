//! The operator's HTTP servers: `/metrics` on one address, `/healthz` and `/readyz` on another.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{App, HttpResponse, HttpServer, dev::Server, http::header, web};
use witan_base::metrics::CONTENT_TYPE;

use crate::metrics::Metrics;

/// Number of threads per server. Scrapes and probes are rare.
const WORKERS: usize = 1;

/// Listens on an address. `[::]` also accepts IPv4 and falls back to 0.0.0.0 if the kernel has no IPv6.
fn listener(on: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(on);
    if bound.is_err() && on.is_ipv6() && on.ip().is_unspecified() {
        // If the port is in use, this fails as well.
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, on.port()));
    }
    bound
}

pub(crate) fn metrics(on: SocketAddr, metrics: Arc<Metrics>) -> io::Result<Server> {
    let page = web::Data::from(metrics);
    serve(on, move |config| {
        let shown = web::get().to(async |metrics: web::Data<Metrics>| {
            HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
                .body(metrics.render())
        });
        config.app_data(page.clone()).route("/metrics", shown);
    })
}

/// Starts the server of the probes `/healthz` and `/readyz`. Fails if the address cannot be bound. A replica is ready once the
/// API server has answered and the replica has loaded all clusters or is a standby.
pub(crate) fn health(on: SocketAddr, readiness: Arc<AtomicBool>) -> io::Result<Server> {
    let readiness = web::Data::from(readiness);
    serve(on, move |config| {
        let ready = web::get().to(async |readiness: web::Data<AtomicBool>| {
            if readiness.load(Ordering::Relaxed) {
                HttpResponse::Ok().body("ok")
            } else {
                HttpResponse::ServiceUnavailable().body("not ready: the API server has not answered yet, or the watches have not started")
            }
        });
        config
            .app_data(readiness.clone())
            .route("/healthz", web::get().to(async || "ok"))
            .route("/readyz", ready);
    })
}

/// Starts a server with these routes. Fails if the address cannot be bound.
fn serve(
    on: SocketAddr,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().configure(&routes));
    Ok(server
        .workers(WORKERS)
        .disable_signals()
        .listen(listener(on)?)?
        .run())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpStream};

    use super::*;

    #[test]
    fn the_default_address_accepts_ipv4_and_ipv6() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let port = listener(any).and_then(|bound| Ok((bound.local_addr()?.port(), bound)));
        let (port, _bound) = port.expect("a port");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4");
    }
}
