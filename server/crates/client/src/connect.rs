//! Connections to servers: plain or TLS, direct or through an HTTP proxy.

use std::{io, time::Duration};

use http::Uri;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use witan_transport::{self as transport, BODY_BYTES_MAX, PeerStream};

use super::tls::TlsClient;

/// The route to a server.
pub struct Route<'a> {
    /// The server's URL.
    pub uri: &'a Uri,
    /// The proxy as `host:port`, if any.
    pub proxy: Option<&'a str>,
    /// The TLS settings for https.
    pub tls: &'a TlsClient,
    /// Timeout for connecting, including TLS and the proxy.
    pub patience: Duration,
}

impl Route<'_> {
    /// Returns whether the URL uses https.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Connects within `patience`, with TLS for https. Through a proxy, https uses a `CONNECT` tunnel, and http requests go to
    /// the proxy. An error names the server or the proxy.
    pub async fn open(&self) -> Result<Box<dyn PeerStream>, String> {
        let authority = self.proxy.map_or_else(|| self.authority(), str::to_owned);
        match timeout(self.patience, self.dial(&authority)).await {
            Ok(dialed) => dialed.map_err(|error| format!("cannot connect to {authority}: {error}")),
            Err(_) => Err(format!(
                "cannot connect to {authority} within {:?}",
                self.patience
            )),
        }
    }

    /// Connects to `authority`, the server or the proxy. For https, opens a tunnel through a proxy and performs the TLS
    /// handshake.
    async fn dial(&self, authority: &str) -> io::Result<Box<dyn PeerStream>> {
        let mut stream = transport::connect(authority).await?;
        stream.set_nodelay(true)?;
        if !self.is_tls() {
            return Ok(Box::new(stream));
        }
        if self.proxy.is_some() {
            tunnel(&mut stream, &self.authority()).await?;
        }
        let host = self.host().trim_matches(['[', ']']);
        Ok(Box::new(self.tls.secure(host, stream).await?))
    }

    /// Returns the server's host, with brackets if it is an IPv6 address. Returns an empty string if the URI has no host.
    fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Returns `host:port` of the server, with the default port of the scheme if the URL has no port.
    pub fn authority(&self) -> String {
        let usual = if self.is_tls() { 443 } else { 80 };
        format!("{}:{}", self.host(), self.uri.port_u16().unwrap_or(usual))
    }
}

/// Asks the HTTP proxy at the end of `stream` to connect to `authority`. Fails if the status of the response is not 2xx or its
/// head is too long.
async fn tunnel(stream: &mut TcpStream, authority: &str) -> io::Result<()> {
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    // Read byte by byte, because bytes after the head belong to TLS.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == BODY_BYTES_MAX {
            return Err(io::Error::other("the proxy's response is too long"));
        }
        answer.push(stream.read_u8().await?);
    }
    let first = answer.split(|byte| *byte == b'\r').next();
    let first = String::from_utf8_lossy(first.unwrap_or_default());
    match first.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        Some(_) | None => Err(io::Error::other(format!(
            "the proxy responded with {first}"
        ))),
    }
}

/// Checks that the server at `address` completes the TLS handshake within `patience`, with a certificate for `name`.
pub async fn check_certificate(
    address: &str,
    name: &str,
    tls: &TlsClient,
    patience: Duration,
) -> Result<(), String> {
    let handshake = async {
        let stream = transport::connect(address).await?;
        tls.secure(name, stream).await.map(drop)
    };
    match timeout(patience, handshake).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no response within {patience:?}")),
    }
}
