//! Issues and checks certificates: each cluster's CA, and the certificates that this CA signs. `tls/rotation.rs` replaces the
//! CA.

mod rotation;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use x509_cert::{
    Certificate,
    der::{
        DecodePem,
        pem::{self, LineEnding},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
};

pub(crate) use rotation::{authority_seen, next_authority, renewed, rotated, trust};
use witan_crd::{CertificateRole, secret_file};
use witan_plan::model::{CertificateSeen, UnixSeconds};

use super::{
    BuildResult, ResourceError,
    names::{Cluster, ROTATION},
};

/// The files of a secret: a certificate, its key, and the trusted CAs. The first trusted CA signs.
pub(super) const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

const NEXT: [&str; 2] = ["next.crt", "next.key"];

const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Tolerated clock skew. A certificate becomes valid this long before it is issued.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The operator's etcd user, which is the common name of the operator's certificate.
const OPERATOR_USER: &str = "root";

/// Returns the secret of a new CA. A pending rotation request is recorded as started, because the CA is new.
pub(crate) fn authority(cluster: &Cluster<'_>, now: SystemTime) -> BuildResult<Secret> {
    let [certificate, key] = new_authority(cluster, now)?;
    let files = [certificate.clone(), key, certificate];
    let request = cluster.resource.requests().rotate_certificates;
    Ok(of_authority(cluster, files, None, request))
}

/// Creates a CA. Returns its certificate and its key in PEM.
fn new_authority(cluster: &Cluster<'_>, now: SystemTime) -> BuildResult<[String; 2]> {
    let key = KeyPair::generate().map_err(failed)?;
    let params = authority_params(cluster, now)?;
    pem_files(&params.self_signed(&key).map_err(failed)?, &key)
}

/// Returns the secret of a CA. `files` are the contents of [`FILES`]. `next` is the next CA until it signs. `request` is the
/// last rotation request for which a rotation was started.
fn of_authority(
    cluster: &Cluster<'_>,
    files: [String; 3],
    next: Option<[String; 2]>,
    request: Option<String>,
) -> Secret {
    let mut secret = secret(cluster, CertificateRole::Authority, files);
    let next = NEXT.into_iter().zip(next.into_iter().flatten());
    secret.data.get_or_insert_default().extend(next.map(file));
    if let Some(request) = request {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(ROTATION.to_owned(), request);
    }
    secret
}

/// Issues a new certificate and key for a role. The CA in `authority` signs the certificate. Returns the secret with the
/// certificate, the key and the trusted CAs.
pub(crate) fn issue(
    cluster: &Cluster<'_>,
    role: CertificateRole,
    authority: &Secret,
    now: SystemTime,
) -> BuildResult<Secret> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    let names = names(cluster, role).into_iter().map(san);
    params.subject_alt_names = names.collect::<Result<_, _>>()?;
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + validity(cluster, role)).into();
    params.distinguished_name = DistinguishedName::new();
    let name = common_name(cluster, role);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let (_, authority_key) = pem::decode_vec(value(authority, "tls.key")?).map_err(failed)?;
    let authority_key = KeyPair::try_from(authority_key.as_slice()).map_err(failed)?;
    let issuer = Issuer::new(authority_params(cluster, now)?, authority_key);
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    let [certificate, key] = pem_files(&certificate, &key)?;
    let files = [certificate, key, text(authority, "ca.crt")?];
    Ok(secret(cluster, role, files))
}

/// Reads the values for `plan` from the secret of a certificate. Without a key or a readable certificate, the result does not
/// fit and has the expiry time 0. Without `authority`, only the certificate of a CA fits.
pub(crate) fn observe_certificate(
    cluster: &Cluster<'_>,
    role: CertificateRole,
    secret: &Secret,
    authority: Option<&Secret>,
) -> CertificateSeen {
    let read = || {
        value(secret, "tls.key").ok()?;
        not_after(value(secret, "tls.crt").ok()?)
    };
    let Some(not_after) = read() else {
        return CertificateSeen::default();
    };
    let fits = role == CertificateRole::Authority
        || (signed_by(secret, authority) && is_for(cluster, role, secret));
    CertificateSeen { not_after, fits }
}

/// Reads the expiry time of a PEM certificate; `None` if the certificate is unreadable.
fn not_after(certificate: &[u8]) -> Option<UnixSeconds> {
    let certificate = Certificate::from_pem(certificate).ok()?;
    let end = certificate.tbs_certificate.validity.not_after;
    UnixSeconds::try_from(end.to_unix_duration().as_secs()).ok()
}

