//! The certificate of a client and its common name, which can be a user name. Also parses other certificates.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{
        Decode as _,
        asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef},
        oid::{ObjectIdentifier, db::rfc4519::CN},
    },
    name::Name,
};

/// A verified client certificate, which is in the extensions of a gRPC request.
///
/// Other requests do not carry the certificate, because it must not identify users of the JSON gateway. In etcd, the gateway
/// sends their calls as a client of the server.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<ClientChain>);

#[derive(Debug)]
struct ClientChain {
    common_name: String,
    chain: Vec<CertificateDer<'static>>,
}

impl ClientCertificate {
    /// Keeps a client's certificate chain and reads the common name of its first certificate. Returns `None` if the client sent
    /// no certificate, or if the first one cannot be parsed.
    pub(super) fn of(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let chain = chain?.to_vec();
        let common_name = common_name(&parse_certificate(chain.first()?)?.tbs_certificate.subject);
        Some(Self(Arc::new(ClientChain { common_name, chain })))
    }

    /// Returns the common name in the client's certificate, or an empty string if there is none.
    pub fn common_name(&self) -> &str {
        &self.0.common_name
    }

    /// Returns the client's certificate and its intermediates, in DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }
}

/// Parses a certificate in DER, or returns `None` if the certificate is invalid.
pub(super) fn parse_certificate(certificate: &CertificateDer<'_>) -> Option<Certificate> {
    Certificate::from_der(certificate).ok()
}

/// Returns a subject's common name, or an empty string if there is none in a supported encoding. As in Go, the last of several
/// names is used.
pub(super) fn common_name(subject: &Name) -> String {
    const COMMON_NAME: ObjectIdentifier = CN;
    let mut found = String::new();
    for attribute in subject.0.iter().flat_map(|part| part.0.iter()) {
        if attribute.oid != COMMON_NAME {
            continue;
        }
        let value = &attribute.value;
        let text = (value
            .decode_as::<Utf8StringRef<'_>>()
            .map(|t| t.to_string()))
        .or_else(|_| {
            value
                .decode_as::<PrintableStringRef<'_>>()
                .map(|t| t.to_string())
        })
        .or_else(|_| value.decode_as::<Ia5StringRef<'_>>().map(|t| t.to_string()))
        .or_else(|_| {
            value
                .decode_as::<TeletexStringRef<'_>>()
                .map(|t| t.to_string())
        });
        if let Ok(text) = text {
            found = text;
        }
    }
    found
}
