//! TLS settings of the client port and the peer port: files, versions and client certificates. Rejects contradictory flags,
//! with etcd's error messages where they exist. `transport::tls` reads the files.

use std::path::PathBuf;

use super::{Config, error::ConfigError, file::CLIENT_COMMON_NAMES, values::FlagValues};

/// Cipher suites by their names in Go's TLS library, and two short names that etcd adds.
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

/// TLS settings of a port. The default is no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTls {
    /// The server certificate, if one is configured. On the client port, also `None` if no URL uses TLS.
    pub certificate: Option<ServerCertificate>,
    /// `--trusted-ca-file` or `--peer-trusted-ca-file`: file of CAs that verify the required client certificates; `None`
    /// requires none.
    pub client_ca: Option<PathBuf>,
    /// `--client-crl-file` or `--peer-crl-file`: file of revoked certificates.
    pub crl: Option<PathBuf>,
    /// `--client-cert-auth` or `--peer-client-cert-auth`. Both require a CA file, which alone makes the port require
    /// certificates.
    pub client_cert_auth: bool,
    /// `--client-cert-allowed-hostname` or `--peer-cert-allowed-hostname`: certificates must contain one of these host names.
    pub allowed_hostnames: Vec<String>,
    /// `--peer-cert-allowed-cn`, or `allowed-cn` of clients in a file: certificates must have one of these common names.
    pub allowed_common_names: Vec<String>,
    /// `--cipher-suites`, Go's names in the given order; empty means the default.
    pub cipher_suites: Vec<String>,
    /// `--tls-min-version`.
    pub min_version: TlsVersion,
    /// `--tls-max-version`.
    pub max_version: TlsVersion,
}

/// TLS settings between members. The default is no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTlsConfig {
    /// Settings of the peer port, including the requirements on other members' certificates.
    pub port: PortTls,
    /// `--peer-client-cert-file` and `--peer-client-key-file`; `None` uses the certificate of the port as the client
    /// certificate.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `--peer-skip-client-san-verification`.
    pub skip_san_check: bool,
}

/// Source of a port's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// `--cert-file` and `--key-file`, or `--peer-cert-file` and `--peer-key-file`.
    Files {
        /// File of the certificate and its intermediates.
        cert: PathBuf,
        /// File of the certificate's key.
        key: PathBuf,
    },
    /// `--auto-tls` or `--peer-auto-tls`.
    SelfSigned {
        /// `--self-signed-cert-validity`.
        years: u32,
    },
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are values of the flag")]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

impl TlsVersion {
    /// Parses `TLS1.2` or `TLS1.3`. Returns `default` for an empty string, and an error for any other text.
    fn parse(text: &str, default: Self) -> Result<Self, ConfigError> {
        match text {
            "" => Ok(default),
            "TLS1.2" => Ok(Self::Tls12),
            "TLS1.3" => Ok(Self::Tls13),
            other => Err(ConfigError::TlsVersion(other.to_owned())),
        }
    }
}

