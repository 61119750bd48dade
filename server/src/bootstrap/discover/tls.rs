//! TLS of connections to registries: the trusted authorities, and this member's certificate.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use witan_config::V3Discovery;
use witan_transport::system_roots;

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::DiscoverError;

/// Encrypts connections.
pub(super) struct TlsClient(TlsConnector);

impl TlsClient {
    /// Makes TLS that trusts the system's authorities and presents no certificate.
    pub(super) fn of_system() -> Result<Self, DiscoverError> {
        let builder = builder()?.with_root_certificates(system_roots());
        let config = Arc::new(builder.with_no_client_auth());
        Ok(Self(TlsConnector::from(config)))
    }

    /// Makes TLS for HTTP/2 from the flags of v3 discovery.
    pub(super) fn of_flags(asked: &V3Discovery) -> Result<Self, DiscoverError> {
        let config = Arc::new(config_of_flags(asked)?);
        Ok(Self(TlsConnector::from(config)))
    }

    /// Shakes hands with `host` over a connection.
    pub(super) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// Makes the TLS settings of v3 discovery from its flags: authorities or none, key pair, HTTP/2.
fn config_of_flags(asked: &V3Discovery) -> Result<ClientConfig, DiscoverError> {
    let builder = builder()?;
    let builder = if asked.skip_verify {
        let verifier = Arc::new(Unverified(ring::default_provider()));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(match &asked.ca {
            Some(path) => roots_of(path)?,
            None => system_roots(),
        })
    };
    let mut config = match &asked.key_pair {
        Some((cert, key)) => {
            let (chain, own) = (certificates(cert)?, PrivateKeyDer::from_pem_file(key));
            let own = own.map_err(|error| unreadable(key, &error))?;
            let with_key = builder.with_client_auth_cert(chain, own);
            with_key.map_err(|error| unreadable(cert, &error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, DiscoverError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| DiscoverError::Tls { what: "TLS".to_owned(), reason: error.to_string() })
}

fn roots_of(path: &Path) -> Result<RootCertStore, DiscoverError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| unreadable(path, &error))?;
    }
    Ok(roots)
}

/// Reads all certificates of a PEM file; a file without one is an error.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DiscoverError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unreadable(path, &error))?;
    match found.is_empty() {
        true => Err(unreadable(path, &"it holds no certificate")),
        false => Ok(found),
    }
}

fn unreadable(path: &Path, reason: &dyn ToString) -> DiscoverError {
    DiscoverError::Tls { what: path.display().to_string(), reason: reason.to_string() }
}

/// Takes every certificate: `--discovery-insecure-skip-tls-verify`.
#[derive(Debug)]
struct Unverified(CryptoProvider);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
