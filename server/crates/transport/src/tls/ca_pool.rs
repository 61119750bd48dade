//! The CAs that verify certificates. As in Go, a certificate in the CA file is accepted without a chain. Such a certificate may
//! even be self-signed, which webpki refuses.

use std::{collections::HashSet, sync::Arc};

use rustls::{
    CertificateError, DistinguishedName, Error, RootCertStore,
    pki_types::{CertificateDer, UnixTime},
};
use x509_cert::{
    TbsCertificate, Version,
    der::oid::{ObjectIdentifier, db::rfc5280::ANY_EXTENDED_KEY_USAGE},
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
};

use super::client_certificate::parse_certificate;

/// Trusted CAs, from a file or from the system.
#[derive(Debug)]
pub(super) struct TrustedPool {
    /// The certificates that may sign others.
    pub(super) roots: Arc<RootCertStore>,
    /// The subjects of all certificates in the file.
    pub(super) subjects: Vec<DistinguishedName>,
    certificates: HashSet<CertificateDer<'static>>,
}

impl TrustedPool {
    /// Creates a pool from the certificates in a file. Fails if one of them cannot be parsed. As in Go, only CAs among them can
    /// sign other certificates. webpki does not check this for a trusted certificate.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut all = RootCertStore::empty();
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            all.add(certificate.clone())?;
            if signs(certificate).ok_or(CertificateError::BadEncoding)? {
                roots.add(certificate.clone())?;
            }
        }
        let (roots, subjects) = (Arc::new(roots), all.subjects());
        let certificates = certificates.into_iter().collect();
        Ok(Self { roots, subjects, certificates })
    }

    /// Creates a pool from [`system_roots`]. Never fails, but the pool may be empty.
    pub(super) fn of_system() -> Self {
        let roots = Arc::new(system_roots());
        Self { roots, subjects: Vec::new(), certificates: HashSet::new() }
    }

    /// Returns whether a certificate is in the file; always `false` for the system's CAs. Fails if such a certificate is not
    /// valid at `now` or for `purpose`.
    pub(super) fn holds(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        purpose: ObjectIdentifier,
    ) -> Result<bool, Error> {
        if !self.certificates.contains(certificate) {
            return Ok(false);
        }
        let parsed = parse_certificate(certificate).ok_or(CertificateError::BadEncoding)?;
        let parsed = parsed.tbs_certificate;
        let valid = &parsed.validity;
        if now.as_secs() < valid.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > valid.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        match serves(&parsed, purpose) {
            Some(true) => Ok(true),
            Some(false) => Err(CertificateError::InvalidPurpose.into()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }
}

/// Returns whether a certificate may be used for `purpose`. Without a list of purposes, it may be used for any purpose. Returns
/// `None` if the list cannot be parsed.
pub(super) fn serves(certificate: &TbsCertificate, purpose: ObjectIdentifier) -> Option<bool> {
    let Some((_, listed)) = certificate.get::<ExtendedKeyUsage>().ok()? else {
        return Some(true);
    };
    let wanted = [purpose, ANY_EXTENDED_KEY_USAGE];
    Some(listed.0.iter().any(|id| wanted.contains(id)))
}

/// Returns whether a certificate may sign others. It must be a CA, and its key usage, if present, must include this use. A
/// certificate of version 1 has no such fields and may sign. Returns `None` if the certificate cannot be parsed.
fn signs(certificate: &CertificateDer<'_>) -> Option<bool> {
    let parsed = parse_certificate(certificate)?.tbs_certificate;
    let is_ca = match parsed.get::<BasicConstraints>().ok()? {
        Some((_, constraints)) => constraints.ca,
        None => parsed.version != Version::V3,
    };
    let usage = parsed.get::<KeyUsage>().ok()?;
    Some(is_ca && usage.is_none_or(|(_, usage)| usage.key_cert_sign()))
}

/// Returns the system's CAs. If `SSL_CERT_FILE` (a file) or `SSL_CERT_DIR` (directories separated by colons) is set, returns
/// only the CAs at these paths. Skips unreadable certificates, so the result may be empty.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
    };
    use x509_cert::der::{
        Encode as _,
        oid::db::rfc5912::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
    };

    use super::*;

    /// Creates a self-signed certificate that is allowed for these purposes and valid in 2020.
    fn own_authority(purposes: &[ExtendedKeyUsagePurpose]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = purposes.to_vec();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// Returns a time early in the year.
    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(
            (year - 1970) * 365 * 86_400 + 60 * 86_400,
        ))
    }

    #[test]
    fn a_certificate_in_the_file_is_accepted_while_it_is_valid_and_for_its_purposes() {
        let (client, server) = (ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH);
        let any = own_authority(&[]);
        let serving = own_authority(&[ExtendedKeyUsagePurpose::ServerAuth]);
        let pool = TrustedPool::new(vec![any.clone(), serving.clone()]).unwrap();
        let refused = |error: CertificateError| Err(Error::from(error));
        for (certificate, when, purpose, expect) in [
            (&any, 2020, client, Ok(true)),
            (&any, 2020, server, Ok(true)),
            (&any, 2019, client, refused(CertificateError::NotValidYet)),
            (&any, 2021, client, refused(CertificateError::Expired)),
            (&serving, 2020, server, Ok(true)),
            (
                &serving,
                2020,
                client,
                refused(CertificateError::InvalidPurpose),
            ),
            (&own_authority(&[]), 2020, client, Ok(false)),
        ] {
            let got = pool.holds(certificate, year(when), purpose);
            assert_eq!(got, expect, "{when} {purpose:?}");
        }
    }

    /// A server sends the subjects of all certificates, because some clients choose their certificate by them.
    #[test]
    fn a_certificate_that_cannot_sign_stays_in_the_pool() {
        let authority = own_authority(&[]);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().self_signed(&key).unwrap();
        let leaf = leaf.der().clone();
        let mut first_version = parse_certificate(&leaf).unwrap();
        first_version.tbs_certificate.version = Version::V1;
        let first_version = CertificateDer::from(first_version.to_der().unwrap());
        for (certificates, subjects, roots) in [
            (vec![authority.clone(), leaf.clone()], 2, 1),
            (vec![leaf.clone()], 1, 0),
            (vec![first_version], 1, 1),
        ] {
            let pool = TrustedPool::new(certificates).unwrap();
            assert_eq!((pool.subjects.len(), pool.roots.len()), (subjects, roots));
        }
        let torn = CertificateDer::from(leaf[..leaf.len() - 1].to_vec());
        assert!(TrustedPool::new(vec![authority, torn]).is_err());
    }
}
