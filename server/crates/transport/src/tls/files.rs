//! Reads the TLS files and detects their changes.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, pem::PemObject,
    },
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use witan_config::{PortTls, ServerCertificate};
use witan_logging::LogLimit;
use x509_cert::{crl::CertificateList, der::Decode as _};

use super::{
    ca_pool::TrustedPool,
    client_certificate::parse_certificate,
    error::TlsError,
    suites::{self, SuiteChoice},
    verify::{AllowedNames, ClientVerifier, Revoked, ServerVerifier},
};

/// Names of a port's TLS flags, for error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortFlags {
    /// The flags for the certificate and the key.
    pub(super) pair: &'static [&'static str; 2],
    pub(super) ca: &'static str,
    pub(super) crl: &'static str,
    pub(super) hostnames: &'static str,
}

pub(super) const CLIENT_PORT: PortFlags = PortFlags {
    pair: &["cert-file", "key-file"],
    ca: "trusted-ca-file",
    crl: "client-crl-file",
    hostnames: "client-cert-allowed-hostname",
};

pub(super) const PEER_PORT: PortFlags = PortFlags {
    pair: &["peer-cert-file", "peer-key-file"],
    ca: "peer-trusted-ca-file",
    crl: "peer-crl-file",
    hostnames: "peer-cert-allowed-hostname",
};

/// The flags of this member's client certificate, for streams to other members.
pub(super) const PEER_CLIENT: PortFlags = PortFlags {
    pair: &["peer-client-cert-file", "peer-client-key-file"],
    ..PEER_PORT
};

/// The end of the first line and of the last line of a revocation list in PEM.
const CRL_MARKER: &[u8] = b"X509 CRL-----";

/// Metadata of a file, or `None` if it cannot be read, for example because the file does not exist. A file has changed if any
/// number differs.
pub(super) type FileStamp = Option<[i64; 6]>;

/// The parsed contents of the TLS files.
#[derive(Debug)]
pub(super) struct TlsParts {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The CAs that verify the other side's certificates, or `None` if no file is configured.
    authorities: Option<Arc<TrustedPool>>,
}

impl TlsParts {
    /// Returns the expiration time of the certificate in Unix seconds, or `None` if the certificate cannot be parsed.
    pub(super) fn expires_s(&self) -> Option<u64> {
        let certificate = parse_certificate(self.chain.first()?)?.tbs_certificate;
        Some(certificate.validity.not_after.to_unix_duration().as_secs())
    }
}

/// The paths and settings from which a rustls configuration is built.
#[derive(Debug)]
pub(super) struct Files {
    /// Purpose of the files, for log lines.
    pub(super) endpoint: &'static str,
    flags: PortFlags,
    cert: PathBuf,
    key: PathBuf,
    ca: Option<PathBuf>,
    crl: Option<PathBuf>,
    names: AllowedNames,
    choice: SuiteChoice,
    /// Whether this member's certificate is self-signed. The other members' certificates are then also self-signed.
    self_signed: bool,
    /// Limits log lines about failed reloads, because any client can cause a reload.
    failures: LogLimit,
}

/// The result of [`Files::reload`].
pub(super) struct Reloaded<C> {
    pub(super) config: C,
    /// Whether the certificate, the key and the CAs were read again. If not, `config` contains the previous ones.
    pub(super) is_new: bool,
    /// Whether an unreadable file may become readable without a change of its metadata.
    pub(super) try_again: bool,
}

impl Files {
    /// Collects the paths and settings of a port's certificates, without reading a file. Fails if an allowed host name is
    /// invalid, or if none of the configured cipher suites is supported.
    pub(super) fn new(
        tls: &PortTls,
        flags: PortFlags,
        (cert, key): (PathBuf, PathBuf),
        endpoint: &'static str,
    ) -> Result<Self, TlsError> {
        let name = |text: &String| {
            ServerName::try_from(text.clone())
                .map_err(|_| TlsError::Hostname { flag: flags.hostnames, name: text.clone() })
        };
        let hostnames = tls.allowed_hostnames.iter().map(name);
        let names = AllowedNames {
            hostnames: hostnames.collect::<Result<_, _>>()?,
            common_names: tls.allowed_common_names.clone(),
        };
        Ok(Self {
            endpoint,
            flags,
            cert,
            key,
            ca: tls.client_ca.clone(),
            crl: tls.crl.clone(),
            names,
            choice: suites::choice(tls)?,
            self_signed: matches!(tls.certificate, Some(ServerCertificate::SelfSigned { .. })),
            failures: LogLimit::new(),
        })
    }

