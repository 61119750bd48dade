//! Binds the client and peer URLs: TCP over IPv4 and IPv6, and Unix sockets named as in etcd.

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    os::{
        fd::AsFd,
        unix::{
            fs::FileTypeExt as _,
            net::{UnixListener, UnixStream},
        },
    },
};

use socket2::{Domain, SockAddr, SockRef, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
};
use witan_config::{Address, Config, Url};

use super::limits;

/// The requests that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// gRPC and HTTP.
    All,
    /// Only gRPC, because other URLs serve HTTP.
    Grpc,
    /// Everything except gRPC.
    Http,
    /// Only `/metrics` and `/health`, and `/livez` and `/readyz` with the paths of their checks.
    Metrics,
}

impl Surface {
    /// Returns the surface's name in logs, as in etcd.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::All => "grpc+http",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Metrics => "metrics",
        }
    }
}

/// A bound socket that is not served yet.
#[derive(Debug)]
pub struct Bound {
    /// The surface to serve.
    pub surface: Surface,
    /// The configured URL.
    pub url: Url,
    /// The URL with the same address and the other scheme, if it is configured. A connection's first byte selects the scheme.
    pub(super) other: Option<Url>,
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
    /// The URL.
    pub url: Url,
    /// The error from the operating system.
    pub source: io::Error,
}

impl Bound {
    /// Returns the bound address with the actual port, or `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the URLs that this socket serves: one, or two with different schemes.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.url).chain(&self.other)
    }

    /// Returns whether this socket also serves `url`, with the other scheme. Port 0 never matches, because each bind to it gets
    /// a new port.
    fn also_serves(&self, url: &Url) -> bool {
        self.url.address() == url.address()
            && self.url.is_tls() != url.is_tls()
            && !matches!(url.address(), Address::Tcp(_, 0))
    }
}

