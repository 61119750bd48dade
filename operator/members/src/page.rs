//! Reads HTTP/1 pages of members and of other services.

#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

use super::{Address, ClientTls};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// Maximum size in bytes of a page or of another small file whose length no setting bounds; reading a longer file fails.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// The reason why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The response has a status other than success, with this body.
    #[error("{0}: {1}")]
    Status(StatusCode, String),
    /// The request failed or timed out.
    #[error("{0}")]
    Failed(String),
}

/// Reads a page of at most `bytes_max` bytes, with the TLS settings and the login (HTTP Basic) of `member`. With `None`, only
/// plaintext pages can be read, without a login.
///
/// # Errors
/// Returns an error if there is no response within `patience`, if the page is too long, or if the status is not a success.
pub async fn get(
    url: &str,
    member: Option<&Address>,
    patience: Duration,
    bytes_max: usize,
) -> Result<Vec<u8>, PageError> {
    let got = tokio::time::timeout(patience, fetch(url, member, bytes_max)).await;
    let (status, body) = got
        .map_err(|_| PageError::Failed(format!("no answer in {} s", patience.as_secs())))?
        .map_err(PageError::Failed)?;
    if status.is_success() {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    Err(PageError::Status(status, text))
}

/// Requests a page, with the login of `member` if it has one. Returns the status and the body. Fails if the body exceeds
/// `bytes_max`.
async fn fetch(
    url: &str,
    member: Option<&Address>,
    bytes_max: usize,
) -> Result<(StatusCode, Vec<u8>), String> {
    let tls = member.and_then(|member| member.tls.as_deref());
    let mut request = Request::get(url);
    if let Some(login) = member.and_then(|member| member.login.as_ref()) {
        let proof = STANDARD.encode(format!("{}:{}", login.user, login.entered()));
        request = request.header(AUTHORIZATION, format!("Basic {proof}"));
    }
    let request = request.body(String::new());
    let request = request.map_err(|error| chain(&error))?;
    let mut connector = HttpsConnectorBuilder::new()
        .with_tls_config(settings(tls)?)
        .https_or_http();
    if let Some(member) = member {
        let name = ServerName::try_from(member.server_name.clone());
        let name = name.map_err(|error| chain(&error))?;
        connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let connector = connector.enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| chain(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), bytes_max);
    let body = body.collect().await;
    let body = body.map_err(|error| chain(error.as_ref()))?;
    Ok((status, body.to_bytes().to_vec()))
}

/// Formats an error followed by its causes, without repetitions.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// Returns the TLS settings of a client that trusts `roots` and the PEM certificates in `authorities`.
///
/// # Errors
/// Returns an error if one of these certificates is invalid.
pub fn trusting(
    mut roots: RootCertStore,
    authorities: &[u8],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    for authority in CertificateDer::pem_slice_iter(authorities) {
        let authority = authority.map_err(|error| chain(&error))?;
        roots.add(authority).map_err(|error| chain(&error))?;
    }
    let settings = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| chain(&error))?;
    Ok(settings.with_root_certificates(roots))
}

/// Returns the TLS settings of a client with the certificates of `tls`. Without `tls`, the client does not trust any CA.
fn settings(tls: Option<&ClientTls>) -> Result<ClientConfig, String> {
    let Some(tls) = tls else {
        return Ok(trusting(RootCertStore::empty(), &[])?.with_no_client_auth());
    };
    let unusable = |what: &str, error: String| format!("cannot use the {what}: {error}");
    let settings = trusting(RootCertStore::empty(), &tls.authorities)
        .map_err(|error| unusable("CA certificates of the members", error))?;
    let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tls.certificate).collect();
    let own = own.map_err(|error| unusable("client certificate", chain(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key);
    let key = key.map_err(|error| unusable("key of the client certificate", chain(&error)))?;
    settings
        .with_client_auth_cert(own, key)
        .map_err(|error| unusable("client certificate", chain(&error)))
}
