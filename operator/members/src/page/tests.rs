//! Tests reading a page of a member over TCP and over TLS.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer,
    server::WebPkiClientVerifier,
};

use super::*;
use crate::Login;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const BYTES: usize = 5;
const NAME: &str = "orders-0.orders.prod.svc";

/// Answers one request with a status and a page and returns the lines of the request.
fn answer(mut stream: impl Read + Write, status: &str, page: &str) -> Vec<String> {
    let lines = BufReader::new(&mut stream).lines();
    let lines = lines.map(|line| line.expect("a line"));
    let lines = lines.take_while(|line| !line.is_empty()).collect();
    let length = page.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{page}");
    stream.write_all(text.as_bytes()).expect("it is read");
    lines
}

/// Serves one request, over TLS if `tls` is set. The thread returns the lines of the request.
pub(crate) fn serve(
    status: &'static str,
    page: &'static str,
    tls: Option<ServerConfig>,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        match tls {
            None => answer(stream, status, page),
            Some(tls) => {
                let session = ServerConnection::new(Arc::new(tls)).expect("a session");
                answer(StreamOwned::new(session, stream), status, page)
            }
        }
    });
    (address, serving)
}

/// Returns the address of a member. With a password, the address contains a login as the user root.
pub(crate) fn address(of: SocketAddr, tls: Option<ClientTls>, password: Option<&str>) -> Address {
    let login = |password: &str| Login { user: "root".into(), password: password.into() };
    Address {
        member: "orders-0".to_owned(),
        authority: of.to_string(),
        server_name: NAME.to_owned(),
        tls: tls.map(Arc::new),
        login: password.map(login),
    }
}

async fn read(member: Address, bytes_max: usize) -> Result<Vec<u8>, PageError> {
    get(&member.url("/"), Some(&member), PATIENCE, bytes_max).await
}

#[tokio::test]
async fn a_page_is_read_as_a_user() {
    let (at, served) = serve("200 OK", "words", None);
    let member = address(at, None, Some("p:q"));
    let url = member.url("/debug/top?seconds=1");
    let page = get(&url, Some(&member), PATIENCE, BYTES).await;
    assert_eq!(page.unwrap(), b"words");
    let lines = served.join().unwrap();
    assert_eq!(lines[0], "GET /debug/top?seconds=1 HTTP/1.1");
    let proof = "authorization: Basic cm9vdDpwOnE=".to_owned();
    assert!(lines.contains(&proof), "{lines:?}");
    let (at, served) = serve("401 Unauthorized", "words", None);
    match read(address(at, None, None), BYTES).await {
        Err(PageError::Status(StatusCode::UNAUTHORIZED, text)) => assert_eq!(text, "words"),
        other => panic!("{other:?}"),
    }
    let lines = served.join().unwrap();
    assert!(
        !lines.iter().any(|line| line.starts_with("authorization")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_page_that_is_too_long_is_refused() {
    let (at, served) = serve("200 OK", "words", None);
    match read(address(at, None, None), BYTES - 1).await {
        Err(PageError::Failed(why)) => assert!(why.contains("length limit"), "{why}"),
        other => panic!("{other:?}"),
    }
    served.join().unwrap();
}

fn pem(kind: &str, der: &[u8]) -> Vec<u8> {
    let lines = STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n").into_bytes()
}

/// Creates a CA, and certificates for a member of this name and for the plugin.
fn certificates(name: &str) -> (ServerConfig, ClientTls) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let (own, own_key) = issue("plugin");
    let client = ClientTls {
        authorities: pem("CERTIFICATE", authority.der()),
        certificate: pem("CERTIFICATE", own.der()),
        key: pem("PRIVATE KEY", &own_key.serialize_der()),
    };
    let (of_member, key) = issue(name);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![of_member.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        );
    (server.unwrap(), client)
}

#[tokio::test]
async fn client_and_server_present_certificates() {
    let (server, client) = certificates(NAME);
    let (at, served) = serve("200 OK", "words", Some(server));
    let page = read(address(at, Some(client), None), BYTES).await;
    assert_eq!(page.unwrap(), b"words");
    assert_eq!(served.join().unwrap()[0], "GET / HTTP/1.1");
}

#[tokio::test]
async fn a_member_of_another_name_is_refused() {
    let (server, client) = certificates("somebody.else");
    let (at, served) = serve("200 OK", "words", Some(server));
    match read(address(at, Some(client), None), BYTES).await {
        Err(PageError::Failed(why)) => assert!(why.contains("certificate"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(served.join().is_err(), "nothing was requested");
}

#[tokio::test]
async fn a_page_of_another_service_is_read() {
    let (at, served) = serve("200 OK", "words", None);
    let page = get(&format!("http://{at}/new?size=3"), None, PATIENCE, BYTES).await;
    assert_eq!(page.unwrap(), b"words");
    assert_eq!(served.join().unwrap()[0], "GET /new?size=3 HTTP/1.1");
}
