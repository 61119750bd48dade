//! Binds the client URLs: TCP over IPv4 and IPv6, and Unix sockets named as etcd names them.

use std::{
    fs, io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::unix::{fs::FileTypeExt as _, net::UnixListener},
};

use tokio::net::TcpSocket;

use super::limits;
use crate::config::{Address, Config, Url};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything: gRPC and HTTP/1.
    All,
    /// gRPC alone, because HTTP has URLs of its own.
    Grpc,
    /// Everything but gRPC.
    Http,
    /// /metrics and /health.
    Metrics,
}

impl Surface {
    /// How logs call it, as etcd's do.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::All => "grpc+http",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Metrics => "metrics",
        }
    }
}

/// A socket that is bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    /// What it will serve.
    pub surface: Surface,
    /// The URL that was asked for.
    pub url: Url,
    pub(super) socket: Socket,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(UnixListener),
}

/// A URL that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {url}: {source}")]
pub struct BindError {
    /// Which one.
    pub url: Url,
    /// Why.
    pub source: io::Error,
}

impl Bound {
    /// The address after binding (a port of 0 has become a real one); `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }
}

/// Binds every client URL of the configuration. Needs a tokio runtime.
pub fn bind(config: &Config) -> Result<Vec<Bound>, BindError> {
    let clients = if config.listen_client_http_urls.is_empty() {
        Surface::All
    } else {
        Surface::Grpc
    };
    let mut bound = Vec::new();
    for (surface, urls) in [
        (clients, &config.listen_client_urls),
        (Surface::Http, &config.listen_client_http_urls),
        (Surface::Metrics, &config.listen_metrics_urls),
    ] {
        for url in urls {
            let socket = match url.address() {
                Address::Tcp(host, port) => tcp(host, *port, config.connections.reuse_port),
                Address::Unix(path) => unix(path),
            };
            let socket = socket.map_err(|source| BindError {
                url: url.clone(),
                source,
            })?;
            bound.push(Bound {
                surface,
                url: url.clone(),
                socket,
            });
        }
    }
    Ok(bound)
}

fn tcp(host: &str, port: u16, reuse_port: bool) -> io::Result<Socket> {
    // "localhost" may resolve to both families; one listener is what etcd opens, on IPv4 if there
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let Some(address) = addresses.into_iter().next() else {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "the name has no address",
        ));
    };
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    // inherited by what is accepted: finds clients whose machine is gone
    socket.set_keepalive(true)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(Socket::Tcp(socket.listen(limits::BACKLOG)?.into_std()?))
}

fn unix(path: &str) -> io::Result<Socket> {
    // a socket that a killed process left; anything else at that path is not ours to remove
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    Ok(Socket::Unix(UnixListener::bind(path)?))
}
