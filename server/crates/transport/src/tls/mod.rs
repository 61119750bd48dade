//! TLS of the client port and of the peer port, with rustls and ring.
//!
//! Every handshake checks whether files have changed, so a new certificate, CA or revocation list applies without a restart.
//! Every scrape of the metrics also checks the files, so that the metrics show a new certificate without a handshake. If a file
//! is unreadable or invalid, the previous certificate stays in use until the file changes. After a temporary error, the next
//! check tries again. If the revocation list cannot be read, no certificate of a client or of another member is accepted.
//!
//! `config::security` and `config::peer_security` define the rules for flags.
//!
//! Reading order: this file (handshake), `files` (reading), `verify` (certificate checks; `ca_pool` contains CAs),
//! `subject_names` (whether a member's certificate matches its address), `client_certificate`, `members` (TLS between members),
//! `self_signed` (`--auto-tls`), `suites` (versions and cipher suites), `stream` (accepted streams), `dialed` and `polled`
//! (streams between members), `error` (setup), `go_messages` (error texts).

mod ca_pool;
mod client_certificate;
mod dialed;
mod error;
mod files;
mod go_messages;
mod members;
mod polled;
mod self_signed;
mod stream;
mod subject_names;
mod suites;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    fmt, io,
    sync::{Arc, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{CertificateError, Error, ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::LazyConfigAcceptor;
use witan_base::{metrics::gauge, sync::Mutex};
use witan_config::{Config, ServerCertificate};
use witan_logging::LogLimit;

pub use ca_pool::system_roots;
pub use client_certificate::ClientCertificate;
pub use dialed::{DialedStream, DirectWriter};
pub use error::TlsError;
pub use go_messages::of_io as error_text;
pub use members::PeerTls;
pub(super) use stream::Secured;
pub use subject_names::MemberCertificate;
pub use verify::any_server;

use super::{
    Surface,
    limits::{HANDSHAKE_TIMEOUT, REFUSED_CLOSE_TIMEOUT},
    metrics::{TlsMetrics, TransportMetrics},
    sniffed::ReplayedStream,
};
use files::{CLIENT_PORT, FileStamp, Files, Reloaded, TlsParts};

/// The first byte of every TLS connection: the type of a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// The response to a client that does not use TLS, with Go's message.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// TLS of all listeners of a port.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    files: Files,
    now: Mutex<LoadedTls>,
    metrics: TlsMetrics,
    /// Limits log lines about failed handshakes, because any client can cause them.
    refusals: LogLimit,
}

/// The configuration from the last read of the files.
struct LoadedTls {
    /// The stamps of the files, or no stamps if the next handshake must read the files again.
    stamps: [FileStamp; 4],
    /// The certificate, key and CAs from the last successful read.
    parts: TlsParts,
    configs: SurfaceConfigs,
}

/// The configuration of each surface: the shared certificate, and the surface's ALPN protocols.
#[derive(Clone)]
struct SurfaceConfigs {
    all: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

impl SurfaceConfigs {
    /// Copies `config` for each surface and sets the ALPN protocols of the surface.
    fn new(config: &ServerConfig) -> Self {
        let with = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            // In etcd's order: a proxy that offers both protocols sends gRPC over the selected protocol.
            all: with(&[H2, HTTP1]),
            grpc: with(&[H2]),
            http: with(&[HTTP1]),
        }
    }

    fn of(&self, surface: Surface) -> &Arc<ServerConfig> {
        match surface {
            Surface::All => &self.all,
            Surface::Grpc => &self.grpc,
            Surface::Http | Surface::Metrics => &self.http,
        }
    }
}

impl ServerTls {
    /// Reads the configured files, or returns `None` if no URL uses TLS. With `--auto-tls`, creates a missing certificate in
    /// the data directory, which is created if needed.
    pub fn open(config: &Config, metrics: &TransportMetrics) -> Result<Option<Self>, TlsError> {
        let tls = &config.tls;
        let (cert, key) = match &tls.certificate {
            None => return Ok(None),
            Some(ServerCertificate::Files { cert, key }) => (cert.clone(), key.clone()),
            Some(ServerCertificate::SelfSigned { years }) => {
                let urls = [
                    config.listen_client_urls.as_slice(),
                    &config.listen_client_http_urls,
                    &config.listen_metrics_urls,
                ];
                self_signed::files(&config.data_dir, "client", &urls.concat(), *years)?
            }
        };
        let files = Files::new(tls, CLIENT_PORT, (cert, key), "client endpoint")?;
        Self::of(files, metrics.tls.clone()).map(Some)
    }

    /// Reads the files and builds the configurations. Sets the gauge of the certificate's expiry.
    fn of(files: Files, metrics: TlsMetrics) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let parts = files.parts()?;
        let configs = SurfaceConfigs::new(&files.config(&parts, files.revoked()?)?);
        report_expiry(&parts, &metrics, files.endpoint);
        let now = Mutex::new(LoadedTls { stamps, parts, configs });
        Ok(Self(Arc::new(Inner {
            files,
            now,
            metrics,
            refusals: LogLimit::new(),
        })))
    }

    /// Reads changed files without a handshake, so that the metrics show a renewed certificate.
    pub fn refresh(&self) {
        drop(self.current());
    }

    /// Returns a surface's configuration for a handshake.
    fn config(&self, surface: Surface) -> Arc<ServerConfig> {
        self.current().configs.of(surface).clone()
    }

    /// Reads changed files and returns the configuration. If reading fails, keeps the previous certificate, key and CAs.
    fn current(&self) -> MutexGuard<'_, LoadedTls> {
        let files = &self.0.files;
        let mut now = self.0.now.lock();
        let stamps = files.stamps();
        if stamps != now.stamps {
            now.stamps = match self.read_again(&mut now) {
                true => stamps,
                false => <[FileStamp; 4]>::default(),
            };
        }
        now
    }

    /// Replaces `now` with the contents of the files and logs the result; see [`Files::reload`]. Returns `false` if the files
    /// must be read again even if they do not change.
    fn read_again(&self, now: &mut LoadedTls) -> bool {
        let endpoint = self.0.files.endpoint;
        match self.0.files.reload(&mut now.parts, Files::config) {
            Ok(Reloaded { config, is_new, try_again }) => {
                // If the files must be read again, the next handshake would log the same lines.
                if is_new && !try_again {
                    tracing::info!(endpoint, "reloaded the TLS files");
                    report_expiry(&now.parts, &self.0.metrics, endpoint);
                }
                now.configs = SurfaceConfigs::new(&config);
                !try_again
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    endpoint,
                    "failed to build a configuration from the previous TLS files"
                );
                true
            }
        }
    }

    /// Detects TLS from the first byte and performs the handshake, both within [`HANDSHAKE_TIMEOUT`]. Returns a connection
    /// without TLS unchanged if `allow_plain`; otherwise answers it with an HTTP 400 response and fails with `NotTls`.
    async fn handshake<S>(
        &self,
        stream: S,
        surface: Surface,
        allow_plain: bool,
    ) -> Result<Secured<S>, HandshakeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = async {
            let mut stream = stream;
            let mut first = [0];
            if stream
                .read(&mut first)
                .await
                .map_err(HandshakeFailure::of)?
                == 0
            {
                return Err(HandshakeFailure::Silent);
            }
            let mut stream = ReplayedStream::after(&first, stream);
            if allow_plain && first != [HANDSHAKE_RECORD] {
                return Ok(Secured::Plain(stream));
            }
            if first != [HANDSHAKE_RECORD] {
                let _ = stream.write_all(NOT_TLS).await;
                close(stream).await;
                return Err(HandshakeFailure::NotTls);
            }
            let start = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let start = start.await.map_err(HandshakeFailure::of)?;
            let config = self.config(surface);
            match start.into_stream(config).into_fallible().await {
                Ok(stream) => Ok(Secured::Tls(Box::new(stream))),
                Err((error, stream)) => {
                    close(stream).await;
                    Err(HandshakeFailure::of(error))
                }
            }
        };
        timeout(HANDSHAKE_TIMEOUT, shaking)
            .await
            .unwrap_or(Err(HandshakeFailure::Timeout))
    }
}