/// Returns whether the certificate of a secret has exactly the alternative names that its role needs, in any order. Returns
/// `false` if the certificate is unreadable.
fn is_for(cluster: &Cluster<'_>, role: CertificateRole, secret: &Secret) -> bool {
    let certificate = value(secret, "tls.crt").ok();
    let Some(certificate) = certificate.and_then(|text| Certificate::from_pem(text).ok()) else {
        return false;
    };
    let extension = certificate.tbs_certificate.get::<SubjectAltName>();
    let found: Vec<String> = match extension {
        Ok(Some((_, found))) => found.0.iter().filter_map(name_text).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    let wanted = names(cluster, role);
    wanted.len() == found.len() && wanted.iter().all(|name| found.contains(name))
}

/// Returns whether the current CA issued the certificate in `secret`: both secrets list the same trusted CAs. Returns `false`
/// without `authority`.
fn signed_by(secret: &Secret, authority: Option<&Secret>) -> bool {
    let trusted = value(secret, "ca.crt").ok();
    let present = authority.and_then(|authority| value(authority, "ca.crt").ok());
    trusted.is_some() && trusted == present
}

/// Returns a DNS name or an IP address as text; `None` for any other kind of name.
fn name_text(name: &GeneralName) -> Option<String> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only two kinds of names are supported, and the library may add others"
    )]
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Returns the distinct alternative names of a certificate. A wildcard name under the peer service's domain covers all members,
/// so scaling does not require a new certificate. The certificates of the CA and of the operator have no alternative names.
pub(super) fn names(cluster: &Cluster<'_>, role: CertificateRole) -> Vec<String> {
    let (peer, space) = (cluster.resource.peer_service(), &cluster.namespace);
    let mut names = vec![
        format!("*.{peer}.{space}.svc"),
        format!("*.{peer}.{space}.svc.cluster.local"),
    ];
    match role {
        CertificateRole::Authority | CertificateRole::Operator => return Vec::new(),
        CertificateRole::Peer => {}
        CertificateRole::Server => {
            names.extend(service_names(cluster, &cluster.resource.client_service()));
            names.extend(["localhost", "127.0.0.1"].map(str::to_owned));
            // Clients may use a service name that the user chose. Only members use the default name.
            let given = cluster.resource.given_peer_service();
            names.extend(given.iter().flat_map(|peer| service_names(cluster, peer)));
        }
    }
    if let Some(more) = cluster.spec().certificate_source(role) {
        names.extend(more.additional_dns_names.clone());
        names.extend(more.additional_ip_addresses.clone());
    }
    // An address has several notations, but a certificate must list each address once.
    let canonical = |name: String| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name,
    };
    let mut seen = BTreeSet::new();
    let names = names.into_iter().map(canonical);
    names.filter(|name| seen.insert(name.clone())).collect()
}

/// Returns the DNS names of a service, from the shortest to the fully qualified name.
fn service_names(cluster: &Cluster<'_>, service: &str) -> [String; 4] {
    let space = &cluster.namespace;
    [
        service.to_owned(),
        format!("{service}.{space}"),
        format!("{service}.{space}.svc"),
        format!("{service}.{space}.svc.cluster.local"),
    ]
}

/// Converts an IP address or a DNS name to a subject alternative name. Fails for any other text.
fn san(name: String) -> BuildResult<SanType> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into().map_err(failed)?)),
    }
}

/// Returns the common name of the certificate of a role. The common name of the operator's certificate is the operator's etcd
/// user.
pub(super) fn common_name(cluster: &Cluster<'_>, role: CertificateRole) -> String {
    match role {
        CertificateRole::Authority => {
            let (name, space) = (&cluster.name, &cluster.namespace);
            // A common name has at most 64 characters.
            format!("{name}.{space}").chars().take(64).collect()
        }
        CertificateRole::Peer => format!("{}-peer", cluster.name),
        CertificateRole::Server => format!("{}-client", cluster.name),
        CertificateRole::Operator => OPERATOR_USER.to_owned(),
    }
}

/// Returns the lifetime of a role's certificates from the spec, or the default.
fn validity(cluster: &Cluster<'_>, role: CertificateRole) -> Duration {
    let source = cluster.spec().certificate_source(role);
    let managed = source.and_then(|source| source.managed.clone());
    managed.unwrap_or_default().duration.duration()
}

/// Returns the parameters of a CA that cannot sign other CAs.
fn authority_params(cluster: &Cluster<'_>, now: SystemTime) -> BuildResult<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + AUTHORITY_VALIDITY).into();
    params.distinguished_name = DistinguishedName::new();
    let name = common_name(cluster, CertificateRole::Authority);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Returns the secret of a role, owned by the cluster. `files` are the contents of [`FILES`].
fn secret(cluster: &Cluster<'_>, role: CertificateRole, files: [String; 3]) -> Secret {
    Secret {
        metadata: cluster.meta(cluster.resource.secret_name(role)),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(FILES.into_iter().zip(files).map(file).collect()),
        ..Secret::default()
    }
}

fn file((name, text): (&str, String)) -> (String, ByteString) {
    (name.to_owned(), ByteString(text.into_bytes()))
}

/// Returns a file in a secret. Fails if the secret does not contain it.
fn value<'a>(secret: &'a Secret, file: &str) -> BuildResult<&'a [u8]> {
    secret_file(secret, file).ok_or_else(|| failed(format!("the secret has no {file}")))
}

/// Returns a file in a secret as text, like [`value`]. Replaces bytes that are not UTF-8.
fn text(secret: &Secret, file: &str) -> BuildResult<String> {
    value(secret, file).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Returns a certificate and its key in PEM.
fn pem_files(certificate: &rcgen::Certificate, key: &KeyPair) -> BuildResult<[String; 2]> {
    let pem = |label: &str, der: &[u8]| pem::encode_string(label, LineEnding::LF, der);
    let certificate = pem("CERTIFICATE", certificate.der()).map_err(failed)?;
    let key = pem("PRIVATE KEY", key.serialized_der()).map_err(failed)?;
    Ok([certificate, key])
}

fn failed(error: impl std::fmt::Display) -> ResourceError {
    ResourceError(format!("cannot create or read a certificate: {error}"))
}
