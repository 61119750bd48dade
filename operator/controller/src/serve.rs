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

/// Listens on an address. `[::]` also accepts IPv4 and falls back to 0.0.0.0 if the kernel has no IPv6.
fn listener(on: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(on);
    if bound.is_err() && on.is_ipv6() && on.ip().is_unspecified() {
        // If the port is in use, this attempt also fails.
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, on.port()));
    }
    bound
}

/// Serves `/metrics`. Fails if the address cannot be bound.
pub(crate) fn metrics(on: SocketAddr, metrics: Arc<Metrics>) -> io::Result<Server> {
    let metrics = web::Data::from(metrics);
    serve(on, move |config| {
        let page = web::get().to(async |metrics: web::Data<Metrics>| {
            HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
                .body(metrics.render())
        });
        config.app_data(metrics.clone()).route("/metrics", page);
    })
}

/// Serves `/healthz` and `/readyz`. Fails if the address cannot be bound. A standby replica is also ready.
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

/// Binds the address and returns a server, which runs while it is polled. The server handles no signals.
fn serve(
    on: SocketAddr,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    // Scrapes and probes are rare, so one thread is enough.
    let server = HttpServer::new(move || App::new().configure(&routes)).workers(1);
    let server = server.disable_signals().listen(listener(on)?)?;
    Ok(server.run())
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