/// Closes a stream whose last bytes tell the client the reason. Reads the bytes in transit before the socket is dropped:
/// otherwise, the kernel would reset the connection, and the client would lose the last bytes. In TLS 1.3, a client can send a
/// request before it knows the result of the handshake. Takes at most [`REFUSED_CLOSE_TIMEOUT`].
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = timeout(REFUSED_CLOSE_TIMEOUT, drained).await;
}

/// Sets the gauge of the certificate's expiry and logs a warning if the certificate has expired. Does nothing if the
/// certificate cannot be parsed.
fn report_expiry(parts: &TlsParts, metrics: &TlsMetrics, endpoint: &str) {
    let Some(expires_s) = parts.expires_s() else {
        return;
    };
    metrics.expires.set(gauge(expires_s));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if now.is_ok_and(|now| now.as_secs() > expires_s) {
        tracing::warn!(expires_s, endpoint, "the certificate has expired");
    }
}

/// Accepts a connection, with TLS if `security` is given. If `allow_plain`, also accepts connections without TLS. Returns the
/// stream and the client's certificate, or `None` if the handshake failed. Counts each failure and logs some of them.
pub(super) async fn secure<S>(
    security: Option<&ServerTls>,
    allow_plain: bool,
    (stream, surface): (S, Surface),
    remote: Option<std::net::SocketAddr>,
) -> Option<(Secured<S>, Option<ClientCertificate>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(security) = security else {
        return Some((Secured::Plain(ReplayedStream::after(&[], stream)), None));
    };
    // Box the handshake, so that connections without TLS need little memory.
    match Box::pin(security.handshake(stream, surface, allow_plain)).await {
        Ok(stream) => {
            let certificate = match &stream {
                Secured::Tls(tls) => ClientCertificate::of(tls.get_ref().1.peer_certificates()),
                Secured::Plain(_) => None,
            };
            Some((stream, certificate))
        }
        Err(failure) => {
            let remote = remote.map(|remote| remote.to_string());
            let remote = remote.as_deref().unwrap_or("a Unix socket");
            let failures = &security.0.metrics.handshakes_failed;
            failures.with_label_values(&[failure.label()]).inc();
            // Log at debug level, because port scans would fill the log.
            if matches!(failure, HandshakeFailure::Silent) {
                tracing::debug!(remote, "a client disconnected before the TLS handshake");
            } else if let Some(left_out) = security.0.refusals.admit() {
                let endpoint = security.0.files.endpoint;
                tracing::warn!(remote, error = %failure, left_out, "rejected connection on {endpoint}");
            }
            None
        }
    }
}

