//! Builds the secret of the CA during a rotation. The contents determine the stage.
//!
//! `ca.crt` holds the trusted CAs, the signing CA first. Each certificate's secret has a copy, which shows whether the
//! certificate is up to date. `next.crt` and `next.key` exist while the next CA is trusted but does not sign yet.

use std::time::SystemTime;

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::ResourceExt as _;
use witan_crd::{AUTHORITY_OVERLAP, CertificateRole, Span};
use witan_plan::model::{AuthoritySeen, Rotation};

use super::{NEXT, is_for, issue, new_authority, of_authority, secret, signed_by, text, value};
use crate::resources::{BuildResult, Cluster, ROTATED_AT, ROTATION, fingerprint};

/// Time for which both CAs are trusted before each of the next two stages, unless the annotation overrides it. Clients outside
/// the cluster must fetch new CAs and certificates within this time.
const OVERLAP: &str = "24h";

const PEM_END: &str = "-----END CERTIFICATE-----\n";

/// Returns the secret of the CA at the stage `to` of its rotation. `present` is the secret at the previous stage. The apply of
/// the result fails if the secret has changed since `present` was read.
pub(crate) fn rotated(
    cluster: &Cluster<'_>,
    present: &Secret,
    to: Rotation,
    now: SystemTime,
) -> BuildResult<Secret> {
    let (signer, key) = (text(present, "tls.crt")?, text(present, "tls.key")?);
    let (files, next) = match to {
        Rotation::Introduced => {
            let next = new_authority(cluster, now)?;
            let trusted = format!("{signer}{}", next[0]);
            ([signer, key, trusted], Some(next))
        }
        Rotation::Switched => {
            let (next, key) = (text(present, NEXT[0])?, text(present, NEXT[1])?);
            let trusted = format!("{next}{signer}");
            ([next, key, trusted], None)
        }
        Rotation::Rest => ([signer.clone(), key, signer], None),
    };
    let request = match to {
        Rotation::Introduced => cluster.resource.requests().rotate_certificates,
        Rotation::Switched | Rotation::Rest => present.annotations().get(ROTATION).cloned(),
    };
    let mut secret = of_authority(cluster, files, next, request);
    let at = Timestamp::try_from(now).map_err(super::failed)?.to_string();
    secret.annotations_mut().insert(ROTATED_AT.to_owned(), at);
    // With the resource version, the apply fails if the secret has changed since it was read.
    secret.metadata.resource_version = present.metadata.resource_version.clone();
    Ok(secret)
}

/// Builds the secret of a CA. If one of the secrets `signed` contains a certificate and its CA, the new CA succeeds this lost
/// CA, so that members still trust it. Without such a secret, or if each lost CA has expired or is unreadable, the new CA has no
/// predecessor.
pub(crate) fn next_authority<'s>(
    cluster: &Cluster<'_>,
    signed: impl IntoIterator<Item = &'s Secret>,
    now: SystemTime,
) -> BuildResult<Secret> {
    let mut signed = signed.into_iter();
    let next = signed.find_map(|signed| succeeding(cluster, signed, now));
    next.map_or_else(|| super::authority(cluster, now), Ok)
}

/// Returns the secret of the CA that succeeds a CA whose key is lost; `None` if the lost CA has expired or is unreadable. `of`
/// is the secret of a certificate that the lost CA signed. The next CA is introduced, and existing certificates are kept.
fn succeeding(cluster: &Cluster<'_>, of: &Secret, now: SystemTime) -> Option<Secret> {
    let trusted = text(of, "ca.crt").ok()?;
    // The first CA in the file signs.
    let former = trusted.split_inclusive(PEM_END).next().unwrap_or_default();
    let ends = super::not_after(former.as_bytes()).unwrap_or(0);
    let at = Timestamp::try_from(now).ok()?;
    if ends <= at.as_second() {
        return None;
    }
    let next = new_authority(cluster, now).ok()?;
    let trusted = format!("{former}{}", next[0]);
    let files = [former.to_owned(), String::new(), trusted];
    let request = cluster.resource.requests().rotate_certificates;
    let mut made = of_authority(cluster, files, Some(next), request);
    let at = at.to_string();
    made.annotations_mut().insert(ROTATED_AT.to_owned(), at);
    Some(made)
}

/// Reissues the certificate of a role, whose current secret is `present`, if it exists. While the CA's key is lost, keeps a
/// certificate with the right names if its secret does not contain the next CA yet. Adds the next CA to that secret. The next
/// CA signs any other certificate.
pub(crate) fn renewed(
    cluster: &Cluster<'_>,
    role: CertificateRole,
    authority: &Secret,
    present: Option<&Secret>,
    now: SystemTime,
) -> BuildResult<Secret> {
    if !value(authority, "tls.key")?.is_empty() {
        return issue(cluster, role, authority, now);
    }
    let kept = present.filter(|present| !signed_by(present, Some(authority)));
    let Some(kept) = kept.filter(|kept| is_for(cluster, role, kept)) else {
        let mut next = authority.clone();
        let key = value(authority, NEXT[1])?.to_vec();
        let files = next.data.get_or_insert_default();
        files.insert("tls.key".to_owned(), k8s_openapi::ByteString(key));
        return issue(cluster, role, &next, now);
    };
    let (certificate, key) = (text(kept, "tls.crt")?, text(kept, "tls.key")?);
    let files = [certificate, key, text(authority, "ca.crt")?];
    Ok(secret(cluster, role, files))
}

/// Reads the rotation stage from the CA's secret and determines whether a new CA has been requested. The overlap is [`OVERLAP`]
/// unless the annotation has a valid duration.
pub(crate) fn authority_seen(cluster: &Cluster<'_>, secret: &Secret) -> AuthoritySeen {
    let is = |file| value(secret, file).is_ok();
    let same = value(secret, "tls.crt").ok() == value(secret, "ca.crt").ok();
    let wanted = cluster.resource.requests().rotate_certificates;
    let overlap = cluster.resource.annotations().get(AUTHORITY_OVERLAP);
    // No schema validates the annotation. An invalid duration must not disable the overlap.
    let overlap = overlap.and_then(|text| Span::parse(text));
    let overlap = overlap.unwrap_or_else(|| Span(OVERLAP.to_owned()));
    let since = secret.annotations().get(ROTATED_AT);
    let since = since.and_then(|at| at.parse::<Timestamp>().ok());
    AuthoritySeen {
        rotation: match (NEXT.into_iter().all(is), same) {
            (true, _) => Rotation::Introduced,
            (false, false) => Rotation::Switched,
            (false, true) => Rotation::Rest,
        },
        since: since.map_or(0, Timestamp::as_second),
        requested: wanted.is_some() && wanted.as_ref() != secret.annotations().get(ROTATION),
        overlap: overlap.seconds(),
    }
}

/// Returns the fingerprint of the trusted CAs; `None` before the first rotation, or if the secret has no CAs. The fingerprint
/// is an annotation of the pods, so each change restarts them, and members load the new CAs.
pub(crate) fn trust(authority: &Secret) -> Option<String> {
    authority.annotations().get(ROTATED_AT)?;
    Some(fingerprint(&value(authority, "ca.crt").ok()?))
}
