//! Binds the client and the peer URLs: TCP over IPv4 and IPv6, and Unix sockets named as etcd names them.
//! `peer::listener` accepts peers through [`PeerListener`].

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

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
};
use witan_config::{Address, Config, Url};

use super::limits;

/// The protocols of a listener.
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
    /// Returns the name of the surface in logs; the names are etcd's.
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
    /// The surface to serve.
    pub surface: Surface,
    /// The configured URL.
    pub url: Url,
    /// The URL of the same address with the other scheme; the first byte of a connection selects one.
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
    /// The error of the system.
    pub source: io::Error,
}

impl Bound {
    /// Returns the address after binding (a port of 0 has become a real one); `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the one or two URLs that are served.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.url).chain(&self.other)
    }

    /// Whether `url` is served on this socket, too: it has the same address and the other scheme. Port 0 is another port
    /// each time.
    fn also_serves(&self, url: &Url) -> bool {
        self.url.address() == url.address()
            && self.url.is_tls() != url.is_tls()
            && !matches!(url.address(), Address::Tcp(_, 0))
    }
}

impl Socket {
    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Binds every client URL of the configuration; an http and an https URL of one address share a socket.
/// Needs a tokio runtime.
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

/// A peer URL that is bound, and not accepted on yet.
#[derive(Debug)]
pub struct BoundPeer {
    /// The configured URL.
    pub url: Url,
    socket: Socket,
}

impl BoundPeer {
    /// Returns the address after binding; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// Registers the socket with the tokio runtime of the calling context.
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

/// Accepts connections of peers on a tokio runtime.
#[derive(Debug)]
pub enum PeerListener {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// A Unix socket.
    Unix(tokio::net::UnixListener),
}

/// Binds a listener for every configured peer URL. Needs a tokio runtime.
pub fn bind_peers(config: &Config) -> Result<Vec<BoundPeer>, BindError> {
    let urls = config.listen_peer_urls.iter();
    urls.map(|url| {
        let socket = socket(url, config.connections.reuse_port)?;
        Ok(BoundPeer { url: url.clone(), socket })
    })
    .collect()
}

/// A connection of either kind.
pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> PeerStream for S {}

/// A connection that this member has accepted.
pub trait AcceptedStream: PeerStream {
    /// Takes the connection out of the tokio runtime, for a thread that polls its socket.
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

/// A connection whose calls do not wait: they fail with `WouldBlock` instead. Its descriptor is polled for more bytes.
pub trait PolledStream: io::Read + io::Write + AsFd + fmt::Debug + Send {
    /// Whether bytes may be left to read while the descriptor has none, because they are decrypted already.
    fn keeps_bytes(&self) -> bool {
        false
    }
}

impl PolledStream for TcpStream {}

impl PolledStream for UnixStream {}

impl PeerListener {
    /// Accepts the next connection; returns it with the address of the remote, `None` for a Unix socket.
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

fn socket(url: &Url, reuse_port: bool) -> Result<Socket, BindError> {
    let socket = match url.address() {
        Address::Tcp(host, port) => tcp(host, *port, reuse_port),
        Address::Unix(path) => unix(path),
    };
    socket.map_err(|source| BindError { url: url.clone(), source })
}

/// Binds and listens on the first IPv4 address of a host, or on its first IPv6 address if it has no other. `::` takes IPv4
/// as well, and is 0.0.0.0 where the kernel has no IPv6.
fn tcp(host: &str, port: u16, reuse_port: bool) -> io::Result<Socket> {
    // "localhost" may resolve to both families; as etcd, open one listener, on IPv4 if possible
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let Some(mut address) = addresses.into_iter().next() else {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "the name has no address",
        ));
    };
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
    // inherited by accepted sockets: detects clients whose machine is down
    socket.set_keepalive(true)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(Socket::Tcp(socket.listen(limits::BACKLOG)?.into_std()?))
}

/// Binds a Unix socket and replaces a stale one. Another file at the path is an error.
fn unix(path: &str) -> io::Result<Socket> {
    // a socket of a killed process; any other file at that path must not be removed
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    Ok(Socket::Unix(UnixListener::bind(path)?))
}
