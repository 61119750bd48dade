//! Tests a TLS connection: the client's identity, and stalls.

use std::{future::poll_fn, path::PathBuf, pin::Pin, task::Poll};

use rcgen::{
    CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use witan_base::metrics::Register;
use witan_config::PortTls;
use x509_cert::der::pem::{self, LineEnding};

use super::*;
use crate::{limits::STALL_TIMEOUT, stall_timeout::StallTimeout};

/// A directory that is deleted on drop.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Both {
    security: ServerTls,
    connector: TlsConnector,
    _folder: Folder,
}

/// Creates a server that requests certificates, and a client whose certificate has these common names.
fn both(test: &str, names: &[&str]) -> Both {
    let dir = std::env::temp_dir().join(format!("witan-tls-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let folder = Folder(dir.clone());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |names: &[&str]| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params
            .distinguished_name
            .push(DnType::OrganizationName, "an organization");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &ca).unwrap(), key)
    };
    let write = |file: &str, label: &str, der: &[u8]| {
        let path = dir.join(file);
        let text = pem::encode_string(label, LineEnding::LF, der).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = issue(&["server"]);
    let config = Config {
        tls: PortTls {
            certificate: Some(ServerCertificate::Files {
                cert: write("cert", "CERTIFICATE", cert.der()),
                key: write("key", "PRIVATE KEY", key.serialized_der()),
            }),
            client_ca: Some(write("ca", "CERTIFICATE", ca.der())),
            ..Config::default().tls
        },
        ..Config::default()
    };
    let (cert, key) = issue(names);
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let metrics = TransportMetrics::register(&Register::default(), false);
    Both {
        security: ServerTls::open(&config, &metrics).unwrap().unwrap(),
        connector: TlsConnector::from(Arc::new(client)),
        _folder: folder,
    }
}

type Ours = Secured<DuplexStream>;

impl Both {
    /// Connects both sides through a pipe with this capacity in bytes.
    async fn connect(
        &self,
        room: usize,
    ) -> (
        tokio_rustls::client::TlsStream<DuplexStream>,
        Ours,
        Option<PeerCertificate>,
    ) {
        let (near, far) = duplex(room);
        let name = ServerName::try_from("localhost").unwrap();
        let (theirs, ours) = tokio::join!(
            self.connector.connect(name, near),
            secure(Some(&self.security), false, (far, Surface::All), None)
        );
        let (ours, certificate) = ours.unwrap();
        (theirs.unwrap(), ours, certificate)
    }
}

#[tokio::test]
async fn the_name_of_a_client_is_in_its_certificate() {
    for (names, name) in [
        (&["someone"][..], "someone"),
        (&["Jörg ✓"], "Jörg ✓"),
        (&[], ""),
    ] {
        let both = both("name", names);
        let (_, _, certificate) = both.connect(4096).await;
        let certificate = certificate.unwrap();
        assert_eq!(certificate.common_name(), name);
        assert_eq!(certificate.chain().len(), 1);
    }
}

/// TLS buffers more than the socket, so a stalled client does not block writes immediately.
#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let both = both("stall", &["someone"]);
    let (_client, ours, _) = both.connect(4096).await;
    let mut ours = StallTimeout::new(ours);
    // These bytes fit into TLS's buffer.
    ours.write_all(&[b'x'; 16 << 10]).await.unwrap();
    assert_eq!(ours.stalls_at(), None);
    let before = tokio::time::Instant::now();
    let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_flush(cx))).await;
    assert!(flushed.is_pending());
    let ends = ours.stalls_at().unwrap();
    assert!(ends >= before + STALL_TIMEOUT && ends < before + 2 * STALL_TIMEOUT);
}

/// In TLS 1.3, a client sends its request before it receives the server's alert. The server must read this request before it
/// closes: otherwise, the kernel would reset the connection and the client would lose the alert.
#[tokio::test]
async fn a_client_without_a_certificate_reads_the_alert() {
    let both = both("alert", &["someone"]);
    let mut config = ClientConfig::clone(both.connector.config());
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let refused = async {
        let secured = secure(Some(&both.security), false, (far, Surface::All), None);
        assert!(secured.await.is_none());
    };
    let request = async {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut client = connector.connect(name, client).await.unwrap();
        client.get_ref().0.readable().await.unwrap();
        for _ in 0..2 {
            client.write_all(b"a request").await.unwrap();
            client.flush().await.unwrap();
        }
        let error = client.read(&mut [0]).await.unwrap_err();
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    };
    tokio::join!(refused, request);
}

/// A client without a certificate.
#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
