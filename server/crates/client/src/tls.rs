//! TLS for connections to servers: trusted CAs and the client's certificate.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use witan_config::ClientSettings;
use witan_transport::{any_server, system_roots};

/// An unusable TLS file.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ClientTlsError {
    what: String,
    reason: String,
}

/// The TLS settings of outgoing connections.
pub struct TlsClient(TlsConnector);

impl TlsClient {
    /// Creates TLS settings for HTTP/1.1, without ALPN. Reads the TLS files.
    pub fn for_http1(asked: &ClientSettings) -> Result<Self, ClientTlsError> {
        Self::new(asked, Vec::new())
    }

    /// Creates TLS settings for HTTP/2, with the ALPN protocol `h2`. Reads the TLS files.
    pub fn for_http2(asked: &ClientSettings) -> Result<Self, ClientTlsError> {
        Self::new(asked, vec![b"h2".to_vec()])
    }

    /// Creates TLS settings that offer the ALPN protocols `alpn`. Reads the TLS files.
    fn new(asked: &ClientSettings, alpn: Vec<Vec<u8>>) -> Result<Self, ClientTlsError> {
        let mut config = client_config(asked)?;
        config.alpn_protocols = alpn;
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Performs the TLS handshake with `host` over a connection.
    pub(super) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// Reads the TLS files. Without a CA file, trusts the CAs of the system. If `skip_verify` is set, accepts any certificate.
fn client_config(asked: &ClientSettings) -> Result<ClientConfig, ClientTlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientTlsError { what: "TLS".to_owned(), reason: error.to_string() })?;
    let builder = if asked.skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(any_server())
    } else {
        builder.with_root_certificates(match &asked.ca {
            Some(path) => roots_of(path)?,
            None => system_roots(),
        })
    };
    let Some((cert, key)) = &asked.key_pair else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert)?;
    let own = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let with_key = builder.with_client_auth_cert(chain, own);
    with_key.map_err(|error| unreadable(cert, &error))
}

/// Reads the CA certificates from a PEM file. Fails if the file contains no certificate or an invalid one.
fn roots_of(path: &Path) -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| unreadable(path, &error))?;
    }
    Ok(roots)
}

/// Reads all certificates from a PEM file. Fails if the file contains no certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientTlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unreadable(path, &error))?;
    match found.is_empty() {
        true => Err(unreadable(path, &"it contains no certificate")),
        false => Ok(found),
    }
}

fn unreadable(path: &Path, reason: &dyn ToString) -> ClientTlsError {
    ClientTlsError { what: path.display().to_string(), reason: reason.to_string() }
}
