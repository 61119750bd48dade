//! Tests members with certificates of one CA: a certificate authenticates only the member whose hosts it names.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use witan_config::{PeerTlsConfig, PortTls, ServerCertificate};
use witan_transport::{PeerTls, TransportMetrics};
use x509_cert::der::pem::{self, LineEnding};

use super::{handshake::Refusal, *};

/// The address on which each member listens and from which it connects.
const HOSTS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
];

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// A CA and a directory for its certificates. The directory is deleted on drop.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Both,
    Calling,
}

fn write_pem(path: &Path, label: &str, der: &[u8]) {
    let text = pem::encode_string(label, LineEnding::LF, der).unwrap();
    fs::write(path, text).unwrap();
}

impl Authority {
    /// Creates a CA and writes its certificate to the file `ca`.
    fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Relaxed);
        let name = format!("witan-impostors-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        write_pem(&dir.join("ca"), "CERTIFICATE", issuer.der());
        Self { issuer, dir }
    }

    /// Issues a certificate for these host names. Returns the paths of the certificate and its key.
    fn issue(&self, names: &[&str], usage: Usage) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let file = |what: &str| self.dir.join(format!("{what}-{}", names.join("-")));
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if usage == Usage::Both {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        write_pem(&file("cert"), "CERTIFICATE", cert.der());
        write_pem(&file("key"), "PRIVATE KEY", key.serialized_der());
        (file("cert"), file("key"))
    }

    /// Returns the TLS settings of a member with a server certificate and, if given, a separate client certificate.
    fn tls(&self, (cert, key): (PathBuf, PathBuf), client: Option<(PathBuf, PathBuf)>) -> PeerTls {
        let port = PortTls {
            certificate: Some(ServerCertificate::Files { cert, key }),
            client_ca: Some(self.dir.join("ca")),
            client_cert_auth: true,
            ..PortTls::default()
        };
        let config = Config {
            peer_tls: PeerTlsConfig { port, client, ..PeerTlsConfig::default() },
            ..Config::default()
        };
        let metrics = TransportMetrics::register(&Register::default(), false);
        PeerTls::open(&config, &metrics).unwrap().unwrap()
    }
}

/// Binds members 1 and 2 to the first two hosts, each with an https URL.
fn bound() -> Sockets {
    sockets_at(&["https://127.0.0.1", "https://127.0.0.2"])
}

fn started_by(id: u64, bound: Vec<BoundPeer>, members: &MemberRegistry, tls: PeerTls) -> Running {
    let dialer = PeerDialer { tls: Some(tls), local_address: None };
    started_with(id, bound, members, dialer, Config::default().peers)
}

/// Opens a stream as `member` from a host with a certificate. Returns the reason why the other member refuses the stream, or
/// `None` if it accepts the stream.
fn call(
    (from, tls): (Ipv4Addr, &PeerTls),
    member: u64,
    addresses: &[SocketAddr],
) -> Option<&'static str> {
    let other = 3 - member;
    let to = addresses[usize::try_from(other).unwrap() - 1];
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        let mut stream = tls.connect(stream, &to.ip().to_string()).await.unwrap();
        stream
            .write_all(&greeting(CLUSTER, member, other))
            .await
            .unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; frame::HEADER_BYTES + 9];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = handshake::decode_answer(&answer[frame::HEADER_BYTES..]);
        answer.unwrap().err().map(Refusal::label)
    })
}

