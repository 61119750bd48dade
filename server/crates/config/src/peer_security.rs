//! Configuration of TLS between members.

use super::{
    Config, PeerTlsConfig, PortTls, ServerCertificate, error::ConfigError,
    security::check_allowed_names, values::FlagValues,
};

impl FlagValues {
    /// Returns the TLS settings between members, with the cipher suites and versions of the client port. Fails for an HTTPS URL
    /// without a certificate and for contradictory flags. Warns about flags that have no effect, and about certificate files
    /// without a trusted CA.
    pub(super) fn peer_tls(
        &self,
        config: &Config,
        warnings: &mut Vec<String>,
    ) -> Result<PeerTlsConfig, ConfigError> {
        let listen = &config.listen_peer_urls;
        let client_ca = self.path("peer-trusted-ca-file");
        let crl = self.path("peer-crl-file");
        let client_cert_auth = self.boolean("peer-client-cert-auth")?;
        let allowed_common_names = self.list("peer-cert-allowed-cn");
        let allowed_hostnames = self.list("peer-cert-allowed-hostname");
        let skip_san_check = self.boolean("peer-skip-client-san-verification")?;
        let files = ["peer-cert-file", "peer-key-file"];
        let certificate = self.certificate(files, "peer-auto-tls", ("peer", warnings))?;
        let client = self.files(["peer-client-cert-file", "peer-client-key-file"])?;
        let mut urls = listen.iter().chain(&config.initial_advertise_peer_urls);
        if let Some(url) = urls.find(|url| url.is_tls()) {
            if certificate.is_none() {
                return Err(ConfigError::PeerHttpsWithoutCertificate(url.to_string()));
            }
            let of_files = matches!(certificate, Some(ServerCertificate::Files { .. }));
            if client_ca.is_none() && of_files {
                warnings.push(
                    "without --peer-trusted-ca-file, the certificates of other members are verified with the CA \
                     certificates of the system, and the peer port accepts any client"
                        .to_owned(),
                );
            }
        }
        if client_cert_auth && client_ca.is_none() && certificate.is_some() {
            return Err(ConfigError::PeerCertAuthWithoutCa);
        }
        let settings = ["--peer-cert-allowed-cn", "--peer-cert-allowed-hostname"];
        check_allowed_names(settings, &allowed_common_names, &allowed_hostnames)?;
        let named = !allowed_common_names.is_empty() || !allowed_hostnames.is_empty();
        if client_ca.is_none() && (named || crl.is_some()) {
            warnings.push(
                "--peer-cert-allowed-cn, --peer-cert-allowed-hostname and --peer-crl-file have no effect on the peer port \
                 without --peer-trusted-ca-file, because the port then does not request certificates"
                    .to_owned(),
            );
        }
        if certificate.is_some() {
            for url in listen.iter().filter(|url| !url.is_tls()) {
                warnings.push(format!(
                    "scheme is http or unix while peer key and cert files are present; ignoring \
                     peer key and cert files for {url}"
                ));
            }
        }
        Ok(PeerTlsConfig {
            port: PortTls {
                certificate,
                client_ca,
                crl,
                client_cert_auth,
                allowed_hostnames,
                allowed_common_names,
                ..config.tls.clone()
            },
            client,
            skip_san_check,
        })
    }
}
