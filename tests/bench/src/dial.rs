//! Connects clients to a server: with TLS if the address starts with `https://`, otherwise without.

use std::sync::{Arc, LazyLock};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, client::Resumption, pki_types::ServerName},
};

/// Scheme of an address with TLS.
pub(crate) const HTTPS: &str = "https://";

/// Performs complete handshakes but accepts any certificate.
static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(witan_transport::any_server())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
});

pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for S {}

/// Opens a connection to `HOST:PORT` or `https://HOST:PORT`. Panics if no server listens at the address, or if the handshake
/// fails.
pub(crate) async fn dial(address: &str) -> Box<dyn Connection> {
    let host = address.strip_prefix(HTTPS).unwrap_or(address);
    let stream = TcpStream::connect(host).await.expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    if host == address {
        return Box::new(stream);
    }
    let name = ServerName::try_from("localhost").expect("a name");
    let secured = TLS.connect(name, stream).await;
    Box::new(secured.expect("the handshake succeeds"))
}