    /// Returns the stamps of the certificate, the key, the CAs and the revocation list.
    pub(super) fn stamps(&self) -> [FileStamp; 4] {
        [
            stamp(Some(&self.cert)),
            stamp(Some(&self.key)),
            stamp(self.ca.as_deref()),
            stamp(self.crl.as_deref()),
        ]
    }

    /// Reads the configured file with one revocation list in DER, or one or more in PEM. Without a file, no certificate is
    /// revoked.
    pub(super) fn revoked(&self) -> Result<Revoked, TlsError> {
        let Some(path) = &self.crl else {
            return Ok(Revoked::None);
        };
        let crl = self.flags.crl;
        let serials = revoked_serials(&read_file(crl, path)?);
        let serials = serials.map_err(|reason| content_error(crl, path, reason))?;
        Ok(Revoked::Serials(Arc::new(serials)))
    }

    /// Reads the certificate chain, the private key and the CAs.
    pub(super) fn parts(&self) -> Result<TlsParts, TlsError> {
        let [cert, key] = self.flags.pair;
        let chain = certificates(cert, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read_file(key, &self.key)?).map_err(|error| {
            content_error(key, &self.key, format!("no private key in PEM: {error:?}"))
        })?;
        Ok(TlsParts { chain, key, authorities: self.authorities()? })
    }

    /// Builds the server's TLS configuration, without ALPN protocols. If CAs for client certificates are configured, requires a
    /// client certificate and disables session resumption. Fails if the certificate and the key do not form a pair.
    pub(super) fn config(
        &self,
        parts: &TlsParts,
        revoked: Revoked,
    ) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(self.choice.provider.clone())
            .with_protocol_versions(&self.choice.versions)?;
        let clients = self.clients(parts, revoked);
        let authenticates = clients.is_some();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(parts.chain.clone(), parts.key.clone_key())
            .map_err(|source| self.bad_pair(source))?;
        if authenticates {
            // A resumed session would skip the certificate checks.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    /// Builds the TLS configuration for connections to members. It presents this member's certificate. It accepts trusted
    /// certificates that have an allowed name and are not revoked. Without a CA file, it trusts the system's CAs or, if this
    /// member's certificate is self-signed, any certificate.
    pub(super) fn client_config(
        &self,
        parts: &TlsParts,
        revoked: Revoked,
    ) -> Result<ClientConfig, TlsError> {
        let provider = self.choice.provider.clone();
        let trusted = match &parts.authorities {
            Some(authorities) => Some(authorities.clone()),
            None if self.self_signed => None,
            None => Some(Arc::new(TrustedPool::of_system())),
        };
        // Building fails only if there is no CA.
        let chain = trusted.as_ref().and_then(|trusted| {
            let (roots, provider) = (trusted.roots.clone(), provider.clone());
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider);
            builder.build().ok()
        });
        let verifier = ServerVerifier {
            trusted,
            chain,
            revoked,
            names: self.names.clone(),
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.choice.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(parts.chain.clone(), parts.key.clone_key())
            .map_err(|source| self.bad_pair(source))?;
        // A resumed session would skip the certificate checks.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Reads the files, replaces `last` with their contents, and builds a configuration. If the certificate, the key or the CAs
    /// are unreadable or invalid, `last` stays in use with the current revocation list. If that list is unreadable, no
    /// certificate is accepted. Logs some of the failures. Fails only if no configuration can be built from `last`.
    pub(super) fn reload<C>(
        &self,
        last: &mut TlsParts,
        build: impl Fn(&Self, &TlsParts, Revoked) -> Result<C, TlsError>,
    ) -> Result<Reloaded<C>, TlsError> {
        let endpoint = self.endpoint;
        let mut try_again = false;
        let revoked = self.revoked().unwrap_or_else(|error| {
            try_again = error.is_temporary();
            if let Some(left_out) = self.failures.admit() {
                tracing::error!(
                    %error,
                    endpoint,
                    left_out,
                    "refusing all certificates until the revocation list can be read"
                );
            }
            Revoked::Unknown
        });
        let read = self.parts().and_then(|parts| {
            let config = build(self, &parts, revoked.clone())?;
            Ok((parts, config))
        });
        match read {
            Ok((parts, config)) => {
                *last = parts;
                Ok(Reloaded { config, is_new: true, try_again })
            }
            Err(error) => {
                if let Some(left_out) = self.failures.admit() {
                    tracing::error!(
                        %error,
                        endpoint,
                        left_out,
                        "failed to reload the TLS files; the previous ones stay in use"
                    );
                }
                let try_again = try_again || error.is_temporary();
                // A new revocation list applies even if the certificate is invalid.
                let config = build(self, last, revoked)?;
                Ok(Reloaded { config, is_new: false, try_again })
            }
        }
    }

    /// Adds the flags and files of the certificate and its key to an error about them.
    fn bad_pair(&self, source: rustls::Error) -> TlsError {
        TlsError::Pair {
            flags: self.flags.pair,
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        }
    }

    /// Reads the CAs that verify certificates, or returns `None` if no file is configured.
    fn authorities(&self) -> Result<Option<Arc<TrustedPool>>, TlsError> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let flag = self.flags.ca;
        let pool = TrustedPool::new(certificates(flag, ca)?)
            .map_err(|error| content_error(flag, ca, format!("not a CA certificate: {error}")))?;
        Ok(Some(Arc::new(pool)))
    }

    /// Builds the verifier of client certificates, or returns `None` if no CA file is configured.
    fn clients(&self, parts: &TlsParts, revoked: Revoked) -> Option<ClientVerifier> {
        let trusted = parts.authorities.clone()?;
        let (roots, provider) = (trusted.roots.clone(), self.choice.provider.clone());
        let algorithms = provider.signature_verification_algorithms;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        // Building fails only if there is no CA.
        let chain = builder.build().ok();
        let names = self.names.clone();
        Some(ClientVerifier { trusted, chain, revoked, names, algorithms })
    }
}

/// Returns a file's times, size and inode, or `None` if there is no path or the file's metadata cannot be read.
fn stamp(path: Option<&Path>) -> FileStamp {
    // Follow links, because a mounted secret is replaced by moving a link.
    let found = fs::metadata(path?).ok()?;
    let number = |n: u64| n.cast_signed();
    Some([
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
        number(found.size()),
        number(found.ino()),
    ])
}

/// Reads a file that `flag` names. The error names the flag and the file.
fn read_file(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { flag, path: path.to_owned(), source })
}

