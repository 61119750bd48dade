//! Tests a TLS connection: the client's identity, CAs, stalls, and revocation lists.

use std::{future::poll_fn, path::PathBuf, pin::Pin, task::Poll};

use rcgen::{
    Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use witan_base::metrics::Register;
use witan_config::{PeerTlsConfig, PortTls};
use x509_cert::der::pem::{self, LineEnding};

use super::{verify::Revoked, *};
use crate::{limits::STALL_TIMEOUT, stall_timeout::StallTimeout};

/// A directory that is deleted on drop.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A CA and the directory of its files.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

impl Authority {
    /// Creates a CA and a temporary directory that is named after the test.
    fn new(test: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::with_params(test, params)
    }

    /// Creates a CA whose self-signed certificate has these parameters, even if it is then no CA certificate.
    fn with_params(test: &str, params: CertificateParams) -> Self {
        let dir = std::env::temp_dir().join(format!("witan-tls-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { ca, folder: Folder(dir) }
    }

    /// Issues a certificate for clients and servers with these common names.
    fn issue(&self, serial: u64, names: &[&str]) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
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
        (params.signed_by(&key, &self.ca).unwrap(), key)
    }

    /// Returns the settings of a port with a certificate of this CA, which also signs the clients' certificates.
    fn port(&self, serial: u64) -> PortTls {
        let (cert, key) = self.issue(serial, &["server"]);
        PortTls {
            certificate: Some(ServerCertificate::Files {
                cert: self.write("cert", text("CERTIFICATE", cert.der())),
                key: self.write("key", text("PRIVATE KEY", key.serialized_der())),
            }),
            client_ca: Some(self.write("ca", text("CERTIFICATE", self.ca.der()))),
            ..Config::default().tls
        }
    }

    /// Writes a file and returns its path.
    fn write(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.0.join(file);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Returns a revocation list with these serial numbers in DER.
    fn revoke(&self, serials: &[u64]) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.ca).unwrap().der().to_vec()
    }
}

/// Encodes DER data as a PEM section with this label.
fn text(label: &str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).unwrap()
}

struct Both {
    security: ServerTls,
    connector: TlsConnector,
    _authority: Authority,
}

/// Creates a server that requires client certificates, and a client whose certificate has these common names.
fn both(test: &str, names: &[&str]) -> Both {
    let authority = Authority::new(test);
    let config = Config { tls: authority.port(1), ..Config::default() };
    let (cert, key) = authority.issue(2, names);
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca.der().clone()).unwrap();
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
        _authority: authority,
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
        Option<ClientCertificate>,
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

/// Returns whether a server accepts a client with this certificate.
async fn accepts(server: &ServerTls, certificate: &CertificateDer<'static>, key: &KeyPair) -> bool {
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any_server())
        .with_client_auth_cert(
            vec![certificate.clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (near, far) = duplex(4096);
    let dial = async {
        let name = ServerName::try_from("localhost").unwrap();
        drop(connector.connect(name, near).await);
    };
    let accept = secure(Some(server), false, (far, Surface::All), None);
    let ((), accepted) = tokio::join!(dial, accept);
    accepted.is_some()
}

/// Otherwise, the owner of a client certificate in the CA file could create certificates of other users.
#[tokio::test]
async fn a_certificate_in_the_ca_file_signs_others_only_if_it_is_a_ca() {
    let ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let other = Authority::new("other-signer");
    for (is_ca, key_usages, signs) in [
        (IsCa::NoCa, vec![], false),
        (IsCa::ExplicitNoCa, vec![], false),
        (ca, vec![KeyUsagePurpose::DigitalSignature], false),
        (ca, vec![], true),
    ] {
        let case = format!("{is_ca:?} {key_usages:?}");
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.key_usages = key_usages;
        let pinned = Authority::with_params("signer", params);
        let config = Config { tls: pinned.port(1), ..Config::default() };
        let (signed, signed_key) = pinned.issue(2, &["root"]);
        let own = text("CERTIFICATE", pinned.ca.der());
        let with_other = own.clone() + &text("CERTIFICATE", other.ca.der());
        for file in [own, with_other] {
            pinned.write("ca", file);
            let metrics = TransportMetrics::register(&Register::default(), false);
            let server = ServerTls::open(&config, &metrics).unwrap().unwrap();
            let (itself, key) = (pinned.ca.der(), pinned.ca.key());
            assert!(accepts(&server, itself, key).await, "{case}");
            let accepted = accepts(&server, signed.der(), &signed_key).await;
            assert_eq!(accepted, signs, "{case}");
        }
    }
}

/// Without the refresh, a member without handshakes would report an expired certificate after a renewal.
#[test]
fn a_refresh_shows_a_renewed_certificate() {
    let authority = Authority::new("renewed");
    let on = Register::default();
    let metrics = TransportMetrics::register(&on, false);
    let config = Config { tls: authority.port(1), ..Config::default() };
    let server = ServerTls::open(&config, &metrics).unwrap().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2040, 1, 1);
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &authority.ca).unwrap();
    authority.write("key", text("PRIVATE KEY", key.serialized_der()));
    // A new file has another inode, so the change does not depend on the clock of the file system.
    let renewed = authority.write("renewed", text("CERTIFICATE", cert.der()));
    std::fs::rename(renewed, authority.folder.0.join("cert")).unwrap();
    server.refresh();
    let shown = on.render();
    let line = "witan_tls_certificate_not_after_seconds 2208988800";
    assert!(shown.lines().any(|found| found == line), "{shown}");
}

