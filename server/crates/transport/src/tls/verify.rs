//! Verifies certificates. webpki checks signatures; this file checks revocation and, as in etcd, allowed names.

use std::{collections::HashSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use witan_logging::{LogLimit, shorten};
use x509_cert::der::oid::db::rfc5912::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};

use super::{
    ca_pool::TrustedPool,
    client_certificate::{common_name, parse_certificate},
    subject_names,
};

// Any client with a certificate can cause these log lines.
static REVOKED: LogLimit = LogLimit::new();
static COMMON_NAMES: LogLimit = LogLimit::new();
static HOST_NAMES: LogLimit = LogLimit::new();

/// The revocation list.
#[derive(Clone, Debug)]
pub(super) enum Revoked {
    /// No list is configured.
    None,
    /// The revoked serial numbers. As in etcd, the issuer is not compared.
    Serials(Arc<HashSet<Vec<u8>>>),
    /// The list cannot be read, so any certificate may be revoked.
    Unknown,
}

/// The names that a certificate must have.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedNames {
    /// Allowed host names. If not empty, a certificate must be valid for one of them.
    pub(super) hostnames: Vec<ServerName<'static>>,
    /// Allowed common names. If not empty, a certificate must have one of them.
    pub(super) common_names: Vec<String>,
}

/// Verifies client certificates: signatures, revocation and allowed names.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) trusted: Arc<TrustedPool>,
    /// The verifier of chains, or `None` if the pool has no CA.
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) revoked: Revoked,
    pub(super) names: AllowedNames,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Revoked {
    /// Fails if the certificate's serial number is revoked or cannot be parsed. Always fails if the revocation list cannot be
    /// read, and never if none is configured. Logs some of the refusals.
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let serials = match self {
            Revoked::None => return Ok(()),
            Revoked::Unknown => return Err(CertificateError::UnknownRevocationStatus.into()),
            Revoked::Serials(serials) => serials,
        };
        let Some(parsed) = parse_certificate(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let parsed = parsed.tbs_certificate;
        if !serials.contains(parsed.serial_number.as_bytes()) {
            return Ok(());
        }
        if let Some(left_out) = REVOKED.admit() {
            tracing::warn!(
                serial = %parsed.serial_number,
                common_name = shorten(&common_name(&parsed.subject)),
                left_out,
                "refused a certificate that is revoked"
            );
        }
        Err(CertificateError::Revoked.into())
    }

    /// Fails if any certificate of the chain is revoked; see [`Revoked::check`].
    fn check_all(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        self.check(end_entity)?;
        intermediates.iter().try_for_each(|it| self.check(it))
    }
}

impl AllowedNames {
    /// Fails if the certificate does not have an allowed name of each kind that is configured. Logs some of the refusals.
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.check_common_name(certificate)?;
        self.check_hostname(certificate)
    }

    /// Fails if the certificate does not have an allowed common name. Succeeds if no common names are configured.
    fn check_common_name(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.common_names.is_empty() {
            return Ok(());
        }
        let parsed = parse_certificate(certificate).ok_or(CertificateError::BadEncoding)?;
        let name = common_name(&parsed.tbs_certificate.subject);
        if self.common_names.contains(&name) {
            return Ok(());
        }
        if let Some(left_out) = COMMON_NAMES.admit() {
            tracing::warn!(
                common_name = shorten(&name),
                allowed = self.common_names.join(", "),
                left_out,
                "refused a certificate whose common name is not allowed"
            );
        }
        Err(CertificateError::NotValidForName.into())
    }

    /// Fails if the certificate is not valid for any allowed host name. Succeeds if no host names are configured.
    fn check_hostname(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.hostnames.is_empty() {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let allowed = |name| verify_server_name(&parsed, name).is_ok();
        if self.hostnames.iter().any(allowed) {
            return Ok(());
        }
        if let Some(left_out) = HOST_NAMES.admit() {
            let names = subject_names::of(certificate).unwrap_or_default();
            let allowed: Vec<_> = self.hostnames.iter().map(ServerName::to_str).collect();
            tracing::warn!(
                names = shorten(&names.join(", ")),
                allowed = allowed.join(", "),
                left_out,
                "refused a certificate that is not valid for any allowed host name"
            );
        }
        Err(CertificateError::NotValidForName.into())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trusted.subjects
    }

    /// Accepts a certificate that is in the CA file or whose chain leads to a trusted CA. Fails if a certificate of the chain
    /// is revoked, or if the client's certificate has no allowed name.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.trusted.holds(end_entity, now, ID_KP_CLIENT_AUTH)? {
            let chain = self.chain.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.revoked.check_all(end_entity, intermediates)?;
        self.names.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// If the error says that the certificate is not valid for the expected name, adds the certificate's names to it. Returns any
/// other error unchanged.
fn with_names(error: Error, certificate: &CertificateDer<'_>) -> Error {
    let Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, .. }) =
        error
    else {
        return error;
    };
    let presented = subject_names::of(certificate).unwrap_or_default();
    CertificateError::NotValidForNameContext { expected, presented }.into()
}

/// Verifies the certificate of a member that this member connects to.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// The trusted CAs. `None` accepts any certificate (`--peer-auto-tls`), so the other side is not authenticated.
    pub(super) trusted: Option<Arc<TrustedPool>>,
    /// The verifier of chains, or `None` if the pool has no CA.
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    pub(super) revoked: Revoked,
    pub(super) names: AllowedNames,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Returns a verifier that accepts any server certificate.
pub fn any_server() -> Arc<dyn ServerCertVerifier> {
    Arc::new(ServerVerifier {
        trusted: None,
        chain: None,
        revoked: Revoked::None,
        names: AllowedNames::default(),
        algorithms: ring::default_provider().signature_verification_algorithms,
    })
}

impl ServerCertVerifier for ServerVerifier {
    /// Accepts a certificate for `server_name` that is in the CA file or whose chain leads to a trusted CA. Fails if a
    /// certificate of the chain is revoked, or if the member's certificate has no allowed name. Without trusted CAs, accepts
    /// any certificate.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = if trusted.holds(end_entity, now, ID_KP_SERVER_AUTH)? {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
        } else {
            let chain = self.chain.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map(|_| ())
        };
        verified.map_err(|error| with_names(error, end_entity))?;
        self.revoked.check_all(end_entity, intermediates)?;
        self.names.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
