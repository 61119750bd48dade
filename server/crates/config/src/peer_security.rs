//! Configuration of TLS between members.

use std::path::PathBuf;

use super::{
    PeerTlsConfig, PortTls, ServerCertificate, Url,
    certificate::{CertificateFlags, pair},
    error::ConfigError,
};

/// The texts of the flags of TLS between members.
pub(super) struct PeerTlsFlags<'a> {
    pub(super) cert: &'a str,
    pub(super) key: &'a str,
    pub(super) client_cert: &'a str,
    pub(super) client_key: &'a str,
    pub(super) ca: &'a str,
    pub(super) crl: &'a str,
    pub(super) client_cert_auth: bool,
    pub(super) allowed_cns: Vec<String>,
    pub(super) allowed_hostnames: Vec<String>,
    pub(super) auto: bool,
    pub(super) years: u32,
    pub(super) skip_san_check: bool,
    /// URLs to listen on, and URLs of the other members.
    pub(super) listen: &'a [Url],
    pub(super) call: &'a [Url],
    /// Suites and versions are the client port's.
    pub(super) client_port: &'a PortTls,
}

impl PeerTlsFlags<'_> {
    /// Checks the flags of TLS between members against each other and the URLs; adds warnings to `warnings`.
    pub(super) fn check(self, warnings: &mut Vec<String>) -> Result<PeerTlsConfig, ConfigError> {
        let certificate = CertificateFlags {
            cert: self.cert,
            key: self.key,
            pair: PEER_PAIR,
            auto: self.auto,
            years: self.years,
            port: "peer",
        }
        .source(warnings)?;
        let client = match (self.client_cert, self.client_key) {
            ("", "") => None,
            (cert, key) => Some(pair(cert, key, PEER_CLIENT_PAIR)?),
        };
        let mut urls = self.listen.iter().chain(self.call);
        if let Some(url) = urls.find(|url| url.is_tls()) {
            if certificate.is_none() {
                return Err(ConfigError::PeerHttpsWithoutCertificate(url.to_string()));
            }
            let of_files = matches!(certificate, Some(ServerCertificate::Files { .. }));
            if self.ca.is_empty() && of_files {
                warnings.push(
                    "without --peer-trusted-ca-file the system's authorities must have signed the \
                     certificates of other members, and the peer port accepts any client"
                        .to_owned(),
                );
            }
        }
        if self.client_cert_auth && self.ca.is_empty() && certificate.is_some() {
            return Err(ConfigError::PeerCertAuthWithoutCa);
        }
        if !self.allowed_cns.is_empty() && !self.allowed_hostnames.is_empty() {
            return Err(ConfigError::PeerNames {
                cns: self.allowed_cns.join(","),
                hostnames: self.allowed_hostnames.join(","),
            });
        }
        let named = !self.allowed_cns.is_empty() || !self.allowed_hostnames.is_empty();
        if self.ca.is_empty() && (named || !self.crl.is_empty()) {
            warnings.push(
                "--peer-cert-allowed-cn, --peer-cert-allowed-hostname and --peer-crl-file have no \
                 effect without --peer-trusted-ca-file: members are not asked for a certificate"
                    .to_owned(),
            );
        }
        if certificate.is_some() {
            for url in self.listen.iter().filter(|url| !url.is_tls()) {
                warnings.push(format!(
                    "scheme is http or unix while peer key and cert files are present; ignoring \
                     peer key and cert files for {url}"
                ));
            }
        }
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Ok(PeerTlsConfig {
            port: PortTls {
                certificate,
                client_ca: path(self.ca),
                crl: path(self.crl),
                client_cert_auth: self.client_cert_auth,
                allowed_hostnames: self.allowed_hostnames,
                allowed_common_names: self.allowed_cns,
                ..self.client_port.clone()
            },
            client,
            skip_san_check: self.skip_san_check,
        })
    }
}

const PEER_PAIR: &str = "--peer-cert-file and --peer-key-file";
const PEER_CLIENT_PAIR: &str = "--peer-client-cert-file and --peer-client-key-file";
