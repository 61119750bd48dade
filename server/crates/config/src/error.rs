//! Configuration errors, with etcd's message where etcd has the same error.

use std::path::PathBuf;

use super::url::{Url, UrlError};

/// The reason why a configuration is invalid.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum ConfigError {
    /// An unknown flag or a missing value, with clap's message.
    #[error("{0}")]
    Arguments(String),
    #[error("\"{0}\" is not a valid flag")]
    NotAFlag(String),
    #[error(
        "conflicting environment variable {variable} is shadowed by the flag --{flag} \
         (either unset the environment variable or leave out the flag)"
    )]
    Shadowed {
        variable: String,
        flag: &'static str,
    },
    #[error("cannot read {}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("both --{old} and --{new} flags are set. Use only --{new}")]
    BothNames {
        old: &'static str,
        new: &'static str,
    },
    #[error("{}: {reason}", path.display())]
    Yaml { path: PathBuf, reason: String },
    #[error("invalid value \"{value}\" for --{flag}: {reason}")]
    Value {
        flag: &'static str,
        value: String,
        reason: String,
    },
    #[error("--{flag} is refused: {reason}")]
    Refused {
        flag: &'static str,
        reason: &'static str,
    },
    #[error("--{flag}: {source}")]
    Url {
        flag: &'static str,
        source: UrlError,
    },
    #[error(
        "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url {0} with \
         HTTPS scheme"
    )]
    PeerHttpsWithoutCertificate(String),
    #[error(
        "--peer-client-cert-auth needs --peer-trusted-ca-file, the CA certificate file for verifying members"
    )]
    PeerCertAuthWithoutCa,
    #[error(
        "{} and {}: AllowedCN and AllowedHostname are mutually exclusive (cns=[{cns}], hostnames=[{hostnames}])",
        settings[0],
        settings[1]
    )]
    AllowedNames {
        settings: [&'static str; 2],
        cns: String,
        hostnames: String,
    },
    #[error(
        "--{} and --{} must be set together: KeyFile and CertFile must both be present[key: {key}, cert: {cert}]",
        flags[0],
        flags[1]
    )]
    IncompleteKeyPair {
        flags: [&'static str; 2],
        cert: String,
        key: String,
    },
    #[error(
        "TLS key/cert (--cert-file, --key-file) must be provided for client url {0} with HTTPS \
         scheme"
    )]
    HttpsWithoutCertificate(String),
    #[error(
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
    )]
    MetricsWithoutCertificate,
    #[error(
        "--client-cert-auth needs --trusted-ca-file, the CA certificate file for verifying clients"
    )]
    ClientCertAuthWithoutCa,
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    SelfSignedValidity,
    #[error("unexpected TLS cipher suite \"{0}\"")]
    CipherSuite(String),
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    CipherSuitesOfTls13,
    #[error("unexpected TLS version \"{0}\" (must be one of: TLS1.2, TLS1.3)")]
    TlsVersion(String),
    #[error("min version ({min}) is greater than max version ({max})")]
    TlsVersions { min: String, max: String },
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    Advertise,
    #[error("--{flag} must be >0 (set to {ms}ms)")]
    NotPositive { flag: &'static str, ms: u64 },
    #[error(
        "--election-timeout[{election}ms] should be at least as 5 times as \
         --heartbeat-interval[{heartbeat}ms]"
    )]
    Election { election: u64, heartbeat: u64 },
    #[error("--election-timeout[{election}ms] is too long, and should be set less than {max}ms")]
    ElectionTooLong { election: u64, max: u64 },
    #[error("unknown auto-compaction-mode \"{0}\"")]
    CompactionMode(String),
    #[error("multi logoutput for \"default\" is not supported yet")]
    DefaultOutput,
    #[error("log rotation needs exactly one file among --log-outputs")]
    Rotation,
    #[error(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
         \"discovery\", \"discovery-endpoints\" or \"discovery-srv\""
    )]
    Bootstrap,
    #[error("both --discovery-token and --discovery-endpoints must be set for v3 discovery")]
    V3Discovery,
    #[error("couldn't find local name \"{0}\" in the initial cluster configuration")]
    LocalName(String),
    #[error("--initial-cluster has {has} but missing from --initial-advertise-peer-urls={missing}")]
    AdvertisedPeers { has: String, missing: String },
    #[error("initial cluster has duplicate url {0}; each member needs its own URLs")]
    DuplicateUrl(Url),
}
