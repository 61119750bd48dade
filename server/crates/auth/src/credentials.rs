//! The credentials that a request presents.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::HeaderMap;
use witan_machine::auth::Caller;

use super::jwt::{Jwt, VerifiedClaims};

/// Metadata keys that can contain a token, in order of precedence.
const TOKEN_HEADERS: [&str; 2] = ["token", "authorization"];

/// Metadata key of a call that a grpc-gateway forwards. Such a call presents the certificate of the gateway, not of the
/// gateway's client.
const GATEWAY_HEADER: &str = "grpcgateway-accept";

/// Prefix that some clients add to the token.
const BEARER: &str = "Bearer ";

/// The token and the certificate's common name that a request presents, if any. Clones share both, and `Debug` prints neither.
#[derive(Clone, Default)]
pub struct Credentials(Option<Arc<PresentedCredentials>>);

#[derive(Default)]
struct PresentedCredentials {
    token: Option<String>,
    certificate: Option<String>,
    /// The verified claims of a signed token, cached so that its signature is verified only once.
    claimed: OnceLock<VerifiedClaims>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "***" } else { "nobody's" })
    }
}

impl Credentials {
    /// Returns the credentials of a gRPC call: the token in its metadata, and `certificate`. `certificate` is the common name
    /// of the client's certificate if common names identify users. As in etcd, ignores the certificate of a grpc-gateway.
    pub fn of_call(headers: &HeaderMap, certificate: Option<String>) -> Self {
        let token = TOKEN_HEADERS.iter().find_map(|name| headers.get(*name));
        // A token that is not visible ASCII becomes an empty token, which is invalid.
        let token = token.map(|value| value.to_str().unwrap_or_default());
        let certificate = certificate.filter(|_| !headers.contains_key(GATEWAY_HEADER));
        Self::new(token, certificate)
    }

    /// Returns the credentials of a JSON call: a token, or none. Such a call cannot use a certificate, because any web page can
    /// make a browser present one.
    pub fn of_token(token: Option<&str>) -> Self {
        Self::new(token, None)
    }

    /// Creates credentials from a token, without its prefix [`BEARER`], and a certificate's common name.
    fn new(token: Option<&str>, certificate: Option<String>) -> Self {
        if token.is_none() && certificate.is_none() {
            return Self(None);
        }
        let token = token.map(|token| token.strip_prefix(BEARER).unwrap_or(token).to_owned());
        Self(Some(Arc::new(PresentedCredentials {
            token,
            certificate,
            claimed: OnceLock::new(),
        })))
    }

    /// Returns the caller of `token`, the signed token of these credentials. Returns `None` if the token is invalid or expired.
    /// Verifies the signature of a valid token only once.
    pub(super) fn verified_claims(&self, jwt: &Jwt, token: &str) -> Option<Caller> {
        let presented = self.0.as_ref()?;
        let claimed = match presented.claimed.get() {
            Some(claimed) => claimed,
            None => {
                let claimed = jwt.verify(token)?;
                presented.claimed.get_or_init(|| claimed)
            }
        };
        claimed.is_current().then(|| claimed.caller.clone())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.0.as_ref()?.token.as_deref()
    }

    pub(super) fn certificate(&self) -> Option<&str> {
        self.0.as_ref()?.certificate.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_token_can_be_in_either_header() {
        let token = |pairs: &[_]| {
            let credentials = Credentials::of_call(&headers(pairs), None);
            credentials.token().map(str::to_owned)
        };
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("token", "a.1")]).unwrap(), "a.1");
        assert_eq!(token(&[("authorization", "Bearer a.1")]).unwrap(), "a.1");
        let both = [("authorization", "b.2"), ("token", "a.1")];
        assert_eq!(token(&both).unwrap(), "a.1");
    }

    #[test]
    fn the_certificate_of_a_gateway_identifies_no_user() {
        let certificate = |pairs: &[_]| {
            let credentials = Credentials::of_call(&headers(pairs), Some("root".to_owned()));
            credentials.certificate().map(str::to_owned)
        };
        assert_eq!(certificate(&[]).unwrap(), "root");
        assert_eq!(certificate(&[("accept", "*/*")]).unwrap(), "root");
        let forwarded = ("grpcgateway-accept", "*/*");
        assert_eq!(certificate(&[forwarded]), None);
        assert_eq!(certificate(&[forwarded, ("token", "a.1")]), None);
    }

    #[test]
    fn debug_does_not_print_credentials() {
        let credentials = Credentials::of_token(Some("verysecret"));
        assert!(!format!("{credentials:?}").contains("verysecret"));
    }
}
