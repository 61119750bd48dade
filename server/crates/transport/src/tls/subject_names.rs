//! Checks, as etcd does, that a connecting member's certificate matches its address. One of the certificate's subject
//! alternative names must be the remote address or resolve to it. Also checks that the certificate belongs to the member that
//! presents it.

use std::net::{IpAddr, SocketAddr};

use futures_util::{StreamExt as _, future, stream};
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use tokio::net::lookup_host;
use x509_cert::{
    der::oid::db::rfc5912::ID_KP_SERVER_AUTH,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{ca_pool, client_certificate::parse_certificate, go_messages};

/// Number of concurrent lookups for a certificate.
const LOOKUPS_AT_ONCE: usize = 8;

/// Checks that one of a verified certificate's alternative names is `remote` or resolves to it. Accepts a certificate without
/// names. `hosts` are the hosts in the members' URLs. For a name with a wildcard, each host that matches the name is tried. If
/// no name matches, fails with Go's message.
pub(super) async fn check(
    certificate: &CertificateDer<'_>,
    remote: SocketAddr,
    hosts: &[String],
) -> Result<(), String> {
    let names = of(certificate).ok_or("the certificate cannot be parsed")?;
    if names.is_empty() {
        return Ok(());
    }
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| error.to_string())?;
    let is_for = |name: ServerName<'_>| verify_server_name(&parsed, &name).is_ok();
    let remote = remote.ip().to_canonical();
    if is_for(ServerName::IpAddress(remote.into())) {
        return Ok(());
    }
    let named = names.iter().filter(|name| !name.starts_with('*'));
    let of_members = hosts.iter().filter(|host| {
        let name = ServerName::try_from(host.as_str());
        name.is_ok_and(is_for)
    });
    let candidates = named.chain(of_members);
    match any(candidates.map(|name| resolves_to(name, remote))).await {
        true => Ok(()),
        false => Err(go_messages::mismatch(&names, &remote.to_string())),
    }
}

/// The verified certificate of a connecting member. It names hosts and is also valid for a server.
#[derive(Debug)]
pub struct MemberCertificate(CertificateDer<'static>);

impl MemberCertificate {
    /// Keeps a certificate. Returns `None` if it names no hosts, is valid only for clients, or cannot be parsed.
    pub(super) fn of(certificate: &CertificateDer<'static>) -> Option<Self> {
        let parsed = parse_certificate(certificate)?.tbs_certificate;
        let serves = ca_pool::serves(&parsed, ID_KP_SERVER_AUTH)?;
        let named = !of(certificate)?.is_empty();
        (serves && named).then(|| Self(certificate.clone()))
    }

    /// Returns whether the certificate is valid for any of these hosts.
    pub fn is_for(&self, hosts: &[String]) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.0) else {
            return false;
        };
        hosts.iter().any(|host| {
            let name = ServerName::try_from(host.as_str());
            name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        })
    }
}

/// Returns whether any lookup succeeds. Runs several lookups concurrently, because a lookup may take longer than the time limit
/// of a connection if no name server answers. Meanwhile, another name may be found in `/etc/hosts`.
async fn any(lookups: impl Iterator<Item = impl Future<Output = bool>>) -> bool {
    let lookups = stream::iter(lookups).buffer_unordered(LOOKUPS_AT_ONCE);
    lookups.any(future::ready).await
}

/// Returns whether a host name resolves to the address `remote`; `false` if the lookup fails.
async fn resolves_to(name: &str, remote: IpAddr) -> bool {
    lookup_host((name, 0))
        .await
        .is_ok_and(|mut found| found.any(|address| address.ip().to_canonical() == remote))
}

/// Returns the DNS names and IP addresses among a certificate's alternative names, or `None` if the certificate cannot be
/// parsed.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let parsed = parse_certificate(certificate)?.tbs_certificate;
    let Some((_, names)) = parsed.get::<SubjectAltName>().ok()? else {
        return Some(Vec::new());
    };
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => Some(address(bytes.as_bytes())),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    };
    Some(names.0.iter().filter_map(text).collect())
}

/// Returns an IP address of 4 or 16 bytes as text. For any other length, returns a string that is not an address.
fn address(bytes: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_or_else(|_| "an address".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lookup_without_a_result_does_not_delay_the_next_one() {
        let lookup = |found: Option<bool>| async move {
            match found {
                Some(found) => found,
                None => future::pending().await,
            }
        };
        let lookups = [None, Some(false), Some(true)].map(lookup);
        assert!(any(lookups.into_iter()).await);
        let failed = [Some(false); 2 * LOOKUPS_AT_ONCE].map(lookup);
        assert!(!any(failed.into_iter()).await);
    }
}
