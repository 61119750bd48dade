//! Bounds the number of paths through the certificates that the other side has sent. Certificates that could all have
//! signed one another keep the library's search for an authority busy for 50 ms, on a thread that serves other
//! connections, and any client may send them.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError, pki_types::CertificateDer};
use x509_cert::Certificate;

use super::peer;

/// With so few intermediate certificates there are few paths.
const FEW_INTERMEDIATES: usize = 3;

/// Intermediate certificates of a chain; with more, the handshake fails.
const INTERMEDIATES_MAX: usize = 32;

/// Certificates on all paths of a chain together; with more, the handshake fails. They suffice for a chain of
/// six with two alternatives at four of its levels.
const STEPS_MAX: usize = 64;

/// Too many paths lead through the certificates.
#[derive(Debug, thiserror::Error)]
#[error("too many possible paths through the certificate chain")]
struct TooManyPaths;

/// Refuses a chain with too many paths.
pub(super) fn check(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Error> {
    if intermediates.len() <= FEW_INTERMEDIATES {
        return Ok(());
    }
    if intermediates.len() > INTERMEDIATES_MAX {
        return Err(too_many());
    }
    let parse = |certificate| peer::parse(certificate).ok_or(CertificateError::BadEncoding);
    let first = parse(end_entity)?;
    let others = intermediates.iter().map(parse);
    let others: Vec<Certificate> = others.collect::<Result<_, _>>()?;
    let mut paths = Paths { others: &others, steps: 0 };
    paths.walk(&mut vec![&first])
}

fn too_many() -> Error {
    CertificateError::Other(OtherError(Arc::new(TooManyPaths))).into()
}

struct Paths<'a> {
    others: &'a [Certificate],
    steps: usize,
}

impl<'a> Paths<'a> {
    /// Continues a path by each certificate that could have signed its last one. As in the library no path
    /// has the same name with the same key twice.
    fn walk(&mut self, path: &mut Vec<&'a Certificate>) -> Result<(), Error> {
        let last = &path[path.len() - 1].tbs_certificate;
        for next in self.others {
            let this = &next.tbs_certificate;
            let known = |before: &&Certificate| {
                let before = &before.tbs_certificate;
                before.subject == this.subject
                    && before.subject_public_key_info == this.subject_public_key_info
            };
            if this.subject != last.issuer || path.iter().any(known) {
                continue;
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(too_many());
            }
            path.push(next);
            self.walk(path)?;
            path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };

    use super::*;

    struct Named {
        params: CertificateParams,
        key: KeyPair,
    }

    fn named(name: &str) -> Named {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Named { params, key }
    }

    /// The certificate of `subject` by `issuer`.
    fn signed(subject: &Named, issuer: &Named) -> CertificateDer<'static> {
        let by = Issuer::from_params(&issuer.params, &issuer.key);
        let certificate = subject.params.signed_by(&subject.key, &by).unwrap();
        certificate.der().clone()
    }

    #[test]
    fn certificates_that_could_have_signed_one_another_are_refused() {
        let twins: Vec<Named> = (0..5).map(|_| named("twin")).collect();
        let pool: Vec<_> = twins.iter().map(|twin| signed(twin, &twins[0])).collect();
        let leaf = signed(&named("leaf"), &twins[0]);
        let refused = check(&leaf, &pool).unwrap_err().to_string();
        assert!(refused.contains("TooManyPaths"), "{refused}");
        // three of them have few paths
        assert_eq!(check(&leaf, &pool[..3]), Ok(()));
    }

    #[test]
    fn a_long_chain_with_its_root_and_cross_signed_authorities_is_taken() {
        let all: Vec<Named> = (0..6).map(|n| named(&n.to_string())).collect();
        let other_root = named("another root");
        let leaf = signed(&named("leaf"), &all[0]);
        let mut chain: Vec<_> = all.windows(2).map(|two| signed(&two[0], &two[1])).collect();
        let root = &all[all.len() - 1];
        chain.push(signed(root, root));
        chain.push(signed(root, &other_root));
        chain.push(signed(&all[1], &other_root));
        chain.push(signed(&other_root, &other_root));
        assert_eq!(check(&leaf, &chain), Ok(()));
    }

    #[test]
    fn very_many_certificates_are_refused() {
        let root = named("root");
        let many = vec![signed(&named("one"), &root); INTERMEDIATES_MAX + 1];
        assert!(check(&signed(&named("leaf"), &root), &many).is_err());
        assert_eq!(check(&signed(&named("leaf"), &root), &many[1..]), Ok(()));
    }
}
