//! Opens a stream to another member: connects, and shakes hands.

use std::{io, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream, UnixStream, lookup_host},
    time::timeout,
};

use super::{
    frame::{self, FrameKind},
    handshake::{HANDSHAKE_BYTES_MAX, Handshake, MAGIC, PROTOCOL, Refusal, decode_answer},
};
use crate::{
    config::{Address, Url},
    transport::{PeerStream, PeerTls, error_text},
};

/// How long it may take until the other member has agreed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The member has no URL that can be used.
    #[error("it has no peer URL")]
    NoUrl,
    /// The URL asks for TLS.
    #[error(
        "its URL asks for TLS, and this member has neither --peer-cert-file nor --peer-auto-tls"
    )]
    NoCertificate,
    /// The network or the system says no.
    #[error("{}", error_text(.0))]
    Io(#[from] io::Error),
    /// The other member says no.
    #[error("refused by the other member: {0}")]
    Refused(Refusal),
}

impl DialError {
    /// Whether the error means that nothing listens at the address.
    pub(super) fn nothing_listens(&self) -> bool {
        match self {
            Self::Io(error) => matches!(
                error.kind(),
                // of a Unix socket, whose file may be gone
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ),
            Self::NoUrl | Self::NoCertificate | Self::Refused(_) => false,
        }
    }
}

/// Opens a stream within [`DIAL_TIMEOUT`].
pub(super) async fn open(
    url: &Url,
    tls: Option<&PeerTls>,
    hello: &Handshake,
) -> Result<Box<dyn PeerStream>, DialError> {
    let opening = async {
        let mut stream = connect(url, tls).await?;
        shake_hands(&mut stream, hello).await?;
        Ok(stream)
    };
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
    timeout(DIAL_TIMEOUT, opening).await.map_err(timed_out)?
}

/// Connects to a peer URL, with TLS if the URL asks for it.
pub(super) async fn connect(
    url: &Url,
    tls: Option<&PeerTls>,
) -> Result<Box<dyn PeerStream>, DialError> {
    let stream: Box<dyn PeerStream> = match url.address() {
        Address::Tcp(host, port) => Box::new(connect_tcp(host, *port).await?),
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    if !url.is_tls() {
        return Ok(stream);
    }
    let tls = tls.ok_or(DialError::NoCertificate)?;
    Ok(tls.connect(stream, host(url)).await?)
}

/// Returns the host name that the certificate of the member must have.
fn host(url: &Url) -> &str {
    match url.address() {
        Address::Tcp(host, _) => host,
        Address::Unix(_) => "localhost",
    }
}

/// Connects to the first address of a host that accepts; otherwise returns the error of the last one.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends the opening of a stream and the handshake, and reads the answer. A refusal of the member is
/// [`DialError::Refused`].
async fn shake_hands(stream: &mut Box<dyn PeerStream>, hello: &Handshake) -> Result<(), DialError> {
    let mut opening = MAGIC.to_vec();
    opening.push(PROTOCOL);
    opening.extend(frame::encode(FrameKind::Handshake, &hello.encode()));
    stream.write_all(&opening).await?;
    stream.flush().await?;
    let answer = frame::read_exact(stream, HANDSHAKE_BYTES_MAX).await?;
    let no_answer = || io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be read");
    let answer = match answer.kind {
        FrameKind::Answer => decode_answer(&answer.contents),
        FrameKind::Handshake
        | FrameKind::Message
        | FrameKind::Ping
        | FrameKind::Pong
        | FrameKind::Snapshot => None,
    };
    answer.ok_or_else(no_answer)?.map_err(DialError::Refused)
}
