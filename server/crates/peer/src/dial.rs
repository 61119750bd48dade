//! Opens a stream to another member: connects and exchanges handshakes.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use witan_config::{Address, Url};
use witan_transport::{DialedStream, DirectWriter, PeerStream, PeerTls, error_text, first_of};

use super::{
    frame::{self, FrameKind},
    handshake::{HANDSHAKE_BYTES_MAX, Handshake, MAGIC, PROTOCOL, Refusal, decode_answer},
};

/// Time limit for connecting and exchanging handshakes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the member has no peer URL")]
    NoUrl,
    #[error(
        "the peer URL requires TLS, but this member has neither --peer-cert-file nor --peer-auto-tls"
    )]
    NoCertificate,
    #[error("{}", error_text(.0))]
    Io(#[from] io::Error),
    #[error("refused by the other member: {0}")]
    Refused(Refusal),
}

impl DialError {
    /// Returns whether the error shows that nothing listens at the address.
    pub(super) fn nothing_listens(&self) -> bool {
        // `NotFound` means that the file of a Unix socket was removed.
        let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
        matches!(self, Self::Io(error) if kinds.contains(&error.kind()))
    }
}

/// Opens streams to other members.
#[derive(Clone, Debug, Default)]
pub struct PeerDialer {
    /// TLS between members, if configured.
    pub tls: Option<PeerTls>,
    /// The source address, or `None` to let the system choose.
    pub local_address: Option<IpAddr>,
}

pub(super) struct PeerConnection {
    pub(super) stream: Box<dyn PeerStream>,
    /// The replica thread's writer, if the stream is a TCP stream.
    pub(super) writer: Option<DirectWriter>,
}

impl PeerDialer {
    /// Opens a stream and exchanges handshakes. Fails with `TimedOut` after [`DIAL_TIMEOUT`].
    pub(super) async fn open(
        &self,
        url: &Url,
        hello: &Handshake,
    ) -> Result<PeerConnection, DialError> {
        let opening = async {
            let mut connection = self.connect(url).await?;
            shake_hands(&mut connection.stream, hello).await?;
            Ok(connection)
        };
        let timed_out =
            |_| io::Error::new(io::ErrorKind::TimedOut, "the member did not answer in time");
        timeout(DIAL_TIMEOUT, opening).await.map_err(timed_out)?
    }

    /// Connects to a peer URL, with TLS if the URL requires it. Fails with `NoCertificate` if this member then has no TLS. Has
    /// no time limit.
    pub(super) async fn connect(&self, url: &Url) -> Result<PeerConnection, DialError> {
        match url.address() {
            Address::Tcp(host, port) => {
                let stream = self.connect_tcp(host, *port).await?;
                let stream = match self.tls_for(url)? {
                    Some(tls) => DialedStream::secured(tls.connect(stream, host).await?),
                    None => DialedStream::plain(stream),
                };
                let writer = Some(stream.direct_writer());
                Ok(PeerConnection { stream: Box::new(stream), writer })
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                let stream: Box<dyn PeerStream> = match self.tls_for(url)? {
                    Some(tls) => Box::new(tls.connect(stream, "localhost").await?),
                    None => Box::new(stream),
                };
                Ok(PeerConnection { stream, writer: None })
            }
        }
    }

    /// Returns the TLS settings if the URL requires TLS. Fails if TLS is required but not configured.
    fn tls_for(&self, url: &Url) -> Result<Option<&PeerTls>, DialError> {
        match url.is_tls() {
            true => self.tls.as_ref().map(Some).ok_or(DialError::NoCertificate),
            false => Ok(None),
        }
    }

    /// Connects to the first address of the host that accepts the connection. If a local address is set, tries only addresses
    /// of its family.
    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let local = self.local_address;
        let found = lookup_host((host, port)).await?;
        let same_family =
            |address: &SocketAddr| local.is_none_or(|it| it.is_ipv4() == address.is_ipv4());
        let addresses: Vec<SocketAddr> = found.filter(same_family).collect();
        first_of(&addresses, |address| self.connect_address(address)).await
    }

    /// Connects to an address, from the local address if one is set. Enables keep-alive and disables Nagle's algorithm.
    async fn connect_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        if let Some(local) = self.local_address {
            socket.bind((local, 0).into())?;
        }
        socket.connect(address).await
    }
}

/// Sends the magic bytes and the handshake, then reads the response. Fails with [`DialError::Refused`] if the peer refuses the
/// handshake.
async fn shake_hands(stream: &mut Box<dyn PeerStream>, hello: &Handshake) -> Result<(), DialError> {
    let mut opening = MAGIC.to_vec();
    opening.push(PROTOCOL);
    opening.extend(frame::encode(FrameKind::Handshake, &hello.encode()));
    stream.write_all(&opening).await?;
    stream.flush().await?;
    // The caller limits the duration of the handshake.
    let answer = frame::read(stream, HANDSHAKE_BYTES_MAX, Duration::MAX).await?;
    if answer.kind == FrameKind::Answer
        && let Some(answer) = decode_answer(&answer.contents)
    {
        return answer.map_err(DialError::Refused);
    }
    let what = "the response to the handshake is invalid";
    Err(io::Error::new(io::ErrorKind::InvalidData, what).into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_uses_the_local_address_and_only_hosts_of_its_family() {
        let dialer = PeerDialer {
            local_address: Some("127.0.0.3".parse().unwrap()),
            ..PeerDialer::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stream = dialer.connect(&url.parse().unwrap()).await.unwrap();
        let (_, remote) = listener.accept().await.unwrap();
        assert_eq!(Some(remote.ip()), dialer.local_address);
        drop(stream);
        let other = dialer.connect(&"http://[::1]:1".parse().unwrap()).await;
        let error = other.err().expect("no suitable address");
        assert!(error.to_string().contains("no suitable address"), "{error}");
    }
}