fn content_error(flag: &'static str, path: &Path, reason: String) -> TlsError {
    let path = path.to_owned();
    TlsError::Content { flag, path, reason }
}

/// Returns the serial numbers in all revocation lists of a file: one list in DER, or any number of lists in PEM. Fails with the
/// reason if a list is damaged or the file contains none.
fn revoked_serials(bytes: &[u8]) -> Result<HashSet<Vec<u8>>, String> {
    // etcd reads only DER, but most tools write PEM.
    let sections: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let sections = sections.map_err(|error| format!("damaged PEM: {error:?}"))?;
    // The decoder skips a section that does not begin on its own line, for example after a concatenated file without a final
    // newline. Therefore, compare the number of sections with the number of markers.
    let markers = bytes.windows(CRL_MARKER.len());
    if markers.filter(|found| *found == CRL_MARKER).count() != 2 * sections.len() {
        return Err(
            "damaged PEM: each BEGIN and END of a list must be on its own line; correct the file"
                .to_owned(),
        );
    }
    let lists: Vec<&[u8]> = match sections.is_empty() {
        true => vec![bytes],
        false => sections.iter().map(AsRef::as_ref).collect(),
    };
    let mut serials = HashSet::new();
    for list in lists {
        let list = CertificateList::from_der(list)
            .map_err(|error| format!("not a certificate revocation list: {error}"))?;
        let revoked = list.tbs_cert_list.revoked_certificates;
        let revoked = revoked.into_iter().flatten();
        serials.extend(revoked.map(|revoked| revoked.serial_number.as_bytes().to_vec()));
    }
    Ok(serials)
}

/// Reads all certificates of a PEM file. Fails if the file contains none, is damaged, or cannot be read.
fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_file(flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(content_error(
            flag,
            path,
            "no certificate in PEM".to_owned(),
        )),
        Err(error) => Err(content_error(flag, path, format!("damaged PEM: {error:?}"))),
    }
}