/// The reason why a TLS handshake with a client failed.
#[derive(Debug)]
enum HandshakeFailure {
    Silent,
    NotTls,
    Timeout,
    Tls(Error),
    Io(io::Error),
}

impl HandshakeFailure {
    /// Converts an error of the stream, or the TLS error inside it.
    fn of(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(inner) => Self::Tls(Error::clone(inner)),
            None => Self::Io(error),
        }
    }

    /// Returns the value of the label `reason`.
    fn label(&self) -> &'static str {
        match self {
            Self::Silent => "closed",
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Tls(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {
                "client_certificate"
            }
            Self::Tls(_) => "tls",
            Self::Io(_) => "connection",
        }
    }
}

impl fmt::Display for HandshakeFailure {
    /// Writes Go's message for a TLS error, if it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("EOF"),
            Self::NotTls => f.write_str("the client does not speak TLS"),
            Self::Timeout => write!(f, "the handshake took longer than {HANDSHAKE_TIMEOUT:?}"),
            Self::Tls(Error::InvalidCertificate(CertificateError::NotValidForName)) => f.write_str(
                "client certificate authentication failed: the certificate has no allowed name",
            ),
            Self::Tls(error) => f.write_str(&go_messages::of(error)),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Security").field(&self.0.files).finish()
    }
}
