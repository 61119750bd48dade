//! Maps Go's names of cipher suites and TLS versions to rustls.

use std::sync::Arc;

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};
use witan_config::{PortTls, TlsVersion};

use super::error::TlsError;

/// The cipher suites and TLS versions that connections may negotiate.
#[derive(Clone, Debug)]
pub(super) struct SuiteChoice {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// Selects cipher suites by name. As in Go, this affects only TLS 1.2: the suites of TLS 1.3 are always enabled. Skips, with a
/// warning, suites that Go supports and rustls does not (CBC, RC4, RSA key exchange). Fails if no named suite can be used. Also
/// selects the TLS versions in the configured range.
pub(super) fn choice(tls: &PortTls) -> Result<SuiteChoice, TlsError> {
    let mut provider = ring::default_provider();
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let (suites_13, mut suites_12): (Vec<_>, Vec<_>) =
        provider.cipher_suites.into_iter().partition(is_13);
    let wanted = &tls.cipher_suites;
    if !wanted.is_empty() {
        let known = std::mem::take(&mut suites_12);
        for name in wanted {
            match known.iter().find(|suite| is(suite, name)) {
                Some(suite) => suites_12.push(*suite),
                None if is_of_13(name) => {}
                None => tracing::warn!(name, "ignoring an unsupported cipher suite"),
            }
        }
        let needs_12 = tls.max_version == TlsVersion::Tls12 || !wanted.iter().any(|n| is_of_13(n));
        if needs_12 && suites_12.is_empty() {
            let available = known.iter().map(name).collect::<Vec<_>>().join(", ");
            return Err(TlsError::NoSuite { available });
        }
    }
    let mut versions = Vec::new();
    if tls.max_version >= TlsVersion::Tls13 {
        versions.push(&TLS13);
    }
    if tls.min_version <= TlsVersion::Tls12 && !suites_12.is_empty() {
        versions.push(&TLS12);
    }
    provider.cipher_suites = [suites_13, suites_12].concat();
    let provider = Arc::new(provider);
    Ok(SuiteChoice { provider, versions })
}

/// Returns rustls's name for a suite. For TLS 1.2, Go uses the same name.
fn name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite())
}

/// Returns whether `asked` is a name of the suite. As in etcd, ChaCha20 suites also have a name without the hash.
fn is(suite: &SupportedCipherSuite, asked: &str) -> bool {
    let name = name(suite);
    name == asked || name.strip_suffix("_SHA256") == Some(asked) && asked.ends_with("_POLY1305")
}

/// Returns whether a suite with this name belongs to TLS 1.3. The names of all other suites contain `_WITH_`.
fn is_of_13(name: &str) -> bool {
    !name.contains("_WITH_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&str], max_version: TlsVersion) -> Result<SuiteChoice, TlsError> {
        choice(&PortTls {
            cipher_suites: names.iter().map(|name| (*name).to_owned()).collect(),
            max_version,
            ..PortTls::default()
        })
    }

    fn of_12(choice: &SuiteChoice) -> Vec<String> {
        let suites = choice.provider.cipher_suites.iter();
        suites
            .filter(|suite| suite.tls13().is_none())
            .map(name)
            .collect()
    }

    #[test]
    fn names_of_go_select_suites_in_their_order() {
        let choice = asked(
            &[
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
                "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            ],
            TlsVersion::Tls13,
        )
        .unwrap();
        assert_eq!(
            of_12(&choice),
            [
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
            ]
        );
        assert_eq!(choice.versions.len(), 2);
    }

    #[test]
    fn tls_12_requires_a_suite() {
        let choice = asked(&["TLS_AES_128_GCM_SHA256"], TlsVersion::Tls13).unwrap();
        assert_eq!(choice.versions, [&TLS13]);
        for (names, max) in [
            (&["TLS_AES_128_GCM_SHA256"], TlsVersion::Tls12),
            (&["TLS_RSA_WITH_RC4_128_SHA"], TlsVersion::Tls13),
        ] {
            let error = asked(names, max).unwrap_err().to_string();
            assert!(
                error.contains("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
                "{error}"
            );
        }
    }
}