#[test]
fn a_certificate_of_another_host_cannot_replace_a_members_open_streams() {
    let authority = Authority::new();
    let [one, two, third] = HOSTS.map(|host| {
        let pair = authority.issue(&[&host.to_string()], Usage::Both);
        authority.tls(pair, None)
    });
    let (mut sockets, mut members, addresses) = bound();
    let mut second = started_by(2, sockets.remove(1), &members, two);
    let of_third = (HOSTS[2], &third);
    // The old URLs do not identify a member that has moved.
    assert_eq!(call(of_third, 1, &addresses), None);
    let first = started_by(1, sockets.remove(0), &members, one.clone());
    first.wait_open(2);
    assert_eq!(call(of_third, 1, &addresses), Some("certificate"));
    assert_eq!(call((HOSTS[0], &one), 1, &addresses), None);
    // A member that is about to move has a certificate for its new URLs, or still the old one.
    let url = format!("https://{}:{}", HOSTS[2], addresses[0].port());
    members.by_id.get_mut(&MemberId(1)).unwrap().peer_urls = vec![url];
    second.post.update_members(&members);
    assert_eq!(call((HOSTS[0], &one), 1, &addresses), None);
    assert_eq!(call(of_third, 1, &addresses), None);
    stop(first);
    stop(second);
}

#[test]
fn a_member_without_open_streams_may_connect_from_another_host() {
    let authority = Authority::new();
    let [one, two, third] = HOSTS.map(|host| {
        let pair = authority.issue(&[&host.to_string()], Usage::Both);
        authority.tls(pair, None)
    });
    let (mut sockets, members, addresses) = bound();
    let mut second = started_by(2, sockets.remove(1), &members, two);
    let first = started_by(1, sockets.remove(0), &members, one);
    first.wait_open(2);
    stop(first);
    until("the stream is accepted", || {
        second.messages();
        call((HOSTS[2], &third), 1, &addresses)
            .is_none()
            .then_some(())
    });
    stop(second);
}

#[test]
fn a_member_may_use_different_client_and_server_certificates() {
    let authority = Authority::new();
    let [one, two] = [0, 1].map(|at| authority.issue(&[&HOSTS[at].to_string()], Usage::Both));
    // The system connects from the first address of the loopback network.
    let calls = authority.issue(&[&HOSTS[0].to_string(), "elsewhere"], Usage::Both);
    let one = authority.tls(one, None);
    let (mut sockets, members, addresses) = bound();
    let two = authority.tls(two, Some(calls));
    let second = started_by(2, sockets.remove(1), &members, two.clone());
    let first = started_by(1, sockets.remove(0), &members, one);
    first.wait_open(2);
    second.wait_open(1);
    assert_eq!(call((HOSTS[0], &two), 2, &addresses), None);
    stop(first);
    stop(second);
}

#[test]
fn certificates_that_do_not_identify_a_member_are_accepted() {
    let authority = Authority::new();
    let all = HOSTS.map(|host| host.to_string());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let shared = authority.tls(authority.issue(&all, Usage::Both), None);
    let calling = authority.tls(authority.issue(&[all[2]], Usage::Calling), None);
    let nameless = authority.tls(authority.issue(&[], Usage::Both), None);
    let (mut sockets, members, addresses) = bound();
    let second = started_by(2, sockets.remove(1), &members, shared.clone());
    let first = started_by(1, sockets.remove(0), &members, shared.clone());
    first.wait_open(2);
    for tls in [shared, calling, nameless] {
        assert_eq!(call((HOSTS[2], &tls), 1, &addresses), None);
    }
    stop(first);
    stop(second);
}

#[test]
fn messages_within_tls_arrive_although_one_read_decrypts_several() {
    let authority = Authority::new();
    let all = HOSTS.map(|host| host.to_string());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let tls = authority.tls(authority.issue(&all, Usage::Both), None);
    let (mut sockets, members, _) = bound();
    let mut second = started_by(2, sockets.remove(1), &members, tls.clone());
    let mut first = started_by(1, sockets.remove(0), &members, tls);
    first.wait_open(2);
    let lengths = [0, 1, 70_000, 100, 1 << 20, 3];
    for length in lengths {
        first.send(2, Lane::Bulk, vec![7; length].into());
    }
    let mut seen = Vec::new();
    until("all messages", || {
        seen.extend(second.messages().into_iter().map(|it| it.message.len()));
        (seen.len() == lengths.len()).then_some(())
    });
    assert_eq!(seen, lengths);
    stop(first);
    stop(second);
}