/// TLS has a buffer in addition to the socket's, so a stalled client does not block writes immediately.
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

#[test]
fn every_revocation_list_of_a_file_applies() {
    let authority = Authority::new("lists");
    let read = |file: &[u8]| {
        let crl = Some(authority.write("crl", file));
        let tls = PortTls { crl, ..Config::default().tls };
        let pair = (PathBuf::new(), PathBuf::new());
        let files = Files::new(&tls, CLIENT_PORT, pair, "client endpoint").unwrap();
        let Revoked::Serials(serials) = files.revoked().ok()? else {
            panic!("a list is configured");
        };
        let mut serials: Vec<u8> = serials.iter().flatten().copied().collect();
        serials.sort_unstable();
        Some(serials)
    };
    let lists = [&[1, 2][..], &[3]].map(|serials| authority.revoke(serials));
    let [first, second] = lists.each_ref().map(|list| text("X509 CRL", list));
    assert_eq!(read(&lists[0]), Some(vec![1, 2]));
    assert_eq!(read(first.as_bytes()), Some(vec![1, 2]));
    let both = [first.as_str(), &second].concat();
    assert_eq!(read(both.as_bytes()), Some(vec![1, 2, 3]));
    assert_eq!(read(&lists.concat()), None, "two lists in DER");
    for damaged in [
        String::new(),
        text("CERTIFICATE", authority.ca.der()),
        [first.as_str(), &second[..second.len() / 2]].concat(),
        [first.as_str(), &text("X509 CRL", b"no list")].concat(),
        // The first file has no final newline.
        [first.trim_end(), &second].concat(),
    ] {
        assert_eq!(read(damaged.as_bytes()), None, "{damaged}");
    }
}

/// While no file descriptor is free, no file can be read. Later, the file is readable even though its metadata has not changed.
#[test]
fn a_file_that_could_not_be_read_is_read_again() {
    let authority = Authority::new("unreadable");
    let mut tls = authority.port(1);
    let crl = authority.write("crl", authority.revoke(&[]));
    tls.crl = Some(crl.clone());
    let config = Config { tls, ..Config::default() };
    let metrics = TransportMetrics::register(&Register::default(), false);
    let server = ServerTls::open(&config, &metrics).unwrap().unwrap();
    let reads_again = || {
        server.config(Surface::All);
        server.0.now.lock().stamps != server.0.files.stamps()
    };
    assert!(!reads_again());
    for path in [authority.folder.0.join("cert"), crl] {
        let content = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // A directory has metadata, but cannot be read.
        std::fs::create_dir(&path).unwrap();
        assert!(reads_again(), "{path:?}");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "invalid").unwrap();
        assert!(!reads_again(), "only a change can help: {path:?}");
        std::fs::write(&path, content).unwrap();
        assert!(!reads_again());
    }
}

