//! A client with configurable handshakes, which shows the negotiated parameters.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use witan_e2e::wait::PATIENCE;

use super::authority::Pair;

#[derive(Clone, Debug)]
pub(crate) struct Client {
    ca: String,
    pair: Option<Pair>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
}

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    pub(crate) fn new(ca: &str) -> Self {
        Self {
            ca: ca.to_owned(),
            pair: None,
            versions: vec![&TLS13, &TLS12],
            alpn: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, pair: &Pair) -> Self {
        self.pair = Some(pair.clone());
        self
    }

    pub(crate) fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(crate) fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Connects and completes the handshake. The server may still refuse the client's certificate.
    pub(crate) fn connect(&self, port: u16) -> io::Result<Stream> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(Path::new(&self.ca)).expect("a CA file") {
            roots.add(ca.expect("a certificate")).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions of TLS")
            .with_root_certificates(roots);
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_file_iter(&pair.cert).expect("a certificate");
                let chain = chain.map(|der| der.expect("a certificate")).collect();
                let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = self.alpn.clone();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection =
            ClientConnection::new(Arc::new(config), name).expect("settings that fit");
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    pub(crate) fn get(&self, port: u16, target: &str) -> io::Result<String> {
        ask(&mut self.connect(port)?, target)
    }
}

/// Sends a GET request and returns the response as text. Panics if the server ends the response without close_notify.
pub(crate) fn ask(stream: &mut Stream, target: &str) -> io::Result<String> {
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {
            panic!("the server sent no close_notify after {answer}")
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn shown(stream: &Stream) -> Vec<u8> {
    let chain = stream.conn.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}
