//! The HTTP client of the object store: hyper over TLS with ring. Proxies are not supported.

use std::{error::Error, io, time::Duration};

use futures_util::future::BoxFuture;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::TokioExecutor,
};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use rustls::{ClientConfig, RootCertStore};
use witan_members::page::trusting;

use crate::store_error::innermost;

/// Maximum time to connect, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time without progress while a request is sent or a response is awaited.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Errors that end an established connection.
const INTERRUPTED: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

#[derive(Debug)]
pub(crate) struct HyperConnector {
    tls: ClientConfig,
}

impl HyperConnector {
    /// Creates a connector that trusts the system's CAs and the PEM certificates in `authorities`. Fails if one of these
    /// certificates is invalid.
    pub(crate) fn new(authorities: &[u8]) -> Result<Self, String> {
        let tls = trusting(system_authorities(), authorities)
            .map_err(|error| format!("--s3-cacert: {error}"))?;
        Ok(Self { tls: tls.with_no_client_auth() })
    }
}

/// Returns the CA certificates of the system. Logs and skips unreadable certificates.
pub(crate) fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "failed to read CA certificates of the system");
    }
    roots.add_parsable_certificates(system.certs);
    roots
}

impl HttpConnector for HyperConnector {
    /// Creates a client, which connects at its first request. Unencrypted HTTP needs the option `AllowHttp`.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let tls = HttpsConnectorBuilder::new().with_tls_config(self.tls.clone());
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp);
        let tls = if allowed.as_deref() == Some("true") {
            tls.https_or_http()
        } else {
            tls.https_only()
        };
        let mut connector = TimeoutConnector::new(tls.enable_http1().build());
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_read_timeout(Some(IDLE_TIMEOUT));
        connector.set_write_timeout(Some(IDLE_TIMEOUT));
        // The read timeout must not expire while a part is being sent.
        connector.set_reset_reader_on_write(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(HttpClient::new(HyperService { client }))
    }
}

#[derive(Debug)]
struct HyperService {
    client: Client<TimeoutConnector<HttpsConnector<TcpConnector>>, HttpRequestBody>,
}

impl HttpService for HyperService {
    /// Reports a failed connection as `Connect`, which object_store retries, unless TLS failed. object_store also retries every
    /// 5xx status. A retry does not help after 507 (the store is full) and 501 (the store does not support the request). So 507
    /// becomes 413, and 501 becomes 400.
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = self.client.request(request);
        Box::pin(async move {
            let mut answer = answer.await.map_err(|error| {
                let kind = match error.is_connect() && !is_of_tls(&error) {
                    true => HttpErrorKind::Connect,
                    false => kind(&error),
                };
                failed(kind, &error)
            })?;
            let body = |error: hyper::Error| failed(kind(&error), &error);
            match answer.status() {
                StatusCode::INSUFFICIENT_STORAGE => {
                    *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                }
                StatusCode::NOT_IMPLEMENTED => *answer.status_mut() = StatusCode::BAD_REQUEST,
                _ => {}
            }
            Ok(answer.map(|bytes| HttpResponseBody::new(bytes.map_err(body))))
        })
    }
}

/// Converts an error to an error that contains only the innermost cause.
fn failed(kind: HttpErrorKind, error: &(dyn Error + 'static)) -> HttpError {
    // The outer errors would hide the innermost error in object_store's log lines about retries.
    HttpError::new(kind, io::Error::other(innermost(error)))
}

/// Returns whether TLS made a connection fail, which a retry cannot fix.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let cause = innermost(error);
    ["invalid peer certificate", "corrupt message"]
        .iter()
        .any(|words| cause.contains(words))
}

/// Classifies the failure of a request on an established connection by the first known cause. object_store uses the kind to
/// decide whether to retry. hyper wraps the cause in a second error if the connection ends before the request is sent.
fn kind(error: &(dyn Error + 'static)) -> HttpErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::TimedOut {
                return HttpErrorKind::Timeout;
            }
            if INTERRUPTED.contains(&error.kind()) {
                return HttpErrorKind::Interrupted;
            }
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
        }
        cause = error.source();
    }
    HttpErrorKind::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the request was not sent")]
    struct Unsent(#[source] io::Error);

    #[test]
    fn a_known_cause_below_an_unknown_one_decides_the_kind() {
        for (cause, expected) in [
            (io::ErrorKind::ConnectionReset, HttpErrorKind::Interrupted),
            (io::ErrorKind::TimedOut, HttpErrorKind::Timeout),
            (io::ErrorKind::NotFound, HttpErrorKind::Unknown),
        ] {
            let error = io::Error::other(Unsent(cause.into()));
            assert_eq!(kind(&error), expected, "{cause}");
        }
    }
}
