//! The authority's secret on its way from one authority to the next. Where it is follows from what is in it.
//!
//! `ca.crt` is what everyone trusts, the authority that signs first; it is beside each certificate, too, and says there
//! whether the certificate is up to date. Besides the pair that signs, `next.crt` and `next.key` are there while the next
//! authority is trusted and does not sign yet.

use std::time::SystemTime;

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::ResourceExt as _;

use super::{new_authority, of_authority, value};
use crate::{
    crd::Span,
    model::{AuthoritySeen, Rotation},
    resources::{
        AUTHORITY_OVERLAP, Cluster, ROTATE_AUTHORITY, ROTATED_AT, ResourceError, fingerprint,
    },
};

/// How long both authorities are trusted before each of the two changes that follow, unless the annotation says
/// otherwise: clients outside of the cluster fetch what they trust and show within a day.
const OVERLAP: &str = "24h";

const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";

/// Returns the secret of the authority with its rotation one step further.
pub fn rotated(
    cluster: &Cluster<'_>,
    present: &Secret,
    to: Rotation,
    now: SystemTime,
) -> Result<Secret, ResourceError> {
    let part = |file| value(present, file).map(|text| String::from_utf8_lossy(text).into_owned());
    let (signer, key) = (part("tls.crt")?, part("tls.key")?);
    let files = match to {
        Rotation::Introduced => {
            let [next, next_key] = new_authority(cluster, now)?;
            let trusted = format!("{signer}{next}");
            vec![
                ("tls.crt", signer),
                ("tls.key", key),
                ("ca.crt", trusted),
                (NEXT_CERTIFICATE, next),
                (NEXT_KEY, next_key),
            ]
        }
        Rotation::Switched => {
            let next = part(NEXT_CERTIFICATE)?;
            let trusted = format!("{next}{signer}");
            let key = part(NEXT_KEY)?;
            vec![("tls.crt", next), ("tls.key", key), ("ca.crt", trusted)]
        }
        Rotation::Rest => vec![
            ("tls.crt", signer.clone()),
            ("tls.key", key),
            ("ca.crt", signer),
        ],
    };
    let mut secret = of_authority(cluster, files);
    let request = match to {
        Rotation::Introduced => cluster.resource.annotations().get(ROTATE_AUTHORITY),
        Rotation::Switched | Rotation::Rest => present.annotations().get(ROTATE_AUTHORITY),
    };
    let annotations = secret.metadata.annotations.get_or_insert_default();
    if let Some(request) = request {
        annotations.insert(ROTATE_AUTHORITY.to_owned(), request.clone());
    }
    let at = Timestamp::try_from(now).map_err(super::failed)?;
    annotations.insert(ROTATED_AT.to_owned(), at.to_string());
    // another operator may have been quicker, with another authority
    secret.metadata.resource_version = present.metadata.resource_version.clone();
    Ok(secret)
}

/// Reads the step of the rotation from the authority's secret, and whether the user asks for a new authority.
pub fn authority_seen(cluster: &Cluster<'_>, secret: &Secret) -> AuthoritySeen {
    let is = |file| value(secret, file).is_ok();
    let same = value(secret, "tls.crt").ok() == value(secret, "ca.crt").ok();
    let asks = |of: Option<&String>| of.filter(|text| !text.is_empty()).cloned();
    let wanted = asks(cluster.resource.annotations().get(ROTATE_AUTHORITY));
    let overlap = cluster.resource.annotations().get(AUTHORITY_OVERLAP);
    // no schema looks at an annotation: a text that is no span must not mean that there is no overlap
    let overlap = overlap.and_then(|text| Span::parse(text));
    let overlap = overlap.unwrap_or_else(|| Span(OVERLAP.to_owned()));
    let since = secret.annotations().get(ROTATED_AT);
    let since = since.and_then(|at| at.parse::<Timestamp>().ok());
    AuthoritySeen {
        rotation: match (is(NEXT_CERTIFICATE) && is(NEXT_KEY), same) {
            (true, _) => Rotation::Introduced,
            (false, false) => Rotation::Switched,
            (false, true) => Rotation::Rest,
        },
        since: since.map_or(0, Timestamp::as_second),
        asked: wanted.is_some() && wanted != asks(secret.annotations().get(ROTATE_AUTHORITY)),
        overlap: overlap.seconds(),
    }
}

/// Returns the fingerprint of the trusted authorities once they have changed; `None` before. As an annotation
/// of the pods it restarts them at each change, which alone ensures that members trust them.
pub fn trust(authority: &Secret) -> Option<String> {
    authority.annotations().get(ROTATED_AT)?;
    Some(fingerprint(&value(authority, "ca.crt").ok()?))
}
