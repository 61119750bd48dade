//! Configuration of TLS on the client port and on the peer port: files, versions, client certificates. Contradictions
//! are refused here, with etcd's texts if they exist.
//!
//! Not here: the files themselves, which `transport::tls` reads.

use std::path::PathBuf;

use super::{Url, certificate::CertificateFlags, error::ConfigError};

/// Cipher suites that Go's TLS knows by name, and the two short names that etcd adds.
const GO_CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
];

/// TLS of a port; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTls {
    /// Server certificate; `None` if no URL uses TLS.
    pub certificate: Option<ServerCertificate>,
    /// `--trusted-ca-file`: clients must present a certificate issued by it.
    pub client_ca: Option<PathBuf>,
    /// `--client-crl-file`: revoked certificates.
    pub crl: Option<PathBuf>,
    /// `--client-cert-auth`: the common name of a client's certificate is taken as the name of a
    /// user.
    pub client_cert_auth: bool,
    /// `--client-cert-allowed-hostname`: one of these must be in a client's certificate.
    pub allowed_hostnames: Vec<String>,
    /// `--peer-cert-allowed-cn`: a client's certificate must have one of these common names.
    pub allowed_common_names: Vec<String>,
    /// `--cipher-suites` in the order given, by Go's names; empty uses the default.
    pub cipher_suites: Vec<String>,
    /// `--tls-min-version`.
    pub min_version: TlsVersion,
    /// `--tls-max-version`.
    pub max_version: TlsVersion,
}

/// TLS between members; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTlsConfig {
    /// The peer port, and the requirements on certificates of other members.
    pub port: PortTls,
    /// `--peer-client-cert-file` and `--peer-client-key-file`: this member's client certificate; the port's by default.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `--peer-skip-client-san-verification`.
    pub skip_san_check: bool,
}

/// Source of the certificate of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// `--cert-file` and `--key-file`.
    Files {
        /// The certificate with its intermediates.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// `--auto-tls`.
    SelfSigned {
        /// `--self-signed-cert-validity`.
        years: u32,
    },
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the values of a flag")]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

impl TlsVersion {
    /// Parses `TLS1.2` or `TLS1.3`; an empty text is `default`.
    fn parse(text: &str, default: Self) -> Result<Self, ConfigError> {
        match text {
            "" => Ok(default),
            "TLS1.2" => Ok(Self::Tls12),
            "TLS1.3" => Ok(Self::Tls13),
            other => Err(ConfigError::TlsVersion(other.to_owned())),
        }
    }
}

/// The texts of all flags of TLS.
pub(super) struct TlsFlags<'a> {
    pub(super) cert: &'a str,
    pub(super) key: &'a str,
    pub(super) client_ca: &'a str,
    pub(super) crl: &'a str,
    pub(super) client_cert_auth: bool,
    pub(super) allowed_hostnames: Vec<String>,
    pub(super) auto: bool,
    pub(super) years: u32,
    pub(super) cipher_suites: Vec<String>,
    pub(super) min: &'a str,
    pub(super) max: &'a str,
    /// URLs to serve clients on, and those for metrics.
    pub(super) urls: [&'a [Url]; 2],
}

impl TlsFlags<'_> {
    /// Checks the flags against each other and the URLs; adds warnings to `warnings`.
    pub(super) fn check(self, warnings: &mut Vec<String>) -> Result<PortTls, ConfigError> {
        let (min, max) = self.checked_versions()?;
        let certificate = CertificateFlags {
            cert: self.cert,
            key: self.key,
            pair: "--cert-file and --key-file",
            auto: self.auto,
            years: self.years,
            port: "client",
        }
        .source(warnings)?;
        let [clients, metrics] = self.urls.map(|urls| urls.iter().find(|url| url.is_tls()));
        if certificate.is_none() {
            if let Some(url) = clients {
                return Err(ConfigError::HttpsWithoutCertificate(url.to_string()));
            }
            if metrics.is_some() {
                return Err(ConfigError::MetricsWithoutCertificate);
            }
        }
        let secure = clients.is_some() || metrics.is_some();
        if self.client_cert_auth && self.client_ca.is_empty() && secure {
            return Err(ConfigError::ClientCertAuthWithoutCa);
        }
        if secure && self.client_ca.is_empty() {
            for (flag, given) in [
                ("client-crl-file", !self.crl.is_empty()),
                (
                    "client-cert-allowed-hostname",
                    !self.allowed_hostnames.is_empty(),
                ),
            ] {
                if given {
                    warnings.push(format!(
                        "--{flag} has no effect without --trusted-ca-file: clients are not asked for a \
                         certificate"
                    ));
                }
            }
        }
        self.warn_of_plain_urls(certificate.is_some(), warnings);
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Ok(PortTls {
            certificate: certificate.filter(|_| secure),
            client_ca: path(self.client_ca),
            crl: path(self.crl),
            client_cert_auth: self.client_cert_auth,
            allowed_hostnames: self.allowed_hostnames,
            allowed_common_names: Vec::new(),
            cipher_suites: self.cipher_suites,
            min_version: min,
            max_version: max,
        })
    }

    /// Returns the lowest and the highest TLS version. Refuses unknown versions and cipher suites, a lowest
    /// above the highest, and cipher suites if the lowest is TLS 1.3.
    pub(super) fn checked_versions(&self) -> Result<(TlsVersion, TlsVersion), ConfigError> {
        let unknown = |name: &&String| !GO_CIPHER_SUITES.contains(&name.as_str());
        if let Some(name) = self.cipher_suites.iter().find(unknown) {
            return Err(ConfigError::CipherSuite(name.clone()));
        }
        let min = TlsVersion::parse(self.min, TlsVersion::Tls12)?;
        let max = TlsVersion::parse(self.max, TlsVersion::Tls13)?;
        if min > max {
            let (min, max) = (self.min.to_owned(), self.max.to_owned());
            return Err(ConfigError::TlsVersions { min, max });
        }
        if min == TlsVersion::Tls13 && !self.cipher_suites.is_empty() {
            return Err(ConfigError::CipherSuitesOfTls13);
        }
        Ok((min, max))
    }

    /// Warns of client URLs without TLS, for which the certificate and `--client-cert-auth` are
    /// ignored.
    fn warn_of_plain_urls(&self, certificate: bool, warnings: &mut Vec<String>) {
        let [clients, _] = self.urls;
        for url in clients.iter().filter(|url| !url.is_tls()) {
            if certificate {
                warnings.push(format!(
                    "scheme is http or unix while key and cert files are present; ignoring key \
                     and cert files for {url}"
                ));
            }
            if self.client_cert_auth {
                warnings.push(format!(
                    "scheme is http or unix while --client-cert-auth is enabled; ignoring client \
                     cert auth for {url}"
                ));
            }
        }
    }
}
