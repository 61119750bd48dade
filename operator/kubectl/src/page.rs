//! Pages that a member serves over HTTP/1 on its client port, which gRPC does not have.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use witan_members::{Address, ClientTls};

use super::{chain, table::clipped};

/// Characters of an answer that are shown.
const ANSWER_MAX: usize = 200;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    /// The member has answered with another status, and this text.
    Status(StatusCode, String),
    /// It was not reached, or did not answer in time.
    Failed(String),
}

impl PageError {
    /// Returns why there is no page, and what to do.
    pub(super) fn words(self) -> String {
        match self {
            Self::Status(StatusCode::UNAUTHORIZED, _) => {
                "it asks for the password of a user with the role root; see --user and --password-file"
                    .to_owned()
            }
            Self::Status(status, text) => format!("{status}: {}", clipped(&text, ANSWER_MAX)),
            Self::Failed(why) => why,
        }
    }
}

/// Reads a page of a member of at most so many bytes, as the user of its address, whose password Basic authentication takes.
pub(super) async fn get(
    of: &Address,
    path: &str,
    patience: Duration,
    bytes_max: usize,
) -> Result<Vec<u8>, PageError> {
    let got = tokio::time::timeout(patience, fetch(of, path, bytes_max)).await;
    let (status, body) = got
        .map_err(|_| PageError::Failed(format!("no answer in {} s", patience.as_secs())))?
        .map_err(PageError::Failed)?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    Err(PageError::Status(status, text))
}

async fn fetch(
    of: &Address,
    path: &str,
    bytes_max: usize,
) -> Result<(StatusCode, Vec<u8>), String> {
    let name = ServerName::try_from(of.server_name.clone()).map_err(|error| chain(&error))?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(settings(of.tls.as_deref())?)
        .https_or_http()
        .with_server_name_resolver(FixedServerNameResolver::new(name))
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
    let scheme = if of.tls.is_some() { "https" } else { "http" };
    let mut request = Request::get(format!("{scheme}://{}{path}", of.authority));
    if let Some(login) = &of.login {
        let proof = STANDARD.encode(format!("{}:{}", login.user, login.password));
        request = request.header(AUTHORIZATION, format!("Basic {proof}"));
    }
    let request = request.body(String::new());
    let request = request.map_err(|error| chain(&error))?;
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| chain(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), bytes_max);
    let body = body.collect().await;
    let body = body.map_err(|error| chain(error.as_ref()))?;
    Ok((status, body.to_bytes().to_vec()))
}

/// Returns the settings of TLS; without certificates those of a connection that has none.
fn settings(tls: Option<&ClientTls>) -> Result<ClientConfig, String> {
    let settings = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| chain(&error))?;
    let mut roots = RootCertStore::empty();
    let Some(tls) = tls else {
        return Ok(settings.with_root_certificates(roots).with_no_client_auth());
    };
    let unusable = |what: &str, error: String| format!("cannot use the {what}: {error}");
    for authority in CertificateDer::pem_slice_iter(&tls.authorities) {
        authority
            .map_err(|error| chain(&error))
            .and_then(|authority| roots.add(authority).map_err(|error| chain(&error)))
            .map_err(|error| unusable("authorities of the members", error))?;
    }
    let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tls.certificate).collect();
    let own = own.map_err(|error| unusable("client certificate", chain(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key);
    let key = key.map_err(|error| unusable("key of the client certificate", chain(&error)))?;
    settings
        .with_root_certificates(roots)
        .with_client_auth_cert(own, key)
        .map_err(|error| unusable("client certificate", chain(&error)))
}