/// A renewed key often has the wrong mode. A change of the mode changes the metadata, so no handshake needs to try again before
/// that change.
#[test]
fn a_file_without_permission_is_not_read_again_before_it_changes() {
    /// The number of `EMFILE`: the process has no free file descriptor.
    const NO_DESCRIPTOR: i32 = 24;
    let is_temporary = |source: std::io::Error| {
        let path = PathBuf::from("key");
        TlsError::Read { flag: "key-file", path, source }.is_temporary()
    };
    assert!(!is_temporary(std::io::ErrorKind::PermissionDenied.into()));
    assert!(!is_temporary(std::io::ErrorKind::NotFound.into()));
    assert!(is_temporary(std::io::Error::from_raw_os_error(
        NO_DESCRIPTOR
    )));
}

/// A new revocation list applies to dialed members even if the other files are unreadable.
#[tokio::test]
async fn a_member_does_not_connect_to_a_revoked_member() {
    let authority = Authority::new("dialed");
    let tls = authority.port(1);
    let port = PortTls {
        crl: Some(authority.write("crl", authority.revoke(&[]))),
        ..tls.clone()
    };
    let config = Config {
        tls,
        peer_tls: PeerTlsConfig { port, ..PeerTlsConfig::default() },
        ..Config::default()
    };
    let metrics = TransportMetrics::register(&Register::default(), false);
    let server = ServerTls::open(&config, &metrics).unwrap().unwrap();
    let peers = PeerTls::open(&config, &metrics).unwrap().unwrap();
    let dial = async || {
        let (near, far) = duplex(4096);
        let (dialed, _) = tokio::join!(
            peers.connect(near, "localhost"),
            secure(Some(&server), false, (far, Surface::Http), None)
        );
        dialed.err().map(|error| error.to_string())
    };
    assert_eq!(dial().await, None);
    let key = std::fs::read(authority.folder.0.join("key")).unwrap();
    authority.write("key", "torn");
    assert_eq!(dial().await, None, "the previous key stays in use");
    authority.write("crl", authority.revoke(&[1]));
    let refused = dial().await.expect("the list applies without the key");
    assert!(refused.contains("Revoked"), "{refused}");
    authority.write("crl", "torn");
    let refused = dial().await.expect("any certificate may be revoked");
    assert!(refused.contains("UnknownRevocationStatus"), "{refused}");
    authority.write("key", key);
    assert!(dial().await.is_some(), "the list is still unreadable");
    authority.write("crl", authority.revoke(&[2]));
    assert_eq!(dial().await, None);
}

/// The allowed names also apply to dialed members.
#[tokio::test]
async fn a_member_connects_only_to_members_with_an_allowed_name() {
    let authority = Authority::new("dialed-names");
    let tls = authority.port(1);
    let list = |name: &str| -> Vec<String> { name.split_whitespace().map(str::to_owned).collect() };
    for (common_names, hostnames, accepted) in [
        ("", "", true),
        ("other server", "", true),
        ("other", "", false),
        ("", "elsewhere localhost", true),
        ("", "elsewhere", false),
    ] {
        let port = PortTls {
            allowed_common_names: list(common_names),
            allowed_hostnames: list(hostnames),
            ..tls.clone()
        };
        let config = Config {
            tls: tls.clone(),
            peer_tls: PeerTlsConfig { port, ..PeerTlsConfig::default() },
            ..Config::default()
        };
        let metrics = TransportMetrics::register(&Register::default(), false);
        let server = ServerTls::open(&config, &metrics).unwrap().unwrap();
        let peers = PeerTls::open(&config, &metrics).unwrap().unwrap();
        let (near, far) = duplex(4096);
        let (dialed, _) = tokio::join!(
            peers.connect(near, "localhost"),
            secure(Some(&server), false, (far, Surface::Http), None)
        );
        assert_eq!(dialed.is_ok(), accepted, "{common_names} {hostnames}");
    }
}