/// Fails if both common names and host names of certificates are limited. `settings` are the names of the two settings, for the
/// error.
pub(super) fn check_allowed_names(
    settings: [&'static str; 2],
    cns: &[String],
    hostnames: &[String],
) -> Result<(), ConfigError> {
    if cns.is_empty() || hostnames.is_empty() {
        return Ok(());
    }
    let (cns, hostnames) = (cns.join(","), hostnames.join(","));
    Err(ConfigError::AllowedNames { settings, cns, hostnames })
}

impl FlagValues {
    /// Returns the TLS settings of the client port. The URLs in `config` decide whether a certificate is required. Fails for an
    /// HTTPS URL without a certificate and for contradictory flags. Warns about flags that have no effect.
    pub(super) fn tls(
        &self,
        config: &Config,
        warnings: &mut Vec<String>,
    ) -> Result<PortTls, ConfigError> {
        let clients = || {
            let urls = config.listen_client_urls.iter();
            urls.chain(&config.listen_client_http_urls)
        };
        let client_cert_auth = self.boolean("client-cert-auth")?;
        let (client_ca, crl) = (self.path("trusted-ca-file"), self.path("client-crl-file"));
        let allowed_hostnames = self.list("client-cert-allowed-hostname");
        let (min_version, max_version) = self.checked_versions()?;
        let files = ["cert-file", "key-file"];
        let certificate = self.certificate(files, "auto-tls", ("client", warnings))?;
        let secure_client = clients().find(|url| url.is_tls());
        let secure_metrics = config.listen_metrics_urls.iter().any(|url| url.is_tls());
        if certificate.is_none() {
            if let Some(url) = secure_client {
                return Err(ConfigError::HttpsWithoutCertificate(url.to_string()));
            }
            if secure_metrics {
                return Err(ConfigError::MetricsWithoutCertificate);
            }
        }
        let secure = secure_client.is_some() || secure_metrics;
        if client_cert_auth && client_ca.is_none() && secure {
            return Err(ConfigError::ClientCertAuthWithoutCa);
        }
        if secure {
            let settings = [CLIENT_COMMON_NAMES, "--client-cert-allowed-hostname"];
            check_allowed_names(settings, &self.client_common_names, &allowed_hostnames)?;
        }
        if secure && client_ca.is_none() {
            self.warn_without_client_ca(warnings);
        }
        // Without TLS, the certificate and `--client-cert-auth` are ignored.
        for url in clients().filter(|url| !url.is_tls()) {
            if certificate.is_some() {
                warnings.push(format!(
                    "scheme is http or unix while key and cert files are present; ignoring key \
                     and cert files for {url}"
                ));
            }
            if client_cert_auth {
                warnings.push(format!(
                    "scheme is http or unix while --client-cert-auth is enabled; ignoring client \
                     cert auth for {url}"
                ));
            }
        }
        Ok(PortTls {
            certificate: certificate.filter(|_| secure),
            client_ca,
            crl,
            client_cert_auth,
            allowed_hostnames,
            allowed_common_names: self.client_common_names.clone(),
            cipher_suites: self.list("cipher-suites"),
            min_version,
            max_version,
        })
    }

    /// Warns about settings that limit client certificates: the client port requests certificates only with a CA file.
    fn warn_without_client_ca(&self, warnings: &mut Vec<String>) {
        for (setting, given) in [
            ("--client-crl-file", self.path("client-crl-file").is_some()),
            (
                "--client-cert-allowed-hostname",
                !self.list("client-cert-allowed-hostname").is_empty(),
            ),
            (CLIENT_COMMON_NAMES, !self.client_common_names.is_empty()),
        ] {
            if given {
                warnings.push(format!(
                    "{setting} has no effect without --trusted-ca-file, because the client port does not request \
                     certificates"
                ));
            }
        }
    }

    /// Returns the source of a port's certificate: the files in two flags or, if the flag `auto` is set, a self-signed
    /// certificate. Files take precedence, with a warning that names `port`. Returns `None` if the port has neither. Fails if
    /// only one of the files is given, or if a self-signed certificate would be valid for 0 years.
    pub(super) fn certificate(
        &self,
        files: [&'static str; 2],
        auto: &'static str,
        (port, warnings): (&str, &mut Vec<String>),
    ) -> Result<Option<ServerCertificate>, ConfigError> {
        let auto = self.boolean(auto)?;
        let years = self.number("self-signed-cert-validity")?;
        let Some((cert, key)) = self.files(files)? else {
            if auto && years == 0 {
                return Err(ConfigError::SelfSignedValidity);
            }
            return Ok(auto.then_some(ServerCertificate::SelfSigned { years }));
        };
        if auto {
            warnings.push(format!("ignoring {port} auto TLS since certs given"));
        }
        Ok(Some(ServerCertificate::Files { cert, key }))
    }

    /// Returns the files in the flags of a certificate and its key, or `None` if both flags are missing. Fails if only one of
    /// them is given.
    pub(super) fn files(
        &self,
        flags: [&'static str; 2],
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        match flags.map(|flag| self.path(flag)) {
            [None, None] => Ok(None),
            [Some(cert), Some(key)] => Ok(Some((cert, key))),
            [Some(_), None] | [None, Some(_)] => {
                let [cert, key] = flags.map(|flag| self.text(flag).to_owned());
                Err(ConfigError::IncompleteKeyPair { flags, cert, key })
            }
        }
    }

    /// Returns the minimum and the maximum TLS version, and checks the cipher suites. Fails for an unknown name, and if the
    /// minimum exceeds the maximum. Also fails for cipher suites if only TLS 1.3, whose suites are fixed, is enabled.
    fn checked_versions(&self) -> Result<(TlsVersion, TlsVersion), ConfigError> {
        let suites = self.list("cipher-suites");
        let unknown = |name: &&String| !GO_CIPHER_SUITES.contains(&name.as_str());
        if let Some(name) = suites.iter().find(unknown) {
            return Err(ConfigError::CipherSuite(name.clone()));
        }
        let [min_text, max_text] =
            ["tls-min-version", "tls-max-version"].map(|flag| self.text(flag));
        let min = TlsVersion::parse(min_text, TlsVersion::Tls12)?;
        let max = TlsVersion::parse(max_text, TlsVersion::Tls13)?;
        if min > max {
            let (min, max) = (min_text.to_owned(), max_text.to_owned());
            return Err(ConfigError::TlsVersions { min, max });
        }
        if min == TlsVersion::Tls13 && !suites.is_empty() {
            return Err(ConfigError::CipherSuitesOfTls13);
        }
        Ok((min, max))
    }
}