impl Socket {
    /// Returns the bound address, or `None` for a Unix socket or after an error.
    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Binds all client and metrics URLs; an http and an https URL with the same address and the same surface share a socket. Fails
/// with the first URL that cannot be bound. Must run in a tokio runtime.
pub fn bind(config: &Config) -> Result<Vec<Bound>, BindError> {
    let clients = if config.listen_client_http_urls.is_empty() {
        Surface::All
    } else {
        Surface::Grpc
    };
    let mut bound: Vec<Bound> = Vec::new();
    for (surface, urls) in [
        (clients, &config.listen_client_urls),
        (Surface::Http, &config.listen_client_http_urls),
        (Surface::Metrics, &config.listen_metrics_urls),
    ] {
        for url in urls {
            let mut known = bound.iter_mut();
            let shared = known.find(|bound| bound.surface == surface && bound.also_serves(url));
            if let Some(shared) = shared {
                shared.other = Some(url.clone());
                continue;
            }
            bound.push(Bound {
                surface,
                url: url.clone(),
                other: None,
                socket: socket(url, config.connections.reuse_port)?,
            });
        }
    }
    Ok(bound)
}

/// A bound peer URL that does not accept connections yet.
#[derive(Debug)]
pub struct BoundPeer {
    /// The configured URL.
    pub url: Url,
    socket: Socket,
}

impl BoundPeer {
    /// Returns the bound address, or `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// Registers the socket with the caller's tokio runtime.
    pub fn into_tokio(self) -> io::Result<PeerListener> {
        match self.socket {
            Socket::Tcp(listener) => {
                tokio::net::TcpListener::from_std(listener).map(PeerListener::Tcp)
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(PeerListener::Unix)
            }
        }
    }
}

/// Accepts peer connections on a tokio runtime.
#[derive(Debug)]
pub enum PeerListener {
    /// A TCP socket.
    Tcp(tokio::net::TcpListener),
    /// A Unix socket.
    Unix(tokio::net::UnixListener),
}

/// Binds all configured peer URLs. Must run inside a tokio runtime.
pub fn bind_peers(config: &Config) -> Result<Vec<BoundPeer>, BindError> {
    let urls = config.listen_peer_urls.iter();
    urls.map(|url| {
        let socket = socket(url, config.connections.reuse_port)?;
        Ok(BoundPeer { url: url.clone(), socket })
    })
    .collect()
}

/// A TCP or Unix connection.
pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> PeerStream for S {}

/// A connection that this member has accepted.
pub trait AcceptedStream: PeerStream {
    /// Removes the connection from the tokio runtime, so that a thread can poll its socket.
    fn into_polled(self: Box<Self>) -> io::Result<Box<dyn PolledStream>>;
}

impl AcceptedStream for tokio::net::TcpStream {
    fn into_polled(self: Box<Self>) -> io::Result<Box<dyn PolledStream>> {
        Ok(Box::new(self.into_std()?))
    }
}

impl AcceptedStream for tokio::net::UnixStream {
    fn into_polled(self: Box<Self>) -> io::Result<Box<dyn PolledStream>> {
        Ok(Box::new(self.into_std()?))
    }
}

/// A connection whose calls fail with `WouldBlock` instead of blocking. Its owner polls its file descriptor.
pub trait PolledStream: io::Read + io::Write + AsFd + fmt::Debug + Send {
    /// Returns whether a read may return bytes even though polling the file descriptor reports none. TLS may hold decrypted
    /// bytes.
    fn keeps_bytes(&self) -> bool {
        false
    }
}

impl PolledStream for TcpStream {}

impl PolledStream for UnixStream {}

impl PeerListener {
    /// Accepts the next connection and returns it with its remote address, which is `None` for a Unix socket. Disables Nagle's
    /// algorithm for TCP.
    pub async fn accept(&self) -> io::Result<(Box<dyn AcceptedStream>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Some(remote)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Binds the socket of a URL. `reuse_port` sets `SO_REUSEPORT` on a TCP socket.
fn socket(url: &Url, reuse_port: bool) -> Result<Socket, BindError> {
    let socket = match url.address() {
        Address::Tcp(host, port) => tcp(host, *port, reuse_port),
        Address::Unix(path) => unix(path),
    };
    socket.map_err(|source| BindError { url: url.clone(), source })
}

/// Binds and listens on a host's first IPv4 address, or its first IPv6 address if it has no IPv4 address. `::` also accepts
/// IPv4. If the kernel has no IPv6, `::` becomes 0.0.0.0. With `reuse_port`, other sockets can bind the same port.
fn tcp(host: &str, port: u16, reuse_port: bool) -> io::Result<Socket> {
    // `localhost` may resolve to both families. As in etcd, open one listener, on IPv4 if possible.
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let missing = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    let mut address = addresses.into_iter().next().ok_or_else(missing)?;
    let mut socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    if socket.is_err() && address.is_ipv6() && address.ip().is_unspecified() {
        address = (Ipv4Addr::UNSPECIFIED, port).into();
        socket = TcpSocket::new_v4();
    }
    let socket = socket?;
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit the probes, which detect clients whose machine is down.
    let probes = TcpKeepalive::new()
        .with_time(limits::KEEPALIVE)
        .with_interval(limits::KEEPALIVE);
    SockRef::from(&socket).set_tcp_keepalive(&probes)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(Socket::Tcp(socket.listen(limits::BACKLOG)?.into_std()?))
}

/// Removes a stale Unix socket at the path and binds a new one. Fails if a process listens there or the file is not a socket.
fn unix(path: &str) -> io::Result<Socket> {
    // A killed process leaves its socket behind. Other files at this path must not be removed.
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if is_served(path)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    Ok(Socket::Unix(UnixListener::bind(path)?))
}

/// Returns whether a process listens on the Unix socket at the path. Does not wait for the process.
fn is_served(path: &str) -> io::Result<bool> {
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    Ok(match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => true,
        // The queue of connections to be accepted is full.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    })
}
