//! TLS between members, for the peer port and for dialed streams. No message is read from a stream before the other side's
//! certificate is accepted.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::{TlsConnector, client::TlsStream};
use witan_base::sync::Mutex;
use witan_config::{Config, ServerCertificate, without_zone};
use witan_logging::shorten;

use super::{
    ServerTls, Surface,
    error::TlsError,
    files::{Files, PEER_CLIENT, PEER_PORT, TlsParts},
    secure, self_signed,
    subject_names::{self, MemberCertificate},
};
use crate::{AcceptedStream, PeerStream, TransportMetrics};

/// TLS between members. Clones share the state.
#[derive(Clone)]
pub struct PeerTls(Arc<Inner>);

struct Inner {
    server: ServerTls,
    /// This member's files for connections to other members.
    client: Files,
    /// Certificate, key and CAs from the last successful read of `client`.
    last: Mutex<TlsParts>,
    skip_san_check: bool,
    /// Whether this member has separate client and server certificates. Other members may then also have two certificates.
    has_client_certificate: bool,
}

impl PeerTls {
    /// Reads the configured files, or returns `None` if no certificate is configured. With `--peer-auto-tls`, creates a missing
    /// certificate in the data directory, which is created if needed.
    pub fn open(config: &Config, metrics: &TransportMetrics) -> Result<Option<Self>, TlsError> {
        let tls = &config.peer_tls;
        let pair = match &tls.port.certificate {
            None => return Ok(None),
            Some(ServerCertificate::Files { cert, key }) => (cert.clone(), key.clone()),
            Some(ServerCertificate::SelfSigned { years }) => {
                self_signed::files(&config.data_dir, "peer", &config.listen_peer_urls, *years)?
            }
        };
        let client = match &tls.client {
            Some(pair) => Files::new(&tls.port, PEER_CLIENT, pair.clone(), "peer connections")?,
            None => Files::new(&tls.port, PEER_PORT, pair.clone(), "peer connections")?,
        };
        let last = client.parts()?;
        client.client_config(&last, client.revoked()?)?;
        let files = Files::new(&tls.port, PEER_PORT, pair, "peer endpoint")?;
        Ok(Some(Self(Arc::new(Inner {
            server: ServerTls::of(files, metrics.peer_tls.clone())?,
            client,
            last: Mutex::new(last),
            skip_san_check: tls.skip_san_check,
            has_client_certificate: tls.client.is_some(),
        }))))
    }

    /// Returns the TLS of the peer port.
    pub fn server(&self) -> &ServerTls {
        &self.0.server
    }

    /// Performs the handshake with a connecting member. `hosts` are the hosts in the members' URLs. Returns the stream and, if
    /// it can identify the member, the certificate. Such a certificate names hosts, is valid for servers, and is the member's
    /// only certificate. If the handshake or the certificate check fails, logs and counts the failure and returns `None`. With
    /// `--peer-skip-client-san-verification`, returns no certificate. If `remote`, the other side's address, is `None`, as for
    /// a Unix socket, the hosts in the certificate are not checked.
    pub async fn accept(
        &self,
        stream: Box<dyn AcceptedStream>,
        remote: Option<SocketAddr>,
        hosts: &[String],
    ) -> Option<(Box<dyn AcceptedStream>, Option<MemberCertificate>)> {
        let server = Some(&self.0.server);
        let (stream, certificate) = secure(server, false, (stream, Surface::Http), remote).await?;
        let certificate = certificate.filter(|_| !self.0.skip_san_check);
        if let (Some(certificate), Some(remote)) = (&certificate, remote) {
            let checked = subject_names::check(&certificate.chain()[0], remote, hosts).await;
            if let Err(reason) = checked {
                let failures = &self.0.server.0.metrics.handshakes_failed;
                failures.with_label_values(&["client_certificate"]).inc();
                if let Some(left_out) = self.0.server.0.refusals.admit() {
                    tracing::warn!(
                        %remote,
                        common_name = shorten(certificate.common_name()),
                        reason,
                        left_out,
                        "rejected the certificate of a peer"
                    );
                }
                return None;
            }
        }
        let of_member = certificate.filter(|_| !self.0.has_client_certificate);
        let of_member = of_member.and_then(|it| MemberCertificate::of(&it.chain()[0]));
        Some((Box::new(stream), of_member))
    }

    /// Performs the handshake with a dialed member, whose certificate must be valid for `host`. With `--peer-auto-tls`, accepts
    /// any certificate. Has no time limit.
    pub async fn connect<S: PeerStream>(&self, stream: S, host: &str) -> io::Result<TlsStream<S>> {
        let name = server_name(host)?;
        let config = self.client_config().map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    }

    /// Reads the current files and returns the configuration; see [`Files::reload`].
    fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let mut last = self.0.last.lock();
        let config = self.0.client.reload(&mut last, Files::client_config);
        config.map(|reloaded| reloaded.config)
    }
}

/// Returns the name that the certificate of `host` must contain. Omits the zone of an IPv6 address, which certificates cannot
/// contain. Fails if the host is not a valid name.
fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(without_zone(host).to_owned()).map_err(io::Error::other)
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerTls").field(&self.0.client).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_contains_no_zone() {
        for (host, name) in [("fe80::1%eth0", "fe80::1"), ("::1", "::1"), ("a.b", "a.b")] {
            assert_eq!(server_name(host).unwrap().to_str(), name);
        }
    }
}
