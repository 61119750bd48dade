//! Verifies client certificates: signed by the authority (by webpki), not revoked and with an
//! allowed name (here, as in etcd).

use std::{collections::HashSet, sync::Arc};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::peer;

/// What the list of revoked certificates says.
#[derive(Clone, Debug)]
pub(super) enum Revoked {
    /// There is no list.
    None,
    /// Serial numbers. As in etcd it does not matter whose they are.
    Serials(Arc<HashSet<Vec<u8>>>),
    /// The list cannot be read: every certificate may be revoked.
    Unknown,
}

/// See this file's head.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) revoked: Revoked,
    /// Names of which one must be in the certificate; empty for any.
    pub(super) hostnames: Vec<ServerName<'static>>,
}

impl ClientVerifier {
    fn check_revoked(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let serials = match &self.revoked {
            Revoked::None => return Ok(()),
            Revoked::Unknown => return Err(CertificateError::UnknownRevocationStatus.into()),
            Revoked::Serials(serials) => serials,
        };
        let Some(parsed) = peer::parse(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let parsed = parsed.tbs_certificate;
        if !serials.contains(parsed.serial_number.as_bytes()) {
            return Ok(());
        }
        tracing::warn!(
            serial = %parsed.serial_number,
            common_name = peer::common_name(&parsed.subject),
            "refused a client whose certificate is revoked"
        );
        Err(CertificateError::Revoked.into())
    }

    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.hostnames.is_empty() {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let allowed = |name| verify_server_name(&parsed, name).is_ok();
        if self.hostnames.iter().any(allowed) {
            Ok(())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        self.check_revoked(end_entity)?;
        for certificate in intermediates {
            self.check_revoked(certificate)?;
        }
        self.check_name(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
